"""The environment checker: silent on what is sound, and on broken environments each message as a person reads it."""

import time
from inspect import cleandoc as text
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from tegu.check import Finding, Report, check
from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep


class Walk(gymnasium.Env):
    """A sound environment: a point on a plane, ten steps an episode."""

    observation_space = Box(-20, 20, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock, self.point = 0, self.np_random.uniform(-1, 1, 2)
        return self.observe(), {}

    def step(self, action):
        self.clock += 1
        self.point = self.point + self.np_random.normal(size=2) / 10
        return self.observe(), self.pay(), self.clock == 10, False, {}

    def observe(self):
        return self.point.astype(np.float32)

    def pay(self):
        return 1.0


class Drift(Environment):
    """A sound JAX environment: a point on a line, pushed left or right."""

    id: str = eqx.field(static=True, kw_only=True, default="drift")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=10)

    @property
    def observation_space(self):
        return Box(-20, 20, (1,), np.float32)

    @property
    def action_space(self):
        return Discrete(2)

    def reset(self, key):
        x = jax.random.uniform(key, (1,))
        return x, x

    def step(self, state, action, key):
        state = state + 0.1 * action
        return Timestep(state, state, jnp.float32(1), state[0] > 10)


def read(environment, **options):
    """The whole text of all findings."""
    report = check(environment, **{"steps": 20, **options})
    assert report.ok == all(finding.level == "warning" for finding in report.findings)
    assert all(str(finding).count("\n") <= 3 for finding in report.findings)
    assert str(report)
    return "\n".join(map(str, report.findings))


def line_of(cls, text):
    """Where in this file a class has a line: findings name it."""
    lines = Path(__file__).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"class {cls.__name__}("))
    return next(number + 1 for number in range(start, len(lines)) if lines[number].strip() == text)


# --- sound environments


@pytest.mark.slow
def test_our_environments_have_no_errors(environment):
    report = check(environment, steps=50)
    assert report.ok, report
    assert report.id == environment.id
    assert report.facts["kind"] == "JAX"
    assert report.facts["deterministic"] == "yes, given the key"
    assert report.facts["steps_per_second"] > 0
    scaled = {finding.where for finding in report.findings} == {"action_space"}
    assert scaled == (environment.id == "Pendulum-v1")


@pytest.mark.parametrize("id", ["CartPole-v1", "FrozenLake-v1", "Taxi-v4", "Acrobot-v1", "MountainCarContinuous-v0"])
def test_gymnasiums_environments_have_no_findings(id):
    report = check(gymnasium.make(id))
    assert report.findings == (), report
    assert report.id == id
    assert report.facts["kind"] == "Gymnasium"
    assert report.facts["deterministic"] == "yes"
    assert report.facts["time_limit"] == gymnasium.spec(id).max_episode_steps


def test_the_report_of_a_sound_environment():
    report = check(Walk(), steps=20)
    assert report.facts.pop("steps_per_second") > 0
    assert str(report) == (
        "Walk: no problems found\n"
        "  kind                  Gymnasium\n"
        "  observation space     Box(-20.0, 20.0, (2,), float32)\n"
        "  action space          Discrete(2)\n"
        "  time limit            none\n"
        "  episodes              2\n"
        "  random policy return  10\n"
        "  first observation     depends on the seed\n"
        "  deterministic         yes"
    )


def test_facts_of_a_jax_environment():
    facts = check(Drift(), steps=20).facts
    assert facts["episodes"] == 16
    assert facts["random_policy_return"] == 10
    assert facts["random_numbers_in"] == "reset"
    assert facts["time_limit"] == 10


def test_a_report_counts_its_findings():
    findings = (Finding("error", "step()", "a"), Finding("error", "step()", "b"), Finding("warning", "step()", "c"))
    report = Report("broken", findings, {"kind": "Gymnasium"})
    assert not report.ok
    assert str(report).startswith("broken: 2 errors, 1 warning\n")


def test_a_time_limit_below_other_wrappers_is_seen():
    wrapped = gymnasium.wrappers.FlattenObservation(gymnasium.make("Acrobot-v1"))
    report = check(wrapped, steps=20)
    assert report.facts["time_limit"] == 500
    assert report.findings == ()


def test_pictures_and_text_are_fine():
    assert read(gymnasium.make("FrozenLake-v1", render_mode="rgb_array")) == ""
    assert read(gymnasium.make("FrozenLake-v1", render_mode="ansi")) == ""


