"""What environments of the host return is taken as it is meant, or refused in one line: nothing is bent to fit."""

import collections
import itertools
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

import tegu
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.make import find
from tegu.spaces.bounds import from_unit, to_bounds
from tegu.spaces.observations import Observations

ACTIONS = np.zeros(1, int)


class Ten(gymnasium.Env):
    """Ten steps, 1 for each; what is returned is what a test says."""

    observation_space: Any = spaces.Box(-1, 1, (3,), np.float32)
    action_space: Any = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def seen(self) -> Any:
        return np.full(3, self.t / 20, np.float32)

    def step(self, action):
        self.t += 1
        return self.seen(), 1.0, self.t >= 10, False, {}


def variant(**overrides: Any) -> GymnasiumEnvironments:
    return GymnasiumEnvironments(type("Variant", (Ten,), overrides), [(0, 0)])


def line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def old_step(self, action):
    return self.seen(), 1.0, False, {"TimeLimit.truncated": False}


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("step", old_step, "4 values (as environments of the old gym do)"),
        ("step", lambda self, action: self.seen(), "got a ndarray"),
        ("step", lambda self, action: (self.seen(), 1.0, False, False, None), "a NoneType for info"),
    ],
)
def test_step_returns_five_values(name: str, method: Any, expected: str) -> None:
    environments = variant(**{name: method})
    environments.reset()
    with pytest.raises(tegu.TeguError) as error:
        environments.step(ACTIONS)
    assert "step() of the environment must return (observation, reward, terminated, truncated, info)" in line(error)
    assert expected in line(error)


@pytest.mark.parametrize("returned", [np.zeros(3), np.zeros(2), (np.zeros(3), np.zeros(3))])
def test_reset_returns_an_observation_and_info(returned: Any) -> None:
    """An observation of two numbers, too, which could be unpacked."""
    with pytest.raises(tegu.TeguError, match=r"reset\(\) of the environment must return \(observation, info\), got"):
        variant(reset=lambda self, **_: returned).reset()


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (spaces.Box(-1, 1, (3,)), 0.5, "expected float32[3], got float64[]"),
        (spaces.Box(-1, 1, (3,)), np.float32([0.5]), "expected float32[3], got float32[1]"),
        (spaces.Box(-1, 1, (3,)), None, "expected float32[3], got NoneType"),
        (spaces.Box(0, 255, (2, 2, 1), np.uint8), np.full((2, 2, 1), 0.7), "cannot be held as uint8: got 0.7"),
        (spaces.Box(0, 255, (2,), np.uint8), np.array([0, 300]), "cannot be held as uint8: got 300"),
        (
            spaces.Box(0, 2**40, (1,), np.int64),
            np.array([2**33 + 5]),
            "held as int32 (JAX has no int64): got 8589934597",
        ),
        (spaces.Discrete(3), 7, "out of bounds: expected 0 to 2, got 7"),
        (spaces.Discrete(3, start=-1), 2, "out of bounds: expected -1 to 1, got 2"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "out of bounds: expected 0 to 2, got 3 at index [1]"),
        (spaces.MultiBinary(2), np.array([0, 2], np.int8), "out of bounds: expected 0 to 1, got 2"),
        (spaces.Dict(a=spaces.Discrete(2), b=spaces.Discrete(2)), {"a": 0}, "observation lacks 'b'"),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": 0, "c": 1}, "observation has 'c', which the space lacks"),
        (spaces.Dict(a=spaces.Dict(b=spaces.Discrete(2))), {"a": {"b": 5}}, "observation['a']['b'] is out of bounds"),
        (spaces.Dict(a=spaces.Discrete(2)), 0, "expected a dict with 'a', got int"),
        (spaces.Box(-1, 1, (3,)), [0.1, [0.2], 0.3], "expected float32[3], got list"),
    ],
)
def test_observations_lie_in_their_space(space: spaces.Space, value: Any, expected: str) -> None:
    with pytest.raises(tegu.TeguError, match="an observation that is not in its space") as error:
        variant(observation_space=space, seen=lambda self: value).reset()
    assert expected in line(error)


