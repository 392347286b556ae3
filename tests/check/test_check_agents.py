"""The checker on JAX environments of several agents: silent on what is sound, clear on what is not."""

from inspect import cleandoc as text
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

import tegu
from tegu.check import check
from tegu.environments.base import Environment, Timestep
from tegu.environments.native import NATIVE

WORLDS = [name for name, path in NATIVE.items() if ".particle." in path]


def read(environment: Any, **options: Any) -> str:
    """The whole text of all findings."""
    report = check(environment, **{"steps": 20, **options})
    assert all(str(finding).count("\n") <= 3 for finding in report.findings)
    assert str(report)
    return "\n".join(map(str, report.findings))


class Pair(Environment):
    """Two agents on a line. ``right`` may only move at odd times."""

    id: str = eqx.field(static=True, kw_only=True, default="pair")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=10)

    @property
    def agents(self):
        return ("left", "right")

    @property
    def observation_space(self):
        right = Dict(time=Box(0, 20, (1,), np.float32), action_mask=MultiBinary(2))
        return Dict(left=Box(-20, 20, (2,), np.float32), right=right)

    @property
    def action_space(self):
        return Dict(left=Box(-1, 1, (1,), np.float32), right=Discrete(2))

    def view(self, state):
        mask = jnp.array([1, state[1] % 2], jnp.int8)
        return {"left": state, "right": {"time": state[1:], "action_mask": mask}}

    def reset(self, key):
        state = jnp.array([jax.random.uniform(key), 0.0])
        return state, self.view(state)

    def step(self, state, action, key):
        illegal = (state[1] % 2 == 0) & (action["right"] == 1)
        state = state + jnp.array([action["left"][0], 1.0]) + 100 * illegal  # which would leave the space
        return Timestep(state, self.view(state), {"left": state[0], "right": -state[0]}, jnp.bool_(False))

    def measures(self, state):
        return {"place": state[0]}


@pytest.mark.parametrize("name", [WORLDS[0], *(pytest.param(name, marks=pytest.mark.long) for name in WORLDS[1:])])
def test_our_worlds_have_no_findings(name: str) -> None:
    report = check(tegu.make(name), steps=30)
    assert report.findings == (), report
    assert report.facts["deterministic"] == "yes, given the key"


@pytest.mark.slow
def test_a_relaxed_choice_is_no_reason_to_warn() -> None:
    assert read(tegu.make("simple_tag_v3", continuous_actions=True)) == ""


def test_a_sound_pair() -> None:
    report = check(Pair(), steps=20)
    assert report.findings == (), report
    assert report.facts["agents"] == "left, right"
    assert report.facts["action_space"] == "Box(-1.0, 1.0, (1,), float32) of left; Discrete(2) of right"
    assert report.facts["random_policy_return"] == 0  # the mean of both


class Renamed(Pair):
    @property
    def agents(self):
        return ("left", "rihgt")


def test_spaces_are_given_by_agent() -> None:
    assert read(Renamed()) == text("""
        error in observation_space["rihgt"]: is missing
          expected  an entry for every agent
          got       only left, right
          hint      give 'rihgt' an entry, or take it out of agents
        error in observation_space["right"]: belongs to nobody in agents
          expected  one of left, rihgt
          got       'right'
        error in action_space["rihgt"]: is missing
          expected  an entry for every agent
          got       only left, right
          hint      give 'rihgt' an entry, or take it out of agents
        error in action_space["right"]: belongs to nobody in agents
          expected  one of left, rihgt
          got       'right'
    """)

    class Joint(Pair):
        @property
        def action_space(self):
            return Discrete(4)

    assert read(Joint()) == text("""
        error in action_space: is not given by agent
          expected  a Dict with the keys 'left', 'right'
          got       Discrete(4)
          hint      or let agents be empty, if there is one
    """)


def test_names_of_agents() -> None:
    class Twice(Pair):
        @property
        def agents(self):
            return ("left", "left")

    class Numbers(Pair):
        @property
        def agents(self):
            return (0, 1)

    assert read(Twice()).startswith("error in agents: names an agent twice")
    assert read(Numbers()).startswith("error in agents: is not a tuple of names")


