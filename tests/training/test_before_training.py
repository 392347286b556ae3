"""What would go wrong in a training is said in one line before it begins: forms, masks, memory, numbers, names."""

from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pettingzoo
import pytest
from duet import ACTIONS, OBSERVATIONS, Duet
from gymnasium import spaces

import tegu
from tegu.core import code
from tegu.core.memory import free_memory
from tegu.core.spec import EnvironmentSpec
from tegu.environments.adapters.pettingzoo import ParallelEnvironment
from tegu.environments.base import Environment, Timestep
from tegu.sb3 import DQN, PPO, EvalCallback
from tegu.training import memory
from tegu.training.fitting import adapted_rollout, validate, warn_of_no_learning
from tegu.training.plan import make_plan

TINY = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "net_arch": (4,)}
GIB = 2**30


class Drift(Environment):
    """One number that stays."""

    @property
    def observation_space(self) -> spaces.Space:
        return spaces.Box(-100, 100, (1,))

    @property
    def action_space(self) -> spaces.Space:
        return spaces.Discrete(2)

    def reset(self, key: jax.Array) -> Any:
        return jnp.zeros(1), jnp.zeros(1)

    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        return Timestep(state, state, jnp.float32(1), state[0] > 10)


class WrongForms(Drift):
    def reset(self, key: jax.Array) -> Any:
        return jnp.zeros(1), jnp.zeros(2)

    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        return Timestep(state, state, state, state > 10)


class UsesNumPy(Drift):
    def reset(self, key: jax.Array) -> Any:
        return np.sin(jax.random.uniform(key, (1,))), jnp.zeros(1)


class ThreeValues(Drift):
    def reset(self, key: jax.Array) -> Any:
        return jnp.zeros(1), jnp.zeros(1), {}


class NoReward(Drift):
    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        return Timestep(state, state, None, state[0] > 10)


class TwoRewards(Drift):
    def step(self, state: Any, action: Any, key: jax.Array) -> Any:
        return Timestep(state, state, (jnp.float32(1), jnp.float32(2)), state[0] > 10)


class NoSpaces(Environment):
    pass


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (
            WrongForms,
            r"reset\(\) -> observation: wrong shape: expected float32\[1\], got float32\[2\] .*; 2 more, tegu",
        ),
        (UsesNumPy, r"reset\(\): raised TracerArrayConversionError.* at test_before_training.py:\d+.*use jax\.numpy"),
        (ThreeValues, r"reset\(\): does not return two values: expected \(state, observation\), got \(float32\[1\]"),
        (NoReward, r"step\(\) -> reward: is not the scalar it should be: expected float32\[\], got None"),
        (TwoRewards, r"step\(\) -> reward: is not the scalar it should be: expected float32\[\], got \(float32"),
        (NoSpaces, r"observation_space: is missing.*; 1 more"),
    ],
)
def test_what_check_finds_by_tracing_is_said_when_training_begins(kind: type, says: str) -> None:
    environment = kind(id="mine")
    for start in (
        lambda: tegu.train(environment, folder=None),
        lambda: tegu.train(environment, tegu.PPO(**TINY), steps=16, folder=None),
        lambda: PPO("MlpPolicy", environment),
    ):
        with pytest.raises(tegu.TeguError, match=f"^the environment mine is not sound: {says}") as error:
            start()
        assert "\n" not in str(error.value)


def spec(observation: spaces.Space) -> EnvironmentSpec:
    return EnvironmentSpec("mine", observation, spaces.Discrete(2))


def test_a_mask_where_none_is_read_is_refused() -> None:
    mask = spaces.MultiBinary(2)
    own = spaces.Dict(x=spaces.Box(-1, 1, (2,)), action_mask=mask)
    validate(tegu.PPO(**TINY), spec(own))
    with pytest.raises(
        tegu.TeguError, match=r"is read at the top of .* only, the environment has one in observation\['"
    ):
        validate(tegu.PPO(**TINY), spec(spaces.Dict(inner=own)))
    shared = {**OBSERVATIONS.spaces, "state": own}
    joint = EnvironmentSpec("duet", spaces.Dict(shared), ACTIONS, 1, Duet().agents)
    with pytest.raises(tegu.TeguError, match=r"has one in the observation of all agents\['state'\]"):
        validate(tegu.MAPPO(**TINY), joint)