@pytest.mark.parametrize(
    ("space", "value", "kept"),
    [
        (spaces.Box(-1, 1, (2,)), [0.5, -0.5], np.float32([0.5, -0.5])),
        (spaces.Box(-9, 9, (2,)), np.array([3, -3]), np.float32([3, -3])),
        (spaces.Box(-9, 9, ()), 3, np.float32(3)),
        (spaces.Box(0, 255, (2,), np.uint8), np.array([0.0, 255.0]), np.uint8([0, 255])),
        (spaces.Discrete(3), np.int64(2), np.int32(2)),
        (spaces.Discrete(3), np.array(2), np.int32(2)),
        (spaces.MultiBinary(2), [True, False], np.int8([1, 0])),
    ],
)
def test_what_keeps_its_value_is_taken(space: spaces.Space, value: Any, kept: Any) -> None:
    seen = variant(observation_space=space, seen=lambda self: value).reset()
    assert seen.dtype == kept.dtype
    np.testing.assert_array_equal(seen[0], kept)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [collections.OrderedDict, lambda a: collections.defaultdict(int, a), MappingProxyType])
def test_any_mapping_is_a_dict(kind: Any) -> None:
    """So are those with empty parts."""
    none = spaces.Box(0, 1, (0,))
    space = spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(3), nothing=spaces.Dict(), none=none)
    observation = {"a": np.zeros(2, np.float32), "b": 1, "nothing": {}, "none": np.zeros(0, np.float32)}
    many = type("Many", (Ten,), {"observation_space": space, "seen": lambda self: kind(dict(observation))})
    agent = tegu.train(many, "ppo", steps=8, n_envs=1, n_steps=4, batch_size=4, net_arch=(4,), folder=None)
    assert agent.predict(kind(dict(observation)))[0] == agent.predict(observation)[0]


@pytest.mark.slow
def test_keys_may_be_numbers(tmp_path: Path) -> None:
    """Also where the run is saved and loaded."""
    space = spaces.Dict({0: spaces.Box(-1, 1, (2,)), np.int64(3): spaces.Discrete(3)})
    observation = {0: np.zeros(2, np.float32), 3: 1}
    numbered = type("Numbered", (Ten,), {"observation_space": space, "seen": lambda self: observation})
    tegu.train(numbered, "ppo", steps=8, n_envs=1, n_steps=4, batch_size=4, net_arch=(4,), folder=tmp_path)
    assert tegu.load("last", folder=tmp_path).predict(observation)[0] in (0, 1)


def test_keys_of_several_kinds_are_refused() -> None:
    mixed = type("Mixed", (Ten,), {"observation_space": spaces.Dict({0: spaces.Discrete(2), "a": spaces.Discrete(2)})})
    with pytest.raises(tegu.TeguError, match="must all be text, or all be whole numbers: got "):
        tegu.train(mixed, "ppo", folder=None)


def test_keys_that_cannot_be_saved_are_found_before_training(tmp_path: Path) -> None:
    space = spaces.Dict({("a", 0): spaces.Discrete(2), ("b", 0): spaces.Discrete(2)})
    with pytest.raises(tegu.TeguError, match=r"must be text or whole numbers to be saved, got \('a', 0\)"):
        tegu.train(type("Pairs", (Ten,), {"observation_space": space}), "ppo", folder=tmp_path)


def test_no_action_to_choose_is_refused() -> None:
    with pytest.raises(tegu.TeguError, match="PPO needs something to choose, the environment has Box"):
        tegu.train(type("Idle", (Ten,), {"action_space": spaces.Box(-1, 1, (0,))}), "ppo", folder=None)


@pytest.mark.slow
def test_predict_bends_nothing_either() -> None:
    images = type("Images", (Ten,), {"observation_space": spaces.Box(0, 255, (2,), np.uint8)})
    images.seen = lambda self: np.zeros(2, np.uint8)
    agent = tegu.train(images, "ppo", steps=8, n_envs=1, n_steps=4, batch_size=4, net_arch=(4,), folder=None)
    with pytest.raises(tegu.TeguError, match=r"cannot be held as uint8: got 0\.7"):
        agent.predict(np.array([0.7, 0.7]))


@pytest.mark.slow
@pytest.mark.parametrize("given", [[None] * 4, ["1"] * 4, [None, 1.0, 2.0, 3.0]])
def test_predict_takes_numbers_only(given: list[Any]) -> None:
    many = type("Many", (Ten,), {"observation_space": spaces.Box(-9, 9, (4,)), "seen": lambda self: np.zeros(4)})
    agent = tegu.train(many, "ppo", steps=8, n_envs=1, n_steps=4, batch_size=4, net_arch=(4,), folder=None)
    with pytest.raises(tegu.TeguError, match="got what is no number: "):
        agent.predict(given)


def test_floats_out_of_bounds_are_warned_of_once() -> None:
    """Many environments overshoot their bounds by a little, and learn all the same."""
    observations = Observations(spaces.Box(-1, 1, (2,)))
    with pytest.warns(UserWarning, match=r"out of bounds: expected -1\.0 to 1\.0, got 1\.5 at index \[1\]"):
        observations.stack([np.float32([0, 1.5])])
    observations.stack([np.float32([0, 1.5])])  # a second warning would be an error here