def test_images_are_fine():
    class Images(Walk):
        observation_space = Box(0, 255, (8, 8, 3), np.uint8)

        def observe(self):
            return np.full((8, 8, 3), 255, np.uint8)

    assert read(Images()) == ""


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TeguError, match="cannot check Walk itself: call it first"):
        check(Walk)
    with pytest.raises(TeguError, match="cannot check str; expected"):
        check("CartPole-v1")
    with pytest.raises(TeguError, match="at least 1 step"):
        check(Walk(), steps=0)


# --- spaces


def test_tuple_observations():
    assert read(gymnasium.make("Blackjack-v1")) == text("""
        error in observation_space: Tuple spaces are not supported
          expected  Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these
          got       Tuple(Discrete(32), Discrete(11), Discrete(2))
          hint      give the parts names in a Dict, or several Discrete ones one MultiDiscrete
    """)


def test_unsupported_spaces_inside_a_dict_are_named():
    class Named(Walk):
        observation_space = Dict(word=Text(3), pair=Tuple([Discrete(2)]))

        def observe(self):
            return {"word": "abc", "pair": (1,)}

    findings = check(Named(), steps=20).findings
    assert [finding.where for finding in findings] == ['observation_space["word"]', 'observation_space["pair"]']


def test_missing_spaces():
    class Bare(gymnasium.Env):
        observation_space = "Box"

    assert read(Bare()) == text("""
        error in observation_space: is not a Gymnasium space
          expected  a gymnasium.spaces.Space
          got       builtins.str
          hint      observation_space = gymnasium.spaces.Box(...) or Discrete(n)
        error in action_space: is missing
          expected  a gymnasium.spaces.Space
          hint      action_space = gymnasium.spaces.Box(...) or Discrete(n)
    """)


def test_unbounded_actions():
    class Unbounded(Walk):
        action_space = Box(-np.inf, np.inf, (1,), np.float32)

    assert read(Unbounded()) == text("""
        error in action_space: the actions have no finite bounds
          expected  finite low and high
          got       Box(-inf, inf, (1,), float32)
          hint      say how large an action can sensibly be; Box(-1, 1, shape) is the best, scaled inside step()
    """)


def test_actions_on_another_scale():
    class Percent(Walk):
        action_space = Box(0, 100, (1,), np.float32)

    assert read(Percent()) == text("""
        warning in action_space: the actions do not range from -1 to 1
          expected  Box(-1, 1, shape)
          got       Box(0.0, 100.0, (1,), float32)
          hint      policies begin around 0 with a spread of 1: scale in step(), or by gymnasium.wrappers.RescaleAction
    """)


# --- Gymnasium: observations


def test_float64_for_float32():
    class Doubles(Walk):
        def observe(self):
            return self.point

    assert read(Doubles()) == text("""
        error in reset() -> observation: wrong dtype
          expected  float32[2]
          got       float64[2]
          hint      value.astype(np.float32)
        error in step() -> observation: wrong dtype
          expected  float32[2]
          got       float64[2] at step 1
          hint      value.astype(np.float32)
    """)


def test_fractions_in_an_integer_space():
    class Fractions(Walk):
        observation_space = Box(0, 255, (2,), np.uint8)

    assert read(Fractions()).startswith(
        text("""
        error in reset() -> observation: wrong dtype
          expected  uint8[2]
          got       float32[2]
          hint      fractions are cut off: declare the space as a Box of np.float32
    """)
    )


def test_wrong_shape():
    class Column(Walk):
        def observe(self):
            return super().observe()[:, None]

    assert read(Column()).startswith(
        text("""
        error in reset() -> observation: wrong shape
          expected  float32[2]
          got       float32[2, 1]
          hint      value.reshape((2,))
    """)
    )


def test_lists_are_not_arrays():
    class Lists(Walk):
        def observe(self):
            return super().observe().tolist()

    assert read(Lists()).startswith(
        text("""
        error in reset() -> observation: is not an array
          expected  float32[2]
          got       list
          hint      np.asarray(value, np.float32)
    """)
    )


def test_out_of_bounds_names_the_entry_the_value_and_the_step():
    class Escaping(Walk):
        def observe(self):
            return np.float32([0, 0 if self.clock < 5 else 21])

    assert read(Escaping()) == text("""
        error in step() -> observation: out of bounds
          expected  -20.0 to 20.0
          got       21.0 at index [1] at step 5
          hint      widen the space, or clip what is returned
    """)


