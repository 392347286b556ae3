"""IPPO and MAPPO with a memory, also where an agent leaves early."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from duet import Duet, ParallelDuet
from gymnasium import spaces

import tegu
from tegu.algorithms.mappo import IPPO
from tegu.core.spec import EnvironmentSpec
from tegu.environments.base import Environment, Timestep
from tegu.training.plan import make_plan

KEY, N = jax.random.key(0), 3
SETTINGS: dict[str, Any] = {"recurrent": "gru", "hidden_size": 3, "net_arch": (4,), "n_steps": 8, "sequence_length": 4}
SETTINGS |= {"batch_size": 8 * N, "n_epochs": 1, "learning_rate": 1e-2}  # one minibatch to a rollout
KINDS = pytest.mark.parametrize("kind", [IPPO, tegu.MAPPO])
PLACE = spaces.Box(-9, 9, (2,))
AGENTS = ("a", "b")
TWINS = EnvironmentSpec("twins", *(spaces.Dict(dict.fromkeys(AGENTS, PLACE)) for _ in range(2)), N, AGENTS)


class Restless(Environment):
    """Two agents of one kind see noise, in episodes that end at random."""

    id: str = eqx.field(static=True, kw_only=True, default="restless")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=6)

    @property
    def agents(self):
        return AGENTS

    @property
    def observation_space(self):
        return TWINS.observation_space

    @property
    def action_space(self):
        return TWINS.action_space

    def reset(self, key):
        return (), dict(zip(AGENTS, jax.random.normal(key, (2, 2)), strict=True))

    def step(self, state, action, key):
        _, observation = self.reset(key)
        reward = {agent: observation[agent][0] for agent in AGENTS}
        return Timestep(state, observation, reward, jax.random.bernoulli(key, 0.3))


def left_early() -> ParallelDuet:
    return ParallelDuet(bass_leaves_after=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "share"),
    [(Duet(), False), (left_early, False), (Restless(), False), (Restless(), True)],
    ids=["together", "host", "restless", "shared"],
)
@KINDS
def test_a_rollout_is_learned_from_as_it_was_played(kind, environment, share):
    """Before anything has changed the ratio of probabilities is 1 at every step, also after an agent has left: its
    memory goes on until the episode ends for all."""
    reports: list[dict[str, float]] = []

    def note(progress):
        reports.extend(progress.metrics)

    settings = {"n_envs": N, "steps": 24 * N, "log_interval": 8 * N, "folder": None, "callbacks": (note,)}
    one_minibatch = 8 * N * (2 if share else 1)
    algorithm = kind(**SETTINGS | {"batch_size": one_minibatch}, share_parameters=share)
    agent = tegu.train(environment, algorithm, **settings)
    assert len(reports) > 2
    for report in reports:
        assert abs(report["train/approx_kl"]) < 1e-9
        assert report["train/clip_fraction"] == 0
    assert len(agent.algorithm.begin(agent.learner(0), KEY, N)) == 2


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


@pytest.mark.parametrize("algorithm", ["ippo", "mappo"])
@pytest.mark.parametrize(
    "environment", ["hide-and-seek-tiny", "hide-and-seek-quadrant", "simple_spread_v3", "simple_tag_v3"]
)
def test_presets_of_several_agents_may_be_given_a_memory(environment, algorithm):
    assert make_plan(environment, algorithm, recurrent="lstm").algorithm.ppo.recurrent == "lstm"