class Stuck(pettingzoo.ParallelEnv):
    """Two agents, one of whom leaves after the first step; the other has no legal action at step ``stuck``."""

    metadata: dict[str, Any] = {"name": "stuck"}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012

    def __init__(self, stuck: int):
        self.stuck = stuck

    def observation_space(self, agent: str) -> spaces.Space:
        return spaces.Dict(x=spaces.Box(0, 1, (1,)), action_mask=spaces.MultiBinary(2))

    def action_space(self, agent: str) -> spaces.Space:
        return spaces.Discrete(2)

    def seen(self) -> dict[str, Any]:
        legal = {"a": self.t != self.stuck, "b": self.t == 0}  # whoever has left can do nothing more
        return {
            agent: {"x": np.zeros(1, np.float32), "action_mask": np.int8([legal[agent], 0])}
            for agent in self.possible_agents
        }

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        self.agents, self.t = ["a", "b"], 0
        return self.seen(), {}

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        here, self.t = self.agents, self.t + 1
        over = {agent: agent == "b" or self.t == 3 for agent in here}
        self.agents = [agent for agent in here if not over[agent]]
        return self.seen(), dict.fromkeys(here, 0.0), over, dict.fromkeys(here, False), {}


@pytest.mark.parametrize("stuck", [0, 2, 3])
def test_the_mask_of_one_agent_is_honoured(stuck: int) -> None:
    """With nothing legal while it goes on is an error; when it has ended, or has left, nobody minds."""

    def play() -> None:
        environment = ParallelEnvironment(Stuck(stuck))
        environment.reset()
        for _ in range(3):
            environment.step({"a": 0, "b": 0})

    if stuck == 3:
        play()
        return
    with pytest.raises(tegu.TeguError, match=r"^the action_mask of 'a' allows no action while its part of the episode"):
        play()


class Short(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)
    t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.t += 1
        return np.zeros(3, np.float32), 1.0, self.t >= 5, False, {}


def test_evaluations_need_an_environment_of_their_own(tmp_path: Path) -> None:
    one = Short()
    with pytest.raises(tegu.TeguError, match="for the evaluations the Short that is trained in: expected a new one"):
        tegu.train(lambda: one, tegu.PPO(**TINY), steps=32, n_envs=1, eval_every=16, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    tegu.train(Short, tegu.PPO(**TINY), steps=16, n_envs=1, eval_every=16, eval_episodes=1, folder=None)


def test_a_callback_that_evaluates_in_what_is_trained_in_says_so() -> None:
    env = Short()
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, policy_kwargs={"net_arch": [4]})
    with pytest.warns(UserWarning, match="EvalCallback plays in an environment that the model trains in"):
        model.learn(16, callback=EvalCallback(env, eval_freq=16, n_eval_episodes=1, verbose=0))
    model.learn(16, callback=EvalCallback(Short(), eval_freq=16, n_eval_episodes=1, verbose=0))