def test_a_discrete_observation_counts_from_zero():
    class OneTooMany(Walk):
        observation_space = Discrete(10)

        def observe(self):
            return self.clock

    assert read(OneTooMany()) == text("""
        error in step() -> observation: out of bounds
          expected  0 to 9
          got       10 at step 10
          hint      widen the space, or clip what is returned
    """)


def test_multi_discrete_and_multi_binary():
    class Counts(Walk):
        observation_space = Dict(hands=MultiDiscrete([3, 2]), open=MultiBinary(2))

        def observe(self):
            return {"hands": np.array([2, 2]), "open": np.array([0, 2], np.int8)}

    findings = check(Counts(), steps=20).findings
    assert [(finding.where, finding.expected, finding.got) for finding in findings[:2]] == [
        ('reset() -> observation["hands"]', "0 to 1", "2 at index [1]"),
        ('reset() -> observation["open"]', "0 to 1", "2 at index [1]"),
    ]


def test_not_a_number():
    class Divides(Walk):
        def observe(self):
            return np.float32([np.nan, np.inf]) if self.clock == 3 else super().observe()

    assert read(Divides()) == text("""
        error in step() -> observation: not finite
          expected  finite numbers
          got       nan at index [0] (and 1 more) at step 3
          hint      look for a division by zero, the logarithm of 0 or an overflow
    """)


def test_keys_missing_and_extra():
    class Keys(Walk):
        observation_space = Dict(speed=Discrete(3), place=Box(-20, 20, (2,), np.float32))

        def observe(self):
            return {"velocity": 1, "place": super().observe()}

    assert read(Keys()).startswith(
        text("""
        error in reset() -> observation["speed"]: the key is missing
          expected  Discrete(3)
          got       nothing
          hint      return 'speed' as well, or take it out of observation_space
        error in reset() -> observation["velocity"]: the key is not in the space
          expected  no such key
          got       int
          hint      add 'velocity' to observation_space, or move it to info
    """)
    )


def test_an_array_where_a_dict_is_promised():
    class NoDict(Walk):
        observation_space = Dict(speed=Discrete(3))

    assert read(NoDict()).startswith(
        text("""
        error in reset() -> observation: is not a dict
          expected  a dict with the keys 'speed'
          got       ndarray
    """)
    )


class Masked(Walk):
    """Only the action 1 is legal."""

    observation_space = Dict(action_mask=MultiBinary(2))

    def observe(self):
        return {"action_mask": np.int8([0, 1])}

    def step(self, action):
        assert action == 1
        return super().step(action)


def test_legal_actions_are_taken():
    assert read(Masked()) == ""


def test_a_mask_without_legal_actions():
    class Stuck(Masked):
        def observe(self):
            return {"action_mask": np.int8([0, self.clock != 4])}

    assert read(Stuck()).startswith(
        text("""
        error in step() -> observation["action_mask"]: no action is legal, and the episode goes on
          expected  at least one entry of 1
          got       only zeros
          hint      terminate the episode when nobody can move, or add an action that passes
    """)
    )


def test_a_mask_of_the_wrong_length():
    class Short(Masked):
        action_space = Discrete(3)

    assert read(Short()) == text("""
        error in observation_space["action_mask"]: the mask does not fit the actions
          expected  shape (3,), one entry per action
          got       shape (2,)
          hint      MultiBinary(3): 1 where the action is legal
    """)


# --- Gymnasium: reset, step


def test_the_old_api():
    class Old(Walk):
        def reset(self):
            return super().reset()[0]

        def step(self, action):
            observation, reward, done, _, info = super().step(action)
            return observation, reward, done, info

    assert read(gymnasium.wrappers.TimeLimit(Old(), 5)) == text("""
        error in reset(): takes no seed and no options
          expected  reset(self, *, seed=None, options=None)
          got       reset()
          hint      begin with super().reset(seed=seed) and draw random numbers from self.np_random
        error in reset(): does not return two values
          expected  (observation, info dict)
          got       float32[2]
          hint      return observation, {}
        error in step(): returns 4 values, as in the old Gym API
          expected  (observation, reward, terminated, truncated, info)
          got       (float32[2], float, bool, dict)
          hint      split done: terminated where the task itself ended, truncated where only the time ran out
        warning in reset(seed=0) -> observation: the same seed and actions give another result
          expected  the same, bit for bit
          got       a difference in the first observation
          hint      draw from self.np_random only; else a resumed run begins its unfinished episodes anew
    """)


