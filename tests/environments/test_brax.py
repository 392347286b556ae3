"""The adapter of Brax's and MuJoCo Playground's environments: with one written here, and with Brax's own."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.agents.recording import record
from tegu.check import check
from tegu.check.contract import require_contract
from tegu.environments.adapters.brax import BraxEnvironment
from tegu.environments.adapters.mujoco import choose_renderer
from tegu.environments.make import find, make

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brax.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mujoco.*"),
]


class State(NamedTuple):
    """With Brax's fields."""

    pipeline_state: jax.Array
    obs: Any
    reward: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    info: dict[str, jax.Array]

    def replace(self, **fields: Any) -> "State":
        return self._replace(**fields)


class Counter:
    """Adds the action to a number, which is the reward, and is done above 3; beyond 100 it has no value."""

    action_size = 1

    def __init__(self, parts: bool = True):
        self.parts = parts

    def reset(self, key: jax.Array) -> State:
        assert key.dtype == jnp.uint32
        number = jax.random.uniform(key)
        return State(
            number,
            self.seen(number),
            jnp.zeros(()),
            jnp.zeros(()),
            {"steps": jnp.zeros(()), "number": number},
            {"rng": key},
        )

    def step(self, state: State, action: jax.Array) -> State:
        number = state.pipeline_state + action[0]
        number = jnp.where(number > 100, jnp.nan, number)
        state.metrics["steps"] = state.metrics["steps"] + 1  # in place, as Playground does
        state.metrics["number"] = number
        done = (number > 3).astype(jnp.float32)
        return State(number, self.seen(number), number, done, state.metrics, state.info)

    def seen(self, number: jax.Array) -> Any:
        return {"state": number[None], "privileged_state": jnp.stack([number, -number])} if self.parts else number[None]


def counting(**options: Any) -> BraxEnvironment:
    return BraxEnvironment(**{"environment": Counter(), "id": "counter", "max_episode_steps": 7} | options)


def test_a_step_is_the_environment_s_own() -> None:
    environment = counting()
    state, first = environment.reset(jax.random.key(3))
    number = float(jax.random.uniform(jax.random.key(3)))
    np.testing.assert_allclose(first["state"], [number], rtol=1e-6)
    step = jax.jit(environment.step)
    for t, action in enumerate((0.5, -1.0, 1.0, 1.0, 1.0, 1.0)):
        state, seen, reward, terminated, truncated = step(state, jnp.float32([action]), jax.random.key(0))
        number += action
        np.testing.assert_allclose(seen["privileged_state"], [number, -number], rtol=1e-5)
        np.testing.assert_allclose(reward, number, rtol=1e-5)
        assert (bool(terminated), truncated) == (number > 3, False)
        assert environment.measures(state) == {"steps": t + 1, "number": seen["state"][0]}
    assert terminated


def test_spaces_are_those_of_the_observations() -> None:
    space = counting().observation_space
    assert space == gymnasium.spaces.Dict(
        {name: gymnasium.spaces.Box(-np.inf, np.inf, (n,)) for name, n in (("state", 1), ("privileged_state", 2))}
    )
    assert counting(environment=Counter(parts=False)).observation_space == space["state"]
    assert counting().action_space == gymnasium.spaces.Box(-1, 1, (1,))
    for environment in (counting(), counting(environment=Counter(parts=False))):
        require_contract(environment)
        assert not check(environment, steps=20).findings


@pytest.mark.parametrize("compiled", [True, False])
def test_a_repeated_action_ends_with_the_episode(compiled: bool) -> None:
    """Its rewards are added up to the first step that is done, and what is seen is seen there."""
    environment = counting(action_repeat=4)
    step = jax.jit(environment.step) if compiled else environment.step
    state, first = environment.reset(jax.random.key(0))
    begun = float(first["state"][0])
    state, seen, reward, terminated, _ = step(state, jnp.ones(1), jax.random.key(0))
    n = next(n for n in range(1, 5) if begun + n > 3)
    np.testing.assert_allclose(reward, sum(begun + i for i in range(1, n + 1)), rtol=1e-5)
    np.testing.assert_allclose(seen["state"], [begun + n], rtol=1e-5)
    assert terminated
    assert environment.measures(state)["steps"] == n
    _, _, reward, terminated, _ = step(environment.reset(jax.random.key(0))[0], -jnp.ones(1), jax.random.key(0))
    np.testing.assert_allclose(reward, sum(begun - i for i in range(1, 5)), rtol=1e-4)
    assert not terminated


def test_a_diverged_body_ends_the_episode() -> None:
    """What is not finite reaches no learner."""
    environment = counting()
    state, first = environment.reset(jax.random.key(0))
    state = state.replace(pipeline_state=jnp.float32(1000))
    before = environment.measures(state)
    state, seen, reward, terminated, _ = environment.step(state, jnp.ones(1), jax.random.key(0))
    assert (reward, terminated) == (0, True)
    assert environment.measures(state) == before
    np.testing.assert_array_equal(seen["state"], first["state"])