def learn_from_replay(kind: str, buffer_size: int, seeds: int) -> None:
    settings = {
        "buffer_size": buffer_size,
        "learning_starts": 4,
        "net_arch": (4,),
        "train_freq": 4,
        "gradient_steps": 1,
    }
    if kind == "sb3":
        DQN("MlpPolicy", "CartPole-v1", buffer_size=buffer_size, learning_starts=4).learn(16)
        return
    options = {"backend": kind, "n_envs": 1, "steps": 16, "folder": None, "batch_size": 4}
    if kind == "sweep":
        del options["backend"], options["folder"]
        values = {"gamma": [0.9, 0.99][:seeds]}
        tegu.sweep("CartPole-v1", "dqn", values=values, folder=Path("sweeps"), **settings, **options)
        return
    tegu.train("CartPole-v1", "dqn", seeds=seeds, **settings, **options)


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ("jax", 1),
        pytest.param("jax", 2, marks=pytest.mark.long),
        ("gymnasium", 2),
        pytest.param("sweep", 2, marks=pytest.mark.long),
        pytest.param("sb3", 1, marks=pytest.mark.long),
    ],
)
def test_a_replay_buffer_is_weighed_before_it_is_made(
    kind: str, seeds: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A row of CartPole's: 2 observations of 16 bytes, action and reward of 4, two flags of 1."""
    monkeypatch.chdir(tmp_path)
    rows = 100_000
    needed = rows * 42 * seeds
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(tegu.TeguError, match=r"^DQN: a replay buffer of buffer_size 100,000.* takes .* GiB .* lower"):
        learn_from_replay(kind, rows, seeds)
    monkeypatch.setattr(memory, "free_memory", lambda: int(needed / 0.69))
    learn_from_replay(kind, rows, seeds)  # a warning would be an error
    monkeypatch.setattr(memory, "free_memory", lambda: int(needed / 0.71))
    with pytest.warns(UserWarning, match="buffer_size 100,000.* lower buffer_size if"):
        learn_from_replay(kind, rows, seeds)


def test_a_forecast_names_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 3 * GIB)
    with pytest.raises(tegu.TeguError, match=r"buffer_size 1,000,000,000 takes 39\.1 GiB of memory, 3\.0 GiB are free"):
        tegu.train("CartPole-v1", tegu.DQN(buffer_size=10**9), steps=10_000, folder=None)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  8 kB\n"}, 8192),
        ({"proc/meminfo": "MemAvailable: 8 kB", "sys/fs/cgroup/memory.max": "max"}, 8192),
        (
            {
                "proc/meminfo": "MemAvailable: 8 kB",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "500\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/memory.current": "1000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 300\ninactive_file 700\n",
            },
            4700,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/y\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000",
            },
            7000,
        ),
        ({"sys/fs/cgroup/memory.max": "10", "sys/fs/cgroup/memory.current": "20"}, 0),
    ],
)
def test_what_is_free_is_what_machine_and_container_leave(files: dict[str, str], free: Any, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == free


@pytest.mark.parametrize(("starts", "steps", "learns"), [(100, 100, False), (100, 104, True), (0, 4, False)])
def test_a_training_that_ends_before_it_learns_says_so(
    starts: int, steps: int, learns: bool, recwarn: pytest.WarningsRecorder
) -> None:
    """An iteration of 4 steps learns from what was stored before it."""
    warn_of_no_learning(tegu.DQN(learning_starts=starts, train_freq=4), 1, steps)
    said = [str(warning.message) for warning in recwarn]
    begins = max(starts, 4)
    expected = f"begins after {begins} steps (learning_starts {starts}), the training has {steps}"
    assert said == [] if learns else expected in said[0]
    warn_of_no_learning(tegu.PPO(), 1, 1)
    assert len(recwarn) == (not learns)


def test_it_is_said_when_training_begins() -> None:
    given = {"learning_starts": 50, "buffer_size": 100, "net_arch": (4,), "batch_size": 4}
    with pytest.warns(UserWarning, match="DQN: nothing will be learned"):
        tegu.train("CartPole-v1", tegu.DQN(**given), steps=48, n_envs=1, folder=None)
    with pytest.warns(UserWarning, match="DQN: nothing will be learned"):
        DQN("MlpPolicy", "CartPole-v1", buffer_size=200).learn(100)


def test_agents_who_share_a_policy_fill_its_batches() -> None:
    """4 steps of 2 environments are 8 samples of one agent, 24 of three: enough for batches of 12."""
    shared = tegu.IPPO(n_steps=4, batch_size=12, share_parameters=True)
    assert adapted_rollout(shared, 2, 2, [], samples=3) is shared
    world = tegu.make("simple_spread_v3")
    assert (
        shared.samples_per_step(EnvironmentSpec("", world.observation_space, world.action_space, 2, world.agents)) == 3
    )
    plan = make_plan("simple_spread_v3", "ippo", n_envs=2, n_steps=4, batch_size=12, share_parameters=True)
    assert (plan.algorithm.ppo.n_steps, plan.algorithm.ppo.batch_size) == (4, 12)


@pytest.mark.parametrize(("share", "samples"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("backend", ["jax", "pettingzoo"])
def test_a_preset_of_several_agents_fits_what_is_given(share: bool, samples: int, backend: str) -> None:
    """The preset has 12 x share of 800 samples in each rollout of 64 environments."""
    with pytest.warns(UserWarning, match=r"IPPO: .*, to fit n_envs 6$"):
        plan = make_plan("simple_spread_v3", "ippo", n_envs=6, share_parameters=share, backend=backend)
    ppo = plan.algorithm.ppo
    assert ppo.n_steps * 6 * samples % ppo.batch_size == 0
    assert ppo.n_steps * 6 == pytest.approx(64 * 50, rel=0.1)
    assert ppo.n_steps * 6 * samples // ppo.batch_size == samples * 4


ENVIRONMENT = """
import gymnasium
from test_before_training import Short


class Checked(Short):
    def __init__(self, gain=0):
        if gain < 1:
            raise ValueError("bad gain")


class Broken(Short):
    def __init__(self):
        raise TypeError("odd")


def network(key, spec):
    raise ValueError("no idea")


gymnasium.register("NAME-v0", Checked)
"""


@pytest.mark.parametrize("inside", [True, False], ids=["in the working directory", "elsewhere"])
def test_errors_of_a_persons_own_code_say_where(inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(ENVIRONMENT.replace("NAME", name))
    (tmp_path / f"late_{name}.py").write_text("\nimport no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", "/nowhere")
    if inside:
        monkeypatch.chdir(tmp_path)

    def at(line: int, file: str = name) -> str:
        return f"({file if inside else tmp_path / file}.py, line {line})"

    for environment, settings, says in (
        (f"{name}:Checked", {}, f"cannot make {name}:Checked: ValueError: bad gain {at(9)}"),
        (f"{name}:Broken", {}, f"cannot make {name}:Broken: TypeError: odd {at(14)}"),
        (f"late_{name}:Any", {}, f"No module named 'no_such_module' {at(2, 'late_' + name)}"),
        (f"{name}:{name}-v0", {}, f"ValueError: bad gain {at(9)}"),
        ("CartPole-v1", {"network": f"{name}:network"}, f"network cannot be made: ValueError: no idea {at(18)}"),
    ):
        with pytest.raises(tegu.TeguError) as error:
            tegu.train(environment, "ppo", steps=16, folder=None, **settings)
        assert str(error.value).endswith(says)
    with pytest.raises(tegu.TeguError, match=r": No module named 'no_such'$"):
        code.imported("no_such:thing", "the algorithm")


def test_code_that_cannot_be_named_again_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(tegu.PPO):
        pass

    class Own(Short):
        pass

    learning = Mine(**TINY)
    with pytest.warns(UserWarning, match="is defined inside a function") as warned:
        tegu.train(Own, learning, steps=16, n_envs=1, folder=tmp_path)
    said = [str(each.message) for each in warned]
    assert [each.partition(":")[0] for each in said] == [
        "the algorithm Mine is defined inside a function",
        "the environment Own is defined inside a function",
    ]
    assert said[0].endswith("put it in a module, and it can be named (--algorithm MODULE:Mine)")
    assert "(--env MODULE:Own)" in said[1]

    agent = tegu.train("CartPole-v1", learning, steps=16, n_envs=1, folder=None)  # nothing is saved, so nothing is said
    with pytest.warns(UserWarning, match="the algorithm Mine is defined inside a function"):
        agent.save(tmp_path / "agent")
    assert type(tegu.load(tmp_path / "agent", algorithm=Mine).algorithm) is Mine  # as the line says


@pytest.mark.parametrize(("script", "where"), [(False, "at a prompt"), (True, "")])
def test_a_prompt_has_no_name_and_a_script_has(script: bool, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script's ``__main__:Mine`` is taken back as ``script:Mine``, see ``own._allowed``."""
    kind = type("Mine", (), {"__module__": "__main__"})
    main = type(code)("__main__")
    if script:
        main.__file__ = "script.py"
    monkeypatch.setitem(code.sys.modules, "__main__", main)
    assert code.nameless(kind) == where
    assert code.nameless(Short) == ""
    assert code.nameless(lambda: None) == "as a lambda"
