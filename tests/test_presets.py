"""Names and presets: what is chosen, and what is said when it cannot be."""

import importlib
import sys
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu import presets
from tegu.environments.make import find
from tegu.environments.native import NATIVE
from tegu.training.fitting import validate
from tegu.training.plan import MOST_STEPS, make_plan, spec_of


@pytest.mark.parametrize("name", NATIVE)
def test_our_environments_know_their_own_name(name: str) -> None:
    assert find(name).native.id == name


def test_a_name_is_ours_unless_the_backend_says_otherwise() -> None:
    assert find("CartPole-v1").backend == "jax"
    assert find("CartPole-v1", "gymnasium").backend == "gymnasium"
    assert find("Blackjack-v1").backend == "gymnasium"


@pytest.mark.parametrize(
    ("environment", "algorithm", "settings", "says"),
    [
        ("CartPole-v2", None, {}, "did you mean CartPole-v1"),
        ("no_such_module:Thing", None, {}, "cannot import the environment no_such_module:Thing"),
        ("math:pi", None, {}, "cannot make math:pi|neither"),
        ("CartPole-v1", "ppa", {}, "did you mean ppo"),
        ("CartPole-v1", "ppo", {"learning_rat": 1}, "did you mean learning_rate"),
        ("CartPole-v1", "ppo", {"activation": "tan"}, "activation must be one of"),
        ("CartPole-v1", "ppo", {"steps": 0}, "steps must be at least 1, got 0"),
        ("CartPole-v1", "ppo", {"seeds": 0}, "seeds must be at least 1, got 0"),
        ("CartPole-v1", "ppo", {"seeds": 1e8}, "seeds must be at most 1,000,000, got 100,000,000"),
        ("CartPole-v1", "ppo", {"seed": 2**32}, "seed must be at most 2,147,483,647, got 4,294,967,296"),
        ("CartPole-v1", "ppo", {"seed": -1}, "seed must be at least 0, got -1"),
        ("CartPole-v1", "ppo", {"seed": 1.5}, r"seed must be a whole number, got 1\.5"),
        ("CartPole-v1", "ppo", {"seed": None}, "seed must be a number, got None"),
        ("CartPole-v1", "ppo", {"n_envs": 1e10}, "n_envs must be at most 1,000,000"),
        ("CartPole-v1", "ppo", {"log_interval": 0}, "log_interval must be at least 1, got 0"),
        ("CartPole-v1", "ppo", {"checkpoint_every": -1}, "checkpoint_every must be at least 0 seconds, got -1"),
        ("CartPole-v1", "ppo", {"eval_every": -1}, "eval_every must be at least 0, got -1"),
        ("CartPole-v1", "ppo", {"gamma": 2}, "PPO: gamma must be from 0 to 1, got 2"),
        ("CartPole-v1", "ppo", {"steps": MOST_STEPS + 1}, "steps must be at most 999,999,999,999, got 1,000,000,000,0"),
        (
            "CartPole-v1",
            "ppo",
            {"n_steps": 1e12, "batch_size": 8},
            "n_steps must be at most 2,147,483,647 in size, got 1,000,000,000,000",
        ),
        (
            "CartPole-v1",
            "dqn",
            {"buffer_size": 1e11},
            "buffer_size must be at most 2,147,483,647 in size, got 100,000,000,000",
        ),
        (
            "CartPole-v1",
            "dqn",
            {"n_steps": 1, "buffer_size": 60, "train_freq": 4},
            "batch_size must be at most buffer_size, got 64",
        ),
        ("CartPole-v1", "dqn", {"n_steps": 3, "n_envs": 2, "buffer_size": 5, "train_freq": 4}, "holds 4 in whole"),
        ("CartPole-v1", "q-learning", {}, "Q-learning needs a Discrete observation space"),
        ("Pendulum-v1", "dqn", {}, "DQN needs a Discrete action space"),
        ("CartPole-v1", "ppo", {"backend": "torch"}, "backend must be one of jax, gymnasium, pettingzoo"),
        ("Blackjack-v1", "ppo", {}, "observation space Tuple.* is not supported"),
    ],
)
def test_wrong_choices_are_named_in_one_line(
    environment: str, algorithm: str | None, settings: dict[str, object], says: str, tmp_path: Path
) -> None:
    """Before any compilation, and without leaving a run behind."""
    with pytest.raises(tegu.TeguError, match=says) as caught:
        tegu.train(environment, algorithm, folder=tmp_path, **settings)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here."""
    real = importlib.import_module

    def without_atari(name: str, *rest: object) -> object:
        if name == "ale_py":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without_atari)
    registered = {name: spec for name, spec in gymnasium.registry.items() if not name.startswith("ALE/")}
    monkeypatch.setattr(gymnasium, "registry", registered)
    with pytest.raises(tegu.TeguError, match=r"ALE/Pong-v5 needs tegu\[atari\]") as caught:
        find("ALE/Pong-v5")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["FetchReach-v4", "gymnasium_robotics:FetchReach-v4"])
def test_the_extra_of_the_robots_is_named_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    monkeypatch.setattr(gymnasium, "registry", {})
    with pytest.raises(tegu.TeguError, match=r"FetchReach-v4 needs tegu\[robotics\]: pip install 'tegu\[robotics\]'$"):
        find(name)


@pytest.mark.parametrize(
    ("environment", "given", "n_steps", "batch_size"),
    [
        (gymnasium.make("CartPole-v1"), {}, 256, 256),  # one object is one environment
        ("CartPole-v1", {"n_envs": 2}, 128, 256),
        ("CartPole-v1", {"n_envs": 3}, 85, 255),
        ("CartPole-v1", {"n_envs": 300}, 1, 300),
        ("CartPole-v1", {"n_steps": 33}, 33, 132),
        ("CartPole-v1", {"batch_size": 100}, 25, 100),
    ],
)
def test_a_preset_is_adapted_to_what_was_set(
    environment: object, given: dict[str, int], n_steps: int, batch_size: int
) -> None:
    """And it is said: the error would be about numbers that nobody gave."""
    with pytest.warns(UserWarning, match=r"^PPO: .* in place of .*, to fit n_envs \d+$"):
        plan = make_plan(environment, "ppo", **given)
    assert (plan.algorithm.n_steps, plan.algorithm.batch_size) == (n_steps, batch_size)
    assert n_steps * plan.n_envs % batch_size == 0


def own_network(key: jax.Array, observation: spaces.Space, action: spaces.Space) -> eqx.Module:
    raise AssertionError("planning makes no network")


class Images(gymnasium.Env):
    observation_space = spaces.Dict({"camera": spaces.Box(0, 255, (36, 36, 3), np.uint8), "speed": spaces.Box(0, 1)})
    action_space = spaces.Discrete(2)


@pytest.mark.parametrize(
    ("environment", "given", "says"),
    [
        ("Acrobot-v1", {"network": own_network}, "your own network sees raw observations"),
        (Images, {}, "there are images in the observation"),
        ("Acrobot-v1", {"features_extractor": "attention"}, "attention knows absent entities by their zeros"),
    ],
)
def test_a_preset_standardises_no_observations_that_cannot_be(
    environment: Any, given: dict[str, Any], says: str
) -> None:
    with pytest.warns(UserWarning, match=f"^normalize_observation is off: {says}$"):
        plan = make_plan(environment, "ppo", **given)
    assert not plan.algorithm.normalize_observation
    assert plan.algorithm.normalize_reward
    asked = make_plan(environment, "ppo", **given, normalize_observation=True)
    assert asked.algorithm.normalize_observation


@pytest.mark.parametrize(
    ("environment", "algorithm", "says"),
    [
        ("CartPole-v1", "ppo", "[ppo] of tegu/presets/CartPole-v1.toml"),
        ("CliffWalking-v1", "ppo", "none for CliffWalking-v1, so [ppo] of tegu/presets/general.toml"),
        ("CartPole-v1", tegu.PPO(), "none, the algorithm came with its hyper-parameters"),
    ],
)
def test_a_plan_says_where_its_preset_is_from(environment: str, algorithm: object, says: str) -> None:
    assert make_plan(environment, algorithm).config["preset"] == says


def test_a_table_may_build_on_one_of_another_file() -> None:
    swimmer, others = (presets.load(name)["ppo"] for name in ("Swimmer-v5", "Hopper-v5"))
    assert swimmer == others | {"gamma": 0.9999}


def test_a_table_may_build_on_one_that_builds_on_another() -> None:
    rainbow, c51, dqn = (presets.load("CartPole-v1")[name] for name in ("rainbow", "c51", "dqn"))
    assert rainbow == c51 | {"n_steps": 3}
    assert c51 == dqn | {"net_arch": [64, 64], "v_min": 0.0, "v_max": 100.0}


@pytest.mark.parametrize("steps", [3_000_000_000, MOST_STEPS])
def test_long_trainings_can_be_planned(steps: int) -> None:
    assert make_plan("CartPole-v1", "ppo", steps=steps).steps == steps


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_valid(name: str) -> None:
    """Every preset names an algorithm and hyper-parameters that exist and fit its environment."""
    if name == "FetchReach-v4":
        pytest.importorskip("gymnasium_robotics")
    if name.endswith("-v5"):
        pytest.importorskip("mujoco")
    if name == "dm_control":
        pytest.importorskip("dm_control")
    representative = {"ALE": "Pong-v5", "MinAtar": "Breakout-v0", "dm_control": "cheetah-run-v0"}
    name = f"{name}/{representative[name]}" if name in representative else name
    table = presets.load(name)
    assert table["default"] in table
    for each in table.keys() - {"default"}:
        plan = make_plan(name, each)
        source = plan.source
        environment = source.environments([[0]]) if source.native is None else source.native
        validate(plan.algorithm, spec_of(name, environment, plan.n_envs))


@pytest.mark.parametrize("name", ["FetchReach-v4", "gymnasium_robotics:FetchReach-v4"])
def test_a_package_before_the_name_changes_no_preset(name: str) -> None:
    assert presets.preset(name, None)["algorithm"] == "sac"
    assert presets.preset(name, None)["n_sampled_goal"] == 4
    assert presets.preset(name, "ddpg")["origin"] == "[ddpg] of tegu/presets/FetchReach-v4.toml"
    assert presets.load("my_package:lizard") == {}  # somebody's own class


@pytest.mark.parametrize(
    ("environment", "algorithm", "why"),
    [
        ("FrozenLake8x8-v1", "q-learning", "a table holds the states and actions"),
        ("Blackjack-v1", "ppo", "it takes all observations and actions"),
    ],
)
def test_without_a_preset_the_spaces_choose(environment: str, algorithm: str, why: str) -> None:
    plan = make_plan(environment)
    assert plan.algorithm.name == algorithm
    assert plan.config["preset"] == f"none for {environment}, so [{algorithm}] of tegu/presets/general.toml: {why}"


class Place(gymnasium.Env):
    """Goals are observed; what they pay is computed by what ``pays`` is."""

    _place = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    observation_space = gymnasium.spaces.Dict(observation=_place, achieved_goal=_place, desired_goal=_place)

    def __init__(self, action_space: gymnasium.Space, pays: Any = None):
        self.action_space = action_space
        if pays is not None:
            self.compute_reward = pays

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None):
        super().reset(seed=seed)
        return {name: np.zeros(2, np.float32) for name in self.observation_space}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, True, {}


def near(achieved: np.ndarray, desired: np.ndarray, info: object) -> Any:
    return -(np.abs(achieved - desired).max(axis=-1) > 0.1).astype(np.float32)


def not_by_jax(achieved: np.ndarray, desired: np.ndarray, info: object) -> float:
    return 0.0 if float(achieved[0]) > 0 else -1.0


@pytest.mark.parametrize(
    ("actions", "pays", "algorithm", "n_sampled_goal"),
    [
        (gymnasium.spaces.Discrete(3), near, "dqn", 4),
        (gymnasium.spaces.Box(-1, 1, (2,)), near, "sac", 4),
        (gymnasium.spaces.MultiDiscrete([2, 3]), near, "ppo", None),
        (gymnasium.spaces.Discrete(3), not_by_jax, "ppo", None),
        (gymnasium.spaces.Discrete(3), None, "ppo", None),
    ],
)
def test_hindsight_is_chosen_where_goals_say_what_they_pay(
    actions: gymnasium.Space, pays: Any, algorithm: str, n_sampled_goal: int | None
) -> None:
    plan = make_plan(lambda: Place(actions, pays))
    assert plan.algorithm.name == algorithm
    assert getattr(plan.algorithm, "n_sampled_goal", None) == n_sampled_goal
    assert ("goals.toml: goals are observed" in plan.config["preset"]) == (n_sampled_goal is not None)
    assert getattr(make_plan(lambda: Place(actions, pays), "ppo").algorithm, "n_sampled_goal", None) is None


class Switch(gymnasium.Env):
    """Four lamps and a dial: act as the observation says. One step an episode."""

    observation_space = gymnasium.spaces.Dict(
        lamps=gymnasium.spaces.MultiBinary(4), dial=gymnasium.spaces.Box(-1, 1, (1,)), mode=gymnasium.spaces.Discrete(3)
    )

    def __init__(self, action_space: gymnasium.Space = gymnasium.spaces.Discrete(4)):  # noqa: B008
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None):
        super().reset(seed=seed)
        lit = int(self.np_random.integers(4))
        self.lamps = np.eye(4, dtype=np.int8)[lit]
        return {"lamps": self.lamps, "dial": np.zeros(1, np.float32), "mode": 1}, {}

    def step(self, action):
        right = float(self.lamps[action]) if isinstance(action, int) else 0.0
        return {"lamps": self.lamps, "dial": np.zeros(1, np.float32), "mode": 2}, right, True, False, {}


@pytest.mark.slow
def test_an_own_environment_with_dict_observations_is_learned() -> None:
    agent = tegu.train(Switch, "ppo", steps=4_000, n_envs=4, n_steps=32, batch_size=32, learning_rate=1e-3, folder=None)
    assert agent.evaluate(50).mean == 1.0


@pytest.mark.parametrize(
    "space",
    [gymnasium.spaces.MultiDiscrete([3, 2]), gymnasium.spaces.MultiBinary(3), gymnasium.spaces.Box(-1, 2, (2,))],
)
def test_ppo_acts_in_every_kind_of_space(space: gymnasium.Space) -> None:
    """Actions reach the environment as members of its space, in training, evaluation and prediction."""
    seen = []

    class Strict(Switch):
        def step(self, action):
            seen.append(action)
            return super().step(action)

    agent = tegu.train(lambda: Strict(space), "ppo", steps=64, n_envs=2, n_steps=16, batch_size=32, folder=None)
    agent.evaluate(4, deterministic=False)
    assert len(seen) > 64
    assert all(space.contains(np.asarray(action, space.dtype)) for action in seen)


def test_one_instance_is_one_environment() -> None:
    with pytest.raises(tegu.TeguError, match="need several environments: pass a function"):
        tegu.train(Switch(), "ppo", n_envs=4, folder=None)
    assert tegu.train(Switch(), "ppo", steps=32, n_steps=32, batch_size=32, folder=None).steps == 32
