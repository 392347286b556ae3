"""One update of A2C and of PPO is Stable-Baselines3's, from the same weights on the same rollout, in float64.

``record_sb3_on_policy.py`` says how ``sb3_on_policy.npz`` was made.
"""

from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from gymnasium import spaces
from policies_by_hand import learner_for

from tegu.algorithms.a2c import A2C
from tegu.algorithms.ppo import PPO
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(0)
ACTIONS = {"discrete": spaces.Discrete(3), "box": spaces.Box(-1, 1, (2,))}
SHARED = {"n_steps": 6, "learning_rate": 1e-2, "gamma": 0.9, "ent_coef": 0.05, "vf_coef": 0.7, "max_grad_norm": 0.3}
SHARED |= {"net_arch": (5,)}
ALGORITHMS = {
    "a2c": A2C(**SHARED),
    "ppo": PPO(**SHARED, gae_lambda=0.8, batch_size=12, n_epochs=2, normalize_advantage=False),
}


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).with_name("sb3_on_policy.npz")) as file:
        return dict(file)


def as_ours(network, vector):
    """Our network with the weights of SB3's, whose matrices are ``[outputs, inputs]``."""
    (hidden, outputs), k = network.actor.weights, network.log_std.size
    (n, units), a = hidden.shape, outputs.shape[1]
    shapes = [(k,), (units, n), (units,), (units, n), (units,), (a, units), (a,), (1, units), (1,)]
    pieces = np.split(vector, np.cumsum([np.prod(shape) for shape in shapes]))[:-1]
    log_std, *layers = (piece.reshape(shape).T for piece, shape in zip(pieces, shapes, strict=True))
    actor, actor_bias, critic, critic_bias, last, last_bias, value, value_bias = layers
    ours = (actor, last), (actor_bias, last_bias), (critic, value), (critic_bias, value_bias), log_std
    return eqx.tree_at(
        lambda n: (n.actor.weights, n.actor.biases, n.critic.weights, n.critic.biases, n.log_std), network, ours
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a2c", "discrete"),
        ("ppo", "box"),
        pytest.param("a2c", "box", marks=pytest.mark.long),
        pytest.param("ppo", "discrete", marks=pytest.mark.long),
    ],
)
def test_one_update_is_stable_baselines3s(recorded, numerics, name, kind):
    """The rollout has ends of both kinds; its observations are float32, everything else is not rounded."""
    of = {
        key.removeprefix(f"{name}/{kind}/"): value
        for key, value in recorded.items()
        if key.startswith(f"{name}/{kind}/")
    }
    assert of["terminated"].any()
    assert of["truncated"].any()
    algorithm = ALGORITHMS[name]
    action = of["action"][..., 0].astype(np.int32) if kind == "discrete" else of["action"]
    batch = Step(
        of["observation"],
        action,
        of["reward"].astype(np.float64),
        of["next_observation"],
        of["terminated"],
        of["truncated"],
        of["log_prob"] if name == "ppo" else (),
    )
    spec = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), ACTIONS[kind], 2)
    learner = learner_for(algorithm, spec)
    learner = learner._replace(network=as_ours(learner.network, of["before"]))
    updated, _ = jax.jit(lambda *given: algorithm.update(*given)[:2])(learner, batch, KEY)
    expected = numerics.flat(as_ours(learner.network, of["after"]))
    assert abs(expected - numerics.flat(learner.network)).max() > 1e-3
    np.testing.assert_allclose(numerics.flat(updated.network), expected, rtol=0, atol=1e-6)