def test_a_step_of_three():
    class Three(Walk):
        def step(self, action):
            return super().step(action)[:3]

    assert read(Three()) == text("""
        error in step(): does not return five values
          expected  (observation, reward, terminated, truncated, info)
          got       (float32[2], float, bool)
    """)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (
            None,
            "is not a number\n  expected  a float\n  got       NoneType at step 1\n  hint      return a number",
        ),
        (
            np.ones(1),
            "is not a number\n  expected  a float\n  got       float64[1] at step 1\n  hint      reward.item()",
        ),
        (np.inf, "is not finite\n  expected  a finite float\n  got       inf at step 1"),
    ],
)
def test_rewards(reward, message):
    class Pays(Walk):
        def pay(self):
            return reward

    assert read(Pays()) == f"error in step() -> reward: {message}"


def test_flags_and_info():
    class Numbers(Walk):
        def step(self, action):
            observation, reward, terminated, _, _ = super().step(action)
            return observation, reward, np.array([terminated]), 0, None

    assert read(Numbers()) == text("""
        error in step() -> terminated: is not a bool
          expected  True or False
          got       bool[1] array([False]) at step 1
          hint      bool(terminated)
        error in step() -> truncated: is not a bool
          expected  True or False
          got       int 0 at step 1
          hint      bool(truncated)
        error in step() -> info: is not a dict
          expected  a dict, maybe empty
          got       NoneType at step 1
          hint      {}
    """)


class Crashes(Walk):
    def step(self, action):
        if self.clock == 4:
            return self.scores["x"]
        return super().step(action)


def test_an_exception_is_a_finding_with_its_line():
    line = line_of(Crashes, 'return self.scores["x"]')
    assert read(Crashes()) == text(f"""
        error in step(): raised AttributeError
          got       'Crashes' object has no attribute 'scores' at test_check.py:{line}, `return self.scores["x"]`
    """)


def test_reset_after_an_episode():
    class Once(Walk):
        def reset(self, *, seed=None, options=None):
            if hasattr(self, "clock"):
                raise RuntimeError("already used")
            return super().reset(seed=seed)

    assert read(Once()).startswith(
        text("""
        error in reset() after an episode: raised RuntimeError
          got       already used at test_check.py:
    """)
    )


def test_random_numbers_from_elsewhere():
    class Noisy(Walk):
        def step(self, action):
            observation, *rest = super().step(action)
            return observation + np.float32(np.random.uniform()), *rest

    report = check(Noisy(), steps=20)
    assert report.ok
    assert report.facts["deterministic"] == "no"
    assert report.facts["first_observation"] == "depends on the seed"
    assert str(report.findings[0]) == text("""
        warning in step() -> observation: the same seed and actions give another result
          expected  the same, bit for bit
          got       a difference at step 1
          hint      draw from self.np_random only; else a resumed run begins its unfinished episodes anew
    """)


def test_a_beginning_that_follows_no_seed():
    class Random(Walk):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed)
            return observation + np.float32(np.random.uniform()), info

    facts = check(Random(), steps=20).facts
    assert (facts["first_observation"], facts["deterministic"]) == ("random, whatever the seed", "no")


def test_what_an_episode_leaves_behind_is_found():
    class Tired(Walk):
        walked = 0

        def pay(self):
            self.walked += 1
            return -self.walked

    assert read(Tired()).startswith("warning in step() -> reward: the same seed and actions give another result")


def test_a_seed_that_is_ignored():
    class Deaf(Walk):
        def reset(self, *, seed=None, options=None):
            return super().reset()

    assert read(Deaf()).startswith("warning in reset(seed=0) -> observation: the same seed and actions give")


def test_an_array_that_is_used_again():
    class Reuses(Walk):
        buffer = np.zeros(2, np.float32)

        def observe(self):
            self.buffer[:] = self.point
            return self.buffer

    assert read(Reuses()) == text("""
        warning in observation: an array returned earlier changes afterwards
          expected  a new array from every call
          got       one that step() writes into again
          hint      return a copy; else the last observation of an episode is overwritten before anything learns from it
    """)


def test_an_action_that_is_written_into():
    class Clips(Walk):
        action_space = Box(-1, 1, (1,), np.float32)

        def step(self, action):
            action *= 0
            return super().step(0)

    text = read(Clips())
    assert text.startswith("warning in step(action): the environment changes the action that it is given\n")
    assert "became [" in text