def test_an_environment_may_return_its_own_buffer() -> None:
    """What it saw last is copied before the next episode is written over it."""
    buffer = np.zeros(1, np.float32)

    def seen(self):
        buffer[0] = self.t
        return buffer

    environments = variant(observation_space=spaces.Box(0, 100, (1,)), seen=seen)
    environments.reset()
    for _ in range(10):
        now = environments.step(ACTIONS)
    assert (now.terminated.item(), now.next_observation.item(), now.observation.item()) == (True, 10, 0)


def test_environments_may_share_a_buffer() -> None:
    """As one in the class does: what the first saw is not what the second writes."""
    buffer, made = np.zeros(1, np.float32), itertools.count(1)

    class Sharing(Ten):
        observation_space = spaces.Box(0, 100, (1,))

        def __init__(self) -> None:
            self.number = next(made)

        def seen(self) -> Any:
            buffer[0] = 10 * self.number + self.t
            return buffer

    environments = GymnasiumEnvironments(Sharing, [(0, 0), (0, 1)])
    assert environments.reset().ravel().tolist() == [10, 20]
    assert environments.step(np.zeros(2, int)).observation.ravel().tolist() == [11, 21]


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,)), spaces.MultiBinary(2)])
def test_an_environment_may_write_into_an_action(space: spaces.Space) -> None:
    """What is recorded, and learned from, is the action that was chosen."""

    def step(self, action):
        action *= 0
        return self.seen(), 1.0, False, False, {}

    environments = variant(action_space=space, step=step)
    environments.reset()
    chosen = np.ones((1, 2), space.dtype)
    chosen.flags.writeable = False  # as what a compiled policy returns
    environments.step(chosen)
    assert environments.snapshot()[0]["actions/0"].tolist() == [[1, 1]]


@pytest.mark.parametrize("reward", [2, np.float64(2), np.array([2.0]), np.array(2), np.array([[2]])])
def test_arrays_of_one_number_are_rewards(reward: Any) -> None:
    environments = variant(step=lambda self, action: (self.seen(), reward, np.array([False]), np.bool_(True), {}))
    environments.reset()
    now = environments.step(ACTIONS)
    np.testing.assert_array_equal([now.reward, now.terminated, now.truncated], [[2], [0], [1]])


@pytest.mark.parametrize(
    ("reward", "terminated", "expected"),
    [
        (np.zeros(2), False, r"the reward of the environment must be a number, got float64\[2\]"),
        ({"a": 1}, False, "must be a number, got dict"),
        (None, False, "must be a number, got NoneType"),
        ([1, [2]], False, "must be a number, got list"),
        (1.0, np.zeros(2, bool), r"terminated and truncated of the environment must be True or False"),
        (1.0, {"done": True}, "must be True or False, got dict"),
    ],
)
def test_rewards_and_flags_of_another_kind(reward: Any, terminated: Any, expected: str) -> None:
    environments = variant(step=lambda self, action: (self.seen(), reward, terminated, False, {}))
    environments.reset()
    with pytest.raises(tegu.TeguError, match=expected):
        environments.step(ACTIONS)


@pytest.mark.parametrize(("n_envs", "seeds"), [(4, 1), (1, 2)])
def test_a_function_makes_a_new_environment_each_time(n_envs: int, seeds: int) -> None:
    one = Ten()
    with pytest.raises(tegu.TeguError, match="returned the same Ten more than once"):
        tegu.train(lambda: one, "ppo", steps=64, n_envs=n_envs, seeds=seeds, folder=None)


def masked(length: int, legal: Any) -> dict[str, Any]:
    space = spaces.Dict(x=spaces.Box(-1, 1, (1,)), action_mask=spaces.MultiBinary(length))
    return {"observation_space": space, "seen": lambda self: {"x": np.zeros(1, np.float32), "action_mask": legal(self)}}


def test_a_mask_leaves_something_to_do() -> None:
    """But for the last observation of an episode, where nothing is to be done any more."""
    environments = variant(**masked(2, lambda self: np.int8([self.t < 10] * 2)))
    environments.reset()
    for _ in range(10):
        now = environments.step(ACTIONS)
    assert now.terminated.all()
    stuck = variant(**masked(2, lambda self: np.int8([self.t != 3] * 2)))
    stuck.reset()
    stuck.step(ACTIONS)
    stuck.step(ACTIONS)
    with pytest.raises(tegu.TeguError, match="action_mask allows no action while the episode goes on"):
        stuck.step(ACTIONS)


