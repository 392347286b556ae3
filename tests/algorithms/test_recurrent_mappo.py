"""IPPO and MAPPO with a memory, also where an agent leaves early."""

from typing import Any

import jax
import numpy as np
import pytest
from duet import Duet, ParallelDuet
from gymnasium import spaces

import tegu
from tegu.algorithms.mappo import IPPO
from tegu.core.spec import EnvironmentSpec

KEY, N = jax.random.key(0), 3
SETTINGS: dict[str, Any] = {"recurrent": "gru", "hidden_size": 3, "net_arch": (4,), "n_steps": 8, "sequence_length": 4}
SETTINGS |= {"batch_size": 8 * N, "n_epochs": 1, "learning_rate": 1e-2}  # one minibatch to a rollout
KINDS = pytest.mark.parametrize("kind", [IPPO, tegu.MAPPO])
PLACE = spaces.Box(-9, 9, (2,))
AGENTS = ("a", "b")
TWINS = EnvironmentSpec("twins", *(spaces.Dict(dict.fromkeys(AGENTS, PLACE)) for _ in range(2)), N, AGENTS)


def left_early() -> ParallelDuet:
    return ParallelDuet(bass_leaves_after=2)


@pytest.mark.slow
@pytest.mark.parametrize("environment", [Duet(), left_early], ids=["fused", "leaving"])
@KINDS
def test_a_rollout_is_learned_from_as_it_was_played(kind, environment):
    """Before anything has changed the ratio of probabilities is 1 at every step, also after an agent has left: its
    memory goes on until the episode ends for all."""
    reports: list[dict[str, float]] = []

    def note(progress):
        reports.extend(progress.metrics)

    settings = {"n_envs": N, "steps": 24 * N, "log_interval": 8 * N, "folder": None, "callbacks": (note,)}
    agent = tegu.train(environment, kind(**SETTINGS), **settings)
    assert len(reports) > 2
    for report in reports:
        assert abs(report["train/approx_kl"]) < 1e-9
        assert report["train/clip_fraction"] == 0
    assert set(agent.algorithm.begin(agent.learner(0), KEY, N)) == {"alto", "bass"}


@pytest.mark.parametrize("share", [False, True])
@KINDS
def test_every_agent_remembers_what_it_saw_itself(kind, share):
    """Where one agent saw something else before, that agent acts otherwise, and the other as it would have."""
    algorithm = kind(**SETTINGS, share_parameters=share)
    learner = algorithm.init(KEY, TWINS)
    start = algorithm.begin(learner, KEY, N)

    def second(first):
        memory = algorithm.act(learner, first, start, KEY, explore=False).memory
        return algorithm.act(learner, dict.fromkeys(AGENTS, now), memory, KEY, explore=False).action

    rng = np.random.default_rng(0)
    now, one, other = rng.normal(size=(3, N, 2)).astype(np.float32)
    same, changed = second({"a": one, "b": one}), second({"a": one, "b": other})
    np.testing.assert_array_equal(same["a"], changed["a"])
    assert (same["b"] != changed["b"]).all()


def test_the_central_critic_remembers_what_all_saw():
    algorithm = tegu.MAPPO(**SETTINGS)
    learner = algorithm.init(KEY, TWINS)
    seen = {agent: np.ones((N, 2), np.float32) for agent in AGENTS}
    start = algorithm.begin(learner, KEY, N)
    one, two = (
        algorithm.act(learner, x, start, KEY, explore=False).memory["a"] for x in (seen, seen | {"b": 2 * seen["b"]})
    )
    np.testing.assert_array_equal(one.actor, two.actor)
    assert (one.critic != two.critic).all()
