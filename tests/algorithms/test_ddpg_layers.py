"""DDPG with batch normalisation and with residual blocks: which statistics count where, against NumPy in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from algorithms.conftest import iterated
from gymnasium import spaces

from tegu.algorithms.ddpg import DDPG, DDPGLearner
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.classic.pendulum import Pendulum
from tegu.experience.base import Batch
from tegu.nn.batch_norm import EPS, MOMENTUM
from tegu.nn.simba import SimBa
from tegu.training.plan import spec_of

N = 16
SPEC = EnvironmentSpec("test", spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,)))


def steps() -> Step:
    rng = np.random.default_rng(0)
    seen, after = rng.normal(1.0, 2.0, (2, N, 3))
    reward, ended = rng.normal(size=N), rng.integers(2, size=N).astype(bool)
    return Step(seen, rng.uniform(-1, 1, (N, 2)), reward, after, ended, np.zeros(N, bool))


def layers(mlp: Any, x: np.ndarray, statistics: list[tuple[np.ndarray, np.ndarray]] | None) -> np.ndarray:
    """What normalised layers give: by their running statistics, or the batch's, which are added to ``statistics``."""

    def normalized(norm: Any, x: np.ndarray) -> np.ndarray:
        mean, variance = (norm.mean, norm.variance) if statistics is None else (x.mean(axis=0), x.var(axis=0))
        if statistics is not None:
            statistics.append((mean, variance))
        return norm.scale * (x - mean) / np.sqrt(variance + EPS) + norm.bias

    x = normalized(mlp.norms[0], x)
    for w, b, norm in zip(mlp.layers.weights[:-1], mlp.layers.biases[:-1], mlp.norms[1:], strict=True):
        x = normalized(norm, np.maximum(x @ w + b, 0))
    return x @ mlp.layers.weights[-1] + mlp.layers.biases[-1]


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("n_critics", "action_l2"), [(1, 0.0), (2, 0.5)])
def test_networks_learn_by_the_batchs_statistics_and_are_judged_by_the_running_ones(
    n_critics: int, action_l2: float
) -> None:
    algorithm = DDPG(
        action_l2=action_l2,
        batch_norm=True,
        net_arch=(5, 4),
        n_critics=n_critics,
        learning_rate=1e-2,
        batch_size=N,
        tau=0.5,
    )
    update = jax.jit(lambda learner: algorithm.update(learner, Batch(steps(), jnp.ones(N)), jax.random.key(0))[:2])
    made = jax.tree.map(lambda leaf: leaf.astype(np.float64) if leaf.dtype == np.float32 else leaf, start(algorithm))
    for _ in range(2):  # the second time no statistics are those that networks begin with
        after, metrics = update(made)
        check(jax.device_get(made), jax.device_get(after), metrics, action_l2)
        made = after


def start(algorithm: DDPG) -> DDPGLearner:
    """A learner whose targets are not its networks."""
    learner, other = (algorithm.init(jax.random.key(seed), SPEC) for seed in (0, 1))
    return learner._replace(target_actor=other.actor, target_critics=other.critics)


def check(before: Any, after: Any, metrics: Any, action_l2: float) -> None:
    rows = steps()
    next_action = np.tanh(layers(before.target_actor.mlp, rows.next_observation, None))
    following = np.concatenate([rows.next_observation, next_action], axis=1)
    future = np.min([layers(critic.mlp, following, None)[:, 0] for critic in before.target_critics], axis=0)
    target = rows.reward + 0.99 * np.where(rows.terminated, 0, future)
    error = 0.0
    for critic, fresh in zip(before.critics, after.critics, strict=True):
        seen: list[tuple[np.ndarray, np.ndarray]] = []
        value = layers(critic.mlp, np.concatenate([rows.observation, rows.action], axis=1), seen)[:, 0]
        error += ((value - target) ** 2).mean()
        moved(critic.mlp, fresh.mlp, seen)
    assert metrics["critic_loss"] == pytest.approx(error, rel=1e-6)
    seen = []
    action = np.tanh(layers(before.actor.mlp, rows.observation, seen))
    moved(before.actor.mlp, after.actor.mlp, seen)
    judged = layers(before.critics[0].mlp, np.concatenate([rows.observation, action], axis=1), None)
    assert metrics["actor_loss"] == pytest.approx(action_l2 * (action**2).mean() - judged.mean(), rel=1e-6)
    for old, own, followed in zip(
        *(jax.tree.leaves(part) for part in (before.target_actor, after.actor, after.target_actor)), strict=True
    ):
        np.testing.assert_allclose(followed, (old + own) / 2, atol=1e-9)


def moved(before: Any, after: Any, seen: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The running statistics have taken in the batch's."""
    for old, new, (mean, variance) in zip(before.norms, after.norms, seen, strict=True):
        np.testing.assert_allclose(new.mean, MOMENTUM * old.mean + (1 - MOMENTUM) * mean, atol=1e-9)
        np.testing.assert_allclose(new.variance, MOMENTUM * old.variance + (1 - MOMENTUM) * variance, atol=1e-9)


@pytest.mark.parametrize("settings", [{"batch_norm": True}, {"architecture": "simba", "net_arch": (8, 8)}], ids=str)
def test_an_iteration_keeps_the_types(settings: dict[str, Any]) -> None:
    algorithm = DDPG(**{"net_arch": (5,), "batch_size": 4, "learning_starts": 4, **settings})
    world = Pendulum()
    metrics = iterated(algorithm, world, spec_of("Pendulum-v1", world, 1))
    assert {"actor_loss", "critic_loss"} <= set(metrics)


@pytest.mark.slow
def test_simba_is_of_actor_and_critics() -> None:
    learner = DDPG(architecture="simba", net_arch=(8, 8), n_critics=2).init(jax.random.key(0), SPEC)
    assert all(isinstance(network.mlp, SimBa) for network in (learner.actor, *learner.critics))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_norm": True, "layer_norm": True}, "^DDPG: batch_norm cannot be used with layer_norm"),
        (
            {"batch_norm": True, "architecture": "simba", "net_arch": (8, 8)},
            "^DDPG: architecture cannot be used with batch_norm",
        ),
        ({"batch_norm": True, "batch_size": 1}, "^DDPG: batch_norm leaves nothing to learn with batch_size 1"),
        ({"batch_norm": True, "network": "module:f"}, "^DDPG: batch_norm needs Tegu's network, it cannot be used with"),
        ({"architecture": "resnet"}, "^DDPG: architecture must be one of mlp, simba, got 'resnet'"),
        ({"architecture": "simba"}, "^DDPG: architecture simba needs hidden layers of one width"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(TeguError, match=said):
        DDPG(**{"net_arch": (8, 4), **settings}).validate(SPEC)