@pytest.mark.parametrize(
    ("length", "action", "expected"),
    [
        (3, spaces.Discrete(2), r"expected shape \(2,\), got \(3,\)"),
        (2, spaces.Box(-1, 1, (2,)), "an action_mask needs Discrete or MultiDiscrete actions, the environment has Box"),
    ],
)
def test_a_mask_fits_the_actions(length: int, action: spaces.Space, expected: str) -> None:
    wrong = type("Wrong", (Ten,), masked(length, lambda self: np.ones(length, np.int8)) | {"action_space": action})
    with pytest.raises(tegu.TeguError, match=expected):
        tegu.train(wrong, "ppo", steps=8, folder=None)


def old_gym() -> Any:
    base = type("Env", (), {"__module__": "gym.core"})
    return type("Old", (base,), {})()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (lambda: None, "got None"),
        (lambda: 3, "got an object of type int"),
        (lambda: EnvSpec("CartPole-v1"), "got an EnvSpec: give its name, 'CartPole-v1'"),
        (
            lambda: gymnasium.make_vec("CartPole-v1", 2),
            "which is many environments: name one, and say how many by n_envs",
        ),
        (old_gym, "Old of the old gym: derive it from gymnasium.Env"),
    ],
)
def test_what_is_no_environment_is_named(given: Any, expected: str) -> None:
    with pytest.raises(tegu.TeguError) as error:
        find(given())
    assert expected in line(error)
    with pytest.raises(tegu.TeguError) as error:
        find(given)
    assert expected.removeprefix("got ") in line(error)


@pytest.mark.parametrize(("low", "high", "dtype"), [(-128, 127, np.int8), (0, 255, np.uint8), (-3, 3, np.int16)])
def test_integer_actions_are_rounded(low: int, high: int, dtype: type) -> None:
    space = spaces.Box(low, high, (4,), dtype)
    actions = to_bounds(space, np.float32([-1e6, 0.4, 1.6, 1e6]))
    assert actions.tolist() == [low, 0, 2, high]
    assert space.contains(actions)


def test_a_policy_reaches_the_whole_range_of_an_int8() -> None:
    """127 - -128 is -1 in int8."""
    space = spaces.Box(-128, 127, (3,), np.int8)
    np.testing.assert_allclose(from_unit(space, jnp.array([-1.0, 0.0, 1.0])), [-128, -0.5, 127])


def test_a_reward_that_float32_cannot_hold_is_named() -> None:
    environments = variant(step=lambda self, action: (self.seen(), 10**400, False, False, {}))
    environments.reset()
    with pytest.raises(tegu.TeguError, match="a number that float32 holds, got 1000") as error:
        environments.step(ACTIONS)
    assert len(line(error)) < 200


def test_an_array_of_what_is_no_number_is_named_by_its_type() -> None:
    with pytest.raises(tegu.TeguError, match=r"expected float32\[3\], got object\[3\]"):
        variant(seen=lambda self: np.array([0.1, 0.2, 0.3], object)).reset()


def test_a_reset_takes_a_seed() -> None:
    with pytest.raises(
        tegu.TeguError, match=r"must take a seed: expected reset.*, got reset\(\) \(as .* gym do"
    ) as error:
        variant(reset=lambda self: (self.seen(), {}))
    assert line(error)
    variant(reset=lambda self, **given: (np.zeros(3, np.float32), {})).reset()


class Seeded(gymnasium.Wrapper):
    """Takes the seed for an environment that does not."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset()


def test_a_wrapper_may_take_the_seed() -> None:
    old = type("Old", (Ten,), {"reset": lambda self: (np.zeros(3, np.float32), {})})
    GymnasiumEnvironments(lambda: gymnasium.wrappers.TimeLimit(Seeded(old()), 10), [(0, 0)]).reset()
    with pytest.raises(tegu.TeguError, match="must take a seed"):
        GymnasiumEnvironments(lambda: gymnasium.wrappers.TimeLimit(old(), 10), [(0, 0)])


@pytest.mark.parametrize("name", ["observation_space", "action_space"])
@pytest.mark.parametrize(("space", "got"), [(None, "none"), (3, "builtins.int")])
def test_both_spaces_are_there(name: str, space: Any, got: str) -> None:
    with pytest.raises(tegu.TeguError, match=f"Own must have an {name}, such as .*: got {got}"):
        tegu.train(type("Own", (Ten,), {name: space}), "ppo", folder=None)


def test_what_was_trained_stays_though_its_environment_cannot_be_closed() -> None:
    def close(self: Any) -> None:
        raise OSError("no such display")

    environments = variant(close=close)
    with pytest.warns(UserWarning, match=r"close\(\) of the environment failed: OSError: no such display"):
        environments.close()
