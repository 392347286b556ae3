"""Decay of weights apart from the gradient (AdamW), of the algorithms that share nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch

KEY, RATE = jax.random.key(0), 1e-2
SEEN, CONTINUOUS, DISCRETE = spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
OFF_POLICY = {"learning_rate": RATE, "net_arch": (4,), "batch_size": 8, "learning_starts": 0}
ON_POLICY = {"learning_rate": RATE, "net_arch": (4,), "n_steps": 4}


def steps(space, shape):
    rng = np.random.default_rng(0)
    seen, following = rng.normal(size=(2, *shape, 3))
    action = rng.uniform(-1, 1, (*shape, 1)) if isinstance(space, spaces.Box) else rng.integers(2, size=shape)
    return Step(seen, action, rng.normal(size=shape), following, rng.random(shape) < 0.3, np.zeros(shape, bool))


def updated(algorithm, space):
    """The learner before and after an update."""
    learner = algorithm.init(KEY, EnvironmentSpec("test", SEEN, space, n_envs=2))
    if hasattr(algorithm, "buffer_size"):
        batch = Batch(steps(space, (8,)), jnp.ones(8))
    else:
        batch = steps(space, (4, 2))._replace(extras=jnp.full((4, 2), -1.0))
    return learner, jax.jit(algorithm.update)(learner, batch, KEY).learner


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kind", "settings", "space", "parts"),
    [
        (tegu.PPO, ON_POLICY | {"batch_size": 8, "n_epochs": 1}, CONTINUOUS, ["network"]),
        (tegu.A2C, ON_POLICY, CONTINUOUS, ["network"]),
        (tegu.A2C, ON_POLICY | {"use_rms_prop": False}, DISCRETE, ["network"]),
        (tegu.DQN, OFF_POLICY, DISCRETE, ["online"]),
        (tegu.DDPG, OFF_POLICY, CONTINUOUS, ["actor", "critics"]),
    ],
)
def test_weights_decay_apart_from_the_gradient(numerics, kind, settings, space, parts):
    """The same update, and a share of the parameters before it less: by the learning rate and the decay."""
    (before, plain), (_, decayed) = (updated(kind(**settings, weight_decay=decay), space) for decay in (None, 0.3))
    for part in parts:
        old, kept, less = (numerics.flat(getattr(learner, part)) for learner in (before, plain, decayed))
        assert abs(old - kept).max() > 1e-3
        np.testing.assert_allclose(kept - less, RATE * 0.3 * old, rtol=1e-6, atol=1e-9)