def test_an_episode_without_end():
    class Endless(Walk):
        def step(self, action):
            observation, reward, _, truncated, info = super().step(action)
            return observation, reward, False, truncated, info

    assert read(Endless()) == text("""
        warning in step(): no episode ended, and there is no time limit
          expected  terminated or truncated within 20 steps
          got       neither
          hint      register with max_episode_steps=..., or wrap in gymnasium.wrappers.TimeLimit
    """)
    assert read(gymnasium.wrappers.TimeLimit(Endless(), 50)) == ""


@pytest.mark.parametrize(
    ("metadata", "mode", "message"),
    [
        ({"render_modes": None}, None, "warning in metadata: does not say how the environment renders"),
        ({"render_modes": ["ansi"], "render_fps": 4}, "human", "warning in render_mode: is not among the declared"),
        ({"render_modes": ["ansi"]}, "ansi", 'warning in metadata["render_fps"]: is missing'),
        ({"render_modes": ["rgb_array"], "render_fps": 4}, "rgb_array", "error in render(): is not a picture"),
    ],
)
def test_rendering(metadata, mode, message):
    class Draws(Walk):
        def render(self):
            return np.zeros((4, 4))

    environment = Draws()
    environment.metadata, environment.render_mode = metadata, mode
    assert read(environment).startswith(message)


# --- JAX


class Branches(Drift):
    def step(self, state, action, key):
        if state[0] > 10:
            state = 0 * state
        return Timestep(state, state, jnp.float32(1), state[0] > 10)


def test_python_control_flow():
    line = line_of(Branches, "if state[0] > 10:")
    message = "Attempted boolean conversion of traced array with shape bool[]."
    assert read(Branches()) == text(f"""
        error in step(): raised TracerBoolConversionError
          got       {message} at test_check.py:{line}, `if state[0] > 10:`
          hint      `if`: jnp.where or jax.lax.cond; `while`: jax.lax.while_loop; `and`, `or`, `not`: &, |, ~
    """)


def test_numpy_in_a_traced_function():
    class UsesNumPy(Drift):
        def reset(self, key):
            return np.sin(jax.random.uniform(key, (1,))), jnp.zeros(1)

    text = read(UsesNumPy())
    assert text.startswith("error in reset(): raised TracerArrayConversionError")
    assert "use jax.numpy, e.g. jnp.sin(x)" in text


def test_an_environment_that_changes_itself():
    class Counts(Drift):
        count: int = 0

        def step(self, state, action, key):
            self.count = self.count + 1
            return super().step(state, action, key)

    text = read(Counts())
    assert text.startswith("error in step(): raised FrozenInstanceError")
    assert "what changes belongs into the state" in text


class Ball(NamedTuple):
    place: jax.Array
    speed: jax.Array


def test_a_state_that_changes_its_shape_and_dtype():
    class Changes(Drift):
        def reset(self, key):
            return Ball(jnp.zeros(1), jnp.zeros((), jnp.int32)), jnp.zeros(1)

        def step(self, state, action, key):
            return Timestep(Ball(state.place[0], state.speed + 0.5), state.place, jnp.float32(0), jnp.bool_(False))

    assert read(Changes()) == text("""
        error in step() -> state.place: differs from the state that reset() returns
          expected  float32[1]
          got       float32[]
          hint      a compiled loop carries the state along: its structure, shapes and dtypes never change
        error in step() -> state.speed: differs from the state that reset() returns
          expected  int32[]
          got       float32[]
          hint      a compiled loop carries the state along: its structure, shapes and dtypes never change
    """)


def test_a_state_that_changes_its_structure():
    class Grows(Drift):
        def reset(self, key):
            return {"x": jnp.zeros(1)}, jnp.zeros(1)

        def step(self, state, action, key):
            return Timestep({**state, "y": action}, state["x"], jnp.float32(0), jnp.bool_(False))

    assert """error in step() -> state["y"]: differs from the state that reset() returns
  expected  absent
  got       int32[]""" in read(Grows())


def test_everything_returned_in_another_form():
    class Forms(Drift):
        def reset(self, key):
            return jnp.zeros(1), jnp.zeros(2)

        def step(self, state, action, key):
            return Timestep(state, state.astype(int), action, state > 10, jnp.float32(0))

    assert read(Forms()) == text("""
        error in reset() -> observation: wrong shape
          expected  float32[1]
          got       float32[2]
          hint      make the space and the array agree
        error in step() -> observation: wrong dtype
          expected  float32[1]
          got       int32[1]
          hint      value.astype(np.float32)
        error in step() -> reward: is not the scalar it should be
          expected  float32[]
          got       int32[]
          hint      jnp.float32(reward)
        error in step() -> terminated: is not the scalar it should be
          expected  bool[]
          got       bool[1]
          hint      a comparison such as x > limit, without axes of length 1
        error in step() -> truncated: is not the scalar it should be
          expected  bool[]
          got       float32[]
          hint      a comparison such as x > limit, without axes of length 1
    """)


