"""Noise on continuous actions, against its definition in NumPy; DDPG's is in ``test_td3``."""

from itertools import pairwise

import jax
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec

KEY = jax.random.key(0)
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-2, 2, (2, 1)))
SEEN = np.zeros((5000, 3), np.float32)
SMALL = {"net_arch": (5,), "learning_starts": 0}


def chosen(algorithm, memory, key=KEY, *, explore=True):
    learner = algorithm.init(KEY, SPEC)
    return jax.jit(lambda memory, key: algorithm.act(learner, SEEN, memory, key, explore=explore))(memory, key)


@pytest.mark.parametrize("use_sde", [False, True])
def test_sac_may_have_more_noise_than_its_policy(use_sde):
    """The same actions with normal numbers beside them, in half ranges of [-2, 2], cut off at its ends."""
    plain, noisy = (tegu.SAC(**SMALL, use_sde=use_sde, action_noise=sigma) for sigma in (None, 0.3))
    memory = plain.begin(plain.init(KEY, SPEC), KEY, len(SEEN))
    own, more = (np.asarray(chosen(each, memory).action) / 2 for each in (plain, noisy))
    assert (abs(more) <= 1).all()
    assert (abs(more) == 1).any() or use_sde
    added = (more - own)[abs(own) < 0.1]
    assert added.size > 200
    np.testing.assert_allclose([added.mean(), added.std()], [0, 0.3], atol=0.03)
    quiet = [chosen(each, memory, explore=False).action for each in (plain, noisy)]
    np.testing.assert_array_equal(*quiet)


def test_it_may_be_correlated_in_time():
    """An Ornstein-Uhlenbeck process that keeps 85 of 100 parts and is added to the policy's actions."""
    settings = {"noise_type": "ornstein-uhlenbeck", "action_noise": 0.02, "noise_theta": 0.15}
    plain, noisy = tegu.SAC(**SMALL), tegu.SAC(**SMALL, **settings)
    history = [np.asarray(noisy.begin(noisy.init(KEY, SPEC), KEY, len(SEEN)))]
    assert not history[0].any()
    for number in range(4):
        key = jax.random.key(number)
        action, memory, _ = chosen(noisy, history[-1], key)
        expected = np.clip(np.asarray(chosen(plain, (), key).action) / 2 + np.asarray(memory)[..., None], -1, 1)
        np.testing.assert_allclose(action / 2, expected, atol=1e-5)
        history.append(np.asarray(memory))
    shocks = [new - 0.85 * old for old, new in pairwise(history)]
    np.testing.assert_allclose([shock.std() for shock in shocks], 0.02, rtol=0.05)
    assert abs(np.corrcoef(np.ravel(shocks[-1]), np.ravel(history[-2]))[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("settings", "action", "says"),
    [
        ({"noise_type": "pink"}, SPEC.action_space, "SAC: noise_type must be one of normal, ornstein-uhlenbeck, got"),
        ({"action_noise": 0.1}, spaces.Discrete(3), "SAC with action_noise needs a Box action space"),
        (
            {"action_noise": 0.1, "noise_type": "ornstein-uhlenbeck", "use_sde": True},
            SPEC.action_space,
            "SAC: with use_sde, noise_type must be normal",
        ),
    ],
)
def test_what_does_not_fit_is_said(settings, action, says):
    with pytest.raises(TeguError, match=says) as error:
        tegu.SAC(**settings).validate(EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), action))
    assert "\n" not in str(error.value)