def test_masks_of_agents_fit_their_actions() -> None:
    class Short(Pair):
        @property
        def action_space(self):
            return Dict(left=Box(-1, 1, (1,), np.float32), right=Discrete(3))

    assert 'error in observation_space("right")' not in read(Short())
    assert 'error in observation_space["right"]["action_mask"]: the mask does not fit the actions' in read(Short())


def test_an_agent_that_can_do_nothing() -> None:
    class Stuck(Pair):
        def view(self, state):
            return super().view(state) | {"right": {"time": state[1:], "action_mask": jnp.zeros(2, jnp.int8)}}

    assert 'error in step() -> observation["right"]["action_mask"]: no action is legal' in read(Stuck())


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda both: both["left"], "error in step() -> reward: is not given by agent"),
        (lambda both: {"left": both["left"]}, 'error in step() -> reward["right"]: is missing'),
        (lambda both: both | {"all": both["left"]}, 'error in step() -> reward["all"]: belongs to nobody in agents'),
        (lambda both: both | {"left": jnp.int32(1)}, 'error in step() -> reward["left"]: is not the scalar it should'),
        (lambda both: both | {"left": both["left"] / 0}, 'error in step() -> reward["left"]: is not finite'),
    ],
)
def test_rewards_are_given_by_agent(reward: Any, message: str) -> None:
    class Pays(Pair):
        def step(self, state, action, key):
            now = super().step(state, action, key)
            return now._replace(reward=reward(now.reward))

    assert read(Pays()).startswith(message)


def test_a_reward_by_agent_where_there_are_none() -> None:
    class Nobody(Pair):
        agents = ()

        @property
        def action_space(self):
            return Discrete(2)

        @property
        def observation_space(self):
            return Box(-20, 20, (2,), np.float32)

        def reset(self, key):
            return jnp.zeros(2), jnp.zeros(2)

        def step(self, state, action, key):
            return Timestep(state, state, {"left": jnp.float32(1)}, jnp.bool_(False))

    assert read(Nobody()) == text("""
        error in step() -> reward: is a dict, but agents names nobody
          expected  float32[]
          got       only left
          hint      name the agents in the property agents, if there are several
    """)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (lambda state: state[0], "error in measures(): is not a dict"),
        (lambda state: {"both": state}, 'error in measures() -> "both": is not the scalar it should be'),
        (lambda state: {"hit": state[0] > 1}, 'error in measures() -> "hit": is not the scalar it should be'),
        (lambda state: {"log": jnp.log(state[0] * 0)}, 'error in measures() -> "log": is not finite'),
        (lambda state: {str(np.random.uniform()): state[0]}, "error in measures(): changes its names"),
        (lambda state: {"far": state["place"]}, "error in measures(): raised TypeError"),
    ],
)
def test_measures_are_scalars_of_fixed_names(measures: Any, message: str) -> None:
    class Measures(Pair):
        def measures(self, state):
            return measures(state)

    assert read(Measures()).startswith(message)


def test_measures_of_steps_and_of_episodes_have_names_of_their_own() -> None:
    class Measures(Pair):
        def measures(self, state):
            return {"height": jnp.float32(1)}

        def episode_measures(self, state):
            return {"height": jnp.float32(2)}

    says = "error in episode_measures(): has names of measures()\n  expected  other names\n  got       'height'"
    assert read(Measures()).startswith(says)


def test_milestones_go_by_measures() -> None:
    class Climbs(Pair):
        @property
        def milestones(self):
            return {"up": ("height/end", 1.0), "far": ("width/mean", 2.0)}

        def measures(self, state):
            return {"height": jnp.float32(1)}

    assert read(Climbs()).startswith(
        'error in milestones -> "far": goes by no measure\n  expected  one of height/mean, height/end\n'
    )


def test_so_are_those_of_whole_episodes() -> None:
    class Measures(Pair):
        def episode_measures(self, state):
            return {"both": state}

    assert read(Measures()).startswith('error in episode_measures() -> "both": is not the scalar it should be')