def test_tuples_of_another_length():
    class Gymnax(Drift):
        def step(self, state, action, key):
            return state, state, jnp.float32(0), jnp.bool_(False)

    assert read(Gymnax()) == text("""
        error in step(): does not return a Timestep
          expected  Timestep(state, observation, reward, terminated, truncated)
          got       (float32[1], float32[1], float32[], bool[])
    """)

    class NoState(Drift):
        def reset(self, key):
            return jnp.zeros(1)

    assert read(NoState()) == text("""
        error in reset(): does not return two values
          expected  (state, observation)
          got       float32[1]
    """)


def test_values_of_a_compiled_rollout():
    class Wild(Drift):
        def step(self, state, action, key):
            return Timestep(state, jnp.array([20.7]), 1 / (state[0] * 0), jnp.bool_(False))

    assert read(Wild()) == text("""
        error in step() -> observation: out of bounds
          expected  -20.0 to 20.0
          got       20.7 at index [0] (and 159 more)
          hint      widen the space, or clip what is returned
        error in step() -> reward: is not finite
          expected  finite numbers
          got       inf
    """)


def test_a_clock_inside_a_compiled_step():
    class Impure(Drift):
        def step(self, state, action, key):
            return (
                super().step(state, action, key)._replace(reward=jnp.float32(time.perf_counter() % 1))
            )  # float32 can tell moments of one second apart

    report = check(Impure(), steps=20)
    assert report.facts["deterministic"] == "no"
    assert report.findings[0].where == "step() -> reward"
    assert report.findings[0].problem == "equal arguments give different results"
    assert report.findings[0].hint.startswith("only the arguments may matter: no counter, clock")


def test_a_result_that_depends_on_compilation():
    class Knows(Drift):
        def step(self, state, action, key):
            reward = jnp.float32(isinstance(state, jax.core.Tracer))
            return super().step(state, action, key)._replace(reward=reward)

    assert read(Knows()).startswith(
        text("""
        error in step() -> reward: compiling changes the result
          expected  the same but for rounding
          got       0.0 uncompiled, 1.0 compiled
    """)
    )


def test_a_jax_episode_without_end():
    assert read(Drift(max_episode_steps=None)) == text("""
        warning in step(): no episode ended, and there is no time limit
          expected  terminated or truncated within 20 steps
          got       neither
          hint      give the environment max_episode_steps
    """)


def test_a_jax_mask():
    class OnlyOne(Drift):
        stuck: bool = eqx.field(static=True, default=False)

        @property
        def observation_space(self):
            return Dict(x=Box(-20, 20, (1,), np.float32), action_mask=MultiBinary(2))

        def view(self, state):
            return {"x": state, "action_mask": jnp.array([0, not self.stuck], jnp.int8)}

        def reset(self, key):
            return jnp.zeros(1), self.view(jnp.zeros(1))

        def step(self, state, action, key):  # an illegal action would leave the space
            state = state + jnp.where(action == 1, 0, 100)
            return Timestep(state, self.view(state), jnp.float32(1), jnp.bool_(False))

    assert read(OnlyOne()) == ""
    assert 'error in reset() -> observation["action_mask"]: no action is legal' in read(OnlyOne(stuck=True))


def test_a_jax_observation_without_its_mask():
    class Forgets(Drift):
        @property
        def observation_space(self):
            return Dict(action_mask=MultiBinary(2))

        def reset(self, key):
            return jnp.zeros(1), {}

        def step(self, state, action, key):
            return super().step(state, action, key)._replace(observation={})

    assert read(Forgets()) == text("""
        error in reset() -> observation["action_mask"]: the key is missing
          expected  MultiBinary(2)
          got       nothing
          hint      return 'action_mask' as well, or take it out of observation_space
        error in step() -> observation["action_mask"]: the key is missing
          expected  MultiBinary(2)
          got       nothing
          hint      return 'action_mask' as well, or take it out of observation_space
    """)


def test_a_jax_environment_without_spaces():
    class Nothing(Environment):
        pass

    report = check(Nothing(id="nothing"))
    assert [finding.problem for finding in report.findings] == ["is missing", "is missing"]
