"""The checker on PettingZoo's environments: silent on what is sound, clear on what is not."""

from inspect import cleandoc as text
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Tuple

pytest.importorskip("mpe2")

from parallel_worlds import Leavers, Nameless, Rounds, Talkative, Turns

import tegu
from tegu.check import check

pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")


def read(environment: Any, **options: Any) -> str:
    """The whole text of all findings."""
    report = check(environment, **{"steps": 20, **options})
    assert all(str(finding).count("\n") <= 3 for finding in report.findings)
    assert str(report)
    return "\n".join(map(str, report.findings))


@pytest.mark.parametrize(
    "environment",
    [Leavers(), Rounds(), "mpe2:simple_tag_v3", "mpe2:simple_crypto_v3", "pettingzoo.classic:rps_v2"],
    ids=str,
)
def test_sound_parallel_environments(environment: Any) -> None:
    made = tegu.make(environment) if isinstance(environment, str) else environment
    report = check(made, steps=60)
    assert report.findings == (), report
    assert report.facts["kind"] == "PettingZoo"
    assert report.facts["deterministic"] == "yes"


def test_facts_of_a_parallel_environment() -> None:
    facts = check(Leavers(), steps=50).facts
    assert facts["agents"] == "walker, clock, picker"
    assert facts["leave_early"] == "walker, clock"
    assert facts["episodes"] == 10
    assert facts["first_observation"] == "depends on the seed"


def test_agents_in_turn_that_cannot_act_at_once() -> None:
    with pytest.raises(tegu.TeguError, match="in turns agents act one after the other"):
        check(Turns())


def test_agents_without_names() -> None:
    assert read(Nameless()).startswith("error in possible_agents: does not name the agents")

    class Numbers(Leavers):
        possible_agents = [1, 2]  # noqa: RUF012

    class Twice(Leavers):
        possible_agents = ["walker", "walker"]  # noqa: RUF012

    assert read(Numbers()).startswith("error in possible_agents: holds what is not text")
    assert read(Twice()).startswith("error in possible_agents: names an agent twice")


def test_what_is_said_of_agents_that_have_left() -> None:
    assert text("""
        warning in step() -> reward["walker"]: is given to an agent that has left
          expected  no entry
          got       one at step 3
          hint      nobody learns from it
    """) in read(Talkative())


class Changed(Leavers):
    """The same, with ``change(self, actions, returned)`` as what a step then returns."""

    def __init__(self, change: Any):
        super().__init__()
        self.change = change

    def step(self, actions):
        return self.change(self, actions, super().step(actions))


def stays(self, actions, returned):
    if self.time == 2:
        self.agents.append("walker")
    return returned


def walks_off(self, actions, returned):
    if self.time == 1:
        self.agents.remove("walker")
    return returned


def comes_back(self, actions, returned):
    if self.time == 4:
        self.agents.append("walker")
    return returned


def brings_a_friend(self, actions, returned):
    self.agents.append("friend")
    return returned


def without(index: int, agent: str) -> Any:
    def change(self, actions, returned):
        returned[index].pop(agent, None)
        return returned

    return change


def with_value(index: int, agent: str, value: Any) -> Any:
    def change(self, actions, returned):
        if agent in returned[index]:
            returned[index][agent] = value
        return returned

    return change


def in_the_action(self, actions, returned):
    if "clock" in actions:
        actions["clock"][:] = 7
    return returned


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            stays,
            """
            error in agents: an agent stays whose episode is over
              expected  agents without 'walker'
              got       terminated at step 2, and still in agents
              hint      take it out of self.agents in the step that ends it; else it is asked to act again
            """,
        ),
        (
            walks_off,
            """
            error in step() -> terminated["walker"]: an agent leaves without a reason
              expected  terminated or truncated where an agent leaves
              got       neither at step 1
              hint      terminated if its task is over, truncated if only the time is
            """,
        ),
        (
            comes_back,
            """
            error in agents: an agent that had left is back
              expected  nobody comes back before reset()
              got       'walker' at step 4
            """,
        ),
        (
            brings_a_friend,
            """
            error in agents: holds somebody who is not among possible_agents
              expected  a list of those of ['walker', 'clock', 'picker'] who are there
              got       'friend'
            """,
        ),
        (
            without(0, "clock"),
            """
            error in step() -> observation["clock"]: is missing
              expected  an entry for everybody who acted
              got       only walker, picker at step 1
            """,
        ),
        (
            without(2, "clock"),
            """
            error in step() -> terminated["clock"]: is missing
              expected  an entry for everybody who acted
              got       only walker, picker at step 1
            """,
        ),
        (
            with_value(0, "clock", 9),
            """
            error in step() -> observation["clock"]: out of bounds
              expected  0 to 8
              got       9 at step 1
              hint      widen the space, or clip what is returned
            """,
        ),
        (
            with_value(0, "picker", {"place": np.zeros(1, np.float32), "action_mask": np.zeros(2, np.int8)}),
            """
            error in step() -> observation["picker"]["action_mask"]: no action is legal, and the episode goes on
              expected  at least one entry of 1
              got       only zeros
              hint      terminate the episode when nobody can move, or add an action that passes
            """,
        ),
        (
            with_value(1, "clock", np.ones(1)),
            """
            error in step() -> reward["clock"]: is not a number
              expected  a float
              got       float64[1] at step 1
              hint      reward.item()
            """,
        ),
        (
            with_value(1, "clock", np.nan),
            """
            error in step() -> reward["clock"]: is not finite
              expected  a finite float
              got       nan at step 1
            """,
        ),
        (
            with_value(3, "picker", 0),
            """
            error in step() -> truncated["picker"]: is not a bool
              expected  True or False
              got       int 0 at step 1
              hint      bool(truncated["picker"])
            """,
        ),
        (
            lambda self, actions, returned: returned[:4],
            """
            error in step(): does not return five dicts
              expected  (observation, reward, terminated, truncated, info), five dicts by agent
              got       (dict, dict, dict, dict)
            """,
        ),
        (in_the_action, "warning in step(action): the environment changes the action that it is given"),
        (
            lambda self, actions, returned: self.nothing,
            """
            error in step(): raised AttributeError
              got       'Changed' object has no attribute 'nothing' at test_check_pettingzoo.py
            """,
        ),
    ],
)
def test_broken_steps(change: Any, message: str) -> None:
    assert text(message) in read(Changed(change))