@pytest.mark.slow
def test_the_clock_truncates() -> None:
    agent = tegu.train(counting(max_episode_steps=2), "ppo", folder=None, **PPO | {"steps": 16})
    evaluated = agent.evaluate(4)
    assert (evaluated.lengths <= 2).all()


@pytest.mark.parametrize("repeat", [0, True, 1.5])
def test_wrong_numbers(repeat: Any) -> None:
    with pytest.raises(tegu.TeguError, match=r"^counter: action_repeat must be a whole number from 1, got"):
        counting(action_repeat=repeat)


@pytest.mark.parametrize("package", ["brax", "playground"])
def test_without_the_package_one_line_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("brax.envs", "mujoco_playground._src.registry"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(tegu.TeguError, match=rf"^{package}/ant needs tegu\[{package}\]: pip install 'tegu\[{package}"):
        make(f"{package}/ant")


PPO: dict[str, Any] = {"n_envs": 2, "steps": 40, "n_steps": 5, "batch_size": 10, "n_epochs": 1, "net_arch": (4,)}


@pytest.mark.slow
def test_brax_s_own_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Its body without physics, which goes faster the more often it is pushed; nothing is written to stdout."""
    if find_spec("brax") is None:
        pytest.skip("needs brax")
    source = find("brax/fast", options={"episode_length": 9, "action_repeat": 2, "obs_mode": "dict_state"})
    environment = source.native
    assert (source.backend, environment.id, environment.max_episode_steps) == ("jax", "brax/fast", 5)
    seen = jax.device_get(environment.reset(jax.random.key(0))[1])
    assert seen in environment.observation_space
    assert capsys.readouterr().out == ""
    agent = tegu.train("brax/fast", "ppo", folder=None, environment_options={"episode_length": 9}, **PPO)
    assert (agent.evaluate(2).lengths == 9).all()
    with pytest.raises(tegu.TeguError, match="there is no environment brax/fats; did you mean brax/fast"):
        make("brax/fats")
    with pytest.raises(tegu.TeguError, match="brax/fast: episode_length must be a whole number from 1, got 0"):
        make("brax/fast", episode_length=0)
    with pytest.raises(tegu.TeguError, match=r"^cannot make brax/ant with .*: backend should be in"):
        make("brax/ant", physics="none")


PENDULUM = "brax/inverted_pendulum"
SPRING: dict[str, Any] = {"environment_options": {"physics": "spring", "episode_length": 30}}


@pytest.mark.long
def test_a_pendulum_is_brax_s_own() -> None:
    """Brax's own wrapper with an action taken twice, until the pole falls; and as it is drawn."""
    envs = pytest.importorskip("brax.envs")
    ours = make(PENDULUM, physics="spring", action_repeat=2)
    with pytest.warns(UserWarning, match="not actively being maintained"):
        theirs = envs.create("inverted_pendulum", action_repeat=2, auto_reset=False, backend="spring")
    state, seen = ours.reset(jax.random.key(4))
    expected = jax.jit(theirs.reset)(jax.random.key_data(jax.random.key(4)))
    np.testing.assert_allclose(seen, expected.obs, atol=1e-6)
    step, their_step = jax.jit(ours.step), jax.jit(theirs.step)
    for _ in range(50):
        state, seen, reward, terminated, _ = step(state, jnp.ones(1), jax.random.key(0))
        expected = their_step(expected, jnp.ones(1))
        if terminated:
            break
        np.testing.assert_allclose(seen, expected.obs, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(reward, expected.reward)
    assert terminated
    assert expected.done


@pytest.mark.long
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    pytest.importorskip("brax")
    settings = PPO | SPRING | {"steps": 400, "log_interval": 100, "checkpoint_every": 0.0}
    whole = tegu.train(PENDULUM, "ppo", folder=tmp_path / "whole", **settings).run
    halves = stopped_and_resumed(PENDULUM, "ppo", folder=tmp_path / "halves", **settings)
    assert_same(everything(halves), everything(whole))


@pytest.mark.long
@pytest.mark.parametrize("package", ["brax", "mujoco_playground"])
def test_an_episode_is_drawn(package: str) -> None:
    pytest.importorskip(package)
    try:
        choose_renderer()
    except tegu.TeguError:
        pytest.skip("nothing can draw here")
    name, options = (PENDULUM, SPRING) if package == "brax" else ("playground/CartpoleBalance", {})
    frames = record(tegu.train(name, "ppo", folder=None, **PPO | options), max_steps=3).frames()
    assert {frame.shape for frame in frames} == {(480, 480, 3)}
    assert (frames[0] != frames[-1]).any()