def test_random_numbers_from_elsewhere() -> None:
    report = check(Changed(with_value(1, "clock", 0.0)), steps=20)
    assert report.findings == ()

    def noisy(self, actions, returned):
        return with_value(1, "clock", np.random.uniform())(self, actions, returned)

    report = check(Changed(noisy), steps=20)
    assert report.ok
    assert str(report.findings[0]) == text("""
        warning in step() -> reward["clock"]: the same seed and actions give another result
          expected  the same, bit for bit
          got       a difference at step 1
          hint      draw only from a generator that reset() makes: np.random.default_rng(seed); \
else a resumed run begins its unfinished episodes anew
    """)


def test_an_array_that_is_used_again() -> None:
    class Reuses(Leavers):
        buffer = np.zeros(2, np.float32)

        def observations(self):
            seen = super().observations()
            if "walker" in seen:
                self.buffer[:] = seen["walker"]
                seen["walker"] = self.buffer
            return seen

    assert 'warning in observation["walker"]: an array returned earlier changes afterwards' in read(Reuses())


def test_resets() -> None:
    class Old(Leavers):
        def reset(self, seed=None, options=None):
            return super().reset(seed)[0]

    class Deaf(Leavers):
        def reset(self):
            return super().reset()

    class Empty(Leavers):
        def reset(self, seed=None, options=None):
            found = super().reset(seed)
            self.agents = []
            return found

    class Partial(Leavers):
        def reset(self, seed=None, options=None):
            observation, info = super().reset(seed)
            return {"walker": observation["walker"]}, info

    assert read(Old()) == text("""
        error in reset(): does not return two dicts
          expected  (observation, info), two dicts by agent
          got       dict
    """)
    assert text("""
        error in reset(): takes no seed and no options
          expected  reset(self, seed=None, options=None)
          got       reset()
          hint      and draw from a generator made there: self.random = np.random.default_rng(seed)
    """) in read(Deaf())
    assert read(Empty()).startswith("error in agents: is empty after reset()")
    assert read(Partial()).startswith('error in reset() -> observation["clock"]: is missing')


def test_spaces_of_agents() -> None:
    class Spaceless(Leavers):
        def action_space(self, agent):
            return {"walker": Discrete(3)}[agent]

    class Tuples(Leavers):
        def observation_space(self, agent):
            return Tuple([Discrete(2)])

    class Unbounded(Leavers):
        def action_space(self, agent):
            return Box(-np.inf, np.inf, (2,)) if agent == "clock" else super().action_space(agent)

    class Masks(Leavers):
        def action_space(self, agent):
            return Discrete(4) if agent == "picker" else super().action_space(agent)

    assert read(Spaceless()).startswith('error in action_space("clock"): raised KeyError')
    assert 'error in observation_space("walker"): Tuple spaces are not supported' in read(Tuples())
    assert 'error in action_space["clock"]: the actions have no finite bounds' in read(Unbounded())
    assert 'error in observation_space("picker")["action_mask"]: the mask does not fit the actions' in read(Masks())


def test_an_episode_without_end() -> None:
    class Endless(Leavers):
        leaves = dict.fromkeys(Leavers.leaves, 1000)

        def observations(self):
            return super().observations() | {"clock": 0}

    assert read(Endless(), steps=5) == text("""
        warning in step(): no episode ended, and there is no time limit
          expected  terminated or truncated within 5 steps
          got       neither
          hint      truncate all agents after some number of steps
    """)


def test_pictures_and_names() -> None:
    class Draws(Leavers):
        render_mode = "rgb_array"
        metadata = {"name": "draws", "render_modes": ["rgb_array"]}  # noqa: RUF012

        def render(self):
            return np.zeros((4, 4))

    class Anonymous(Leavers):
        metadata = {}  # noqa: RUF012

    class Undeclared(Leavers):
        render_mode = "human"

    assert read(Draws()).startswith("error in render(): is not a picture")
    assert read(Anonymous()).startswith("warning in metadata: does not name the environment")
    assert read(Undeclared()).startswith("warning in render_mode: is not among the declared ones")
