"""Stable-Baselines3's ``HerReplayBuffer``, and what DQN learns with it."""

import enum
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tegu.algorithms.hyper_parameters import hyper_parameters
from tegu.core.errors import TeguError
from tegu.environments.goals.bit_flip import BitFlip
from tegu.sb3 import DQN, PPO, EvalCallback, GoalSelectionStrategy, HerReplayBuffer

N = 6
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "buffer_size": 10_000,
    "learning_starts": 200,
    "batch_size": 64,
    "train_freq": 16,
    "gradient_steps": 8,
    "target_update_interval": 100,
    "exploration_fraction": 0.3,
    "replay_buffer_class": HerReplayBuffer,
    "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"},
    "policy_kwargs": {"net_arch": [64]},
    "seed": 0,
}


@pytest.fixture(scope="module")
def flipper() -> DQN:
    return DQN("MultiInputPolicy", BitFlip(n_bits=N), **SETTINGS).learn(4_000)


def success(model: DQN) -> float:
    """The fraction of 200 deterministic episodes that reach their goal, by rules written here."""
    bits, desired = np.random.default_rng(0).integers(2, size=(2, 200, N), dtype=np.int8)
    reached = (bits == desired).all(axis=1)
    for _ in range(N):
        seen = {"observation": bits, "achieved_goal": bits, "desired_goal": desired}
        action, _ = model.predict(seen, deterministic=True)
        bits = bits ^ (np.eye(N, dtype=np.int8)[action] * ~reached[:, None])
        reached |= (bits == desired).all(axis=1)
    return float(reached.mean())


@pytest.mark.slow
def test_bits_are_flipped_by_a_script_of_stable_baselines3(flipper: DQN) -> None:
    """Six bits of which at random hardly one goal in ten is reached."""
    assert flipper.algorithm.n_sampled_goal == flipper.n_sampled_goal == 4
    assert success(flipper) >= 0.9


@pytest.mark.slow
def test_a_saved_model_keeps_it(flipper: DQN, tmp_path: Path) -> None:
    flipper.save(tmp_path / "flipper")
    loaded = DQN.load(tmp_path / "flipper", env=BitFlip(n_bits=N))
    assert hyper_parameters(loaded.algorithm) == hyper_parameters(flipper.algorithm)
    assert success(loaded) == success(flipper)
    changed = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 2}}
    assert DQN.load(tmp_path / "flipper", **changed).algorithm.n_sampled_goal == 2


class Lamp(gymnasium.Env):
    """Two lamps, to be lit as desired, through Gymnasium."""

    observation_space = spaces.Dict(
        {name: spaces.MultiBinary(2) for name in ("observation", "achieved_goal", "desired_goal")}
    )
    action_space = spaces.Discrete(2)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return (achieved_goal == desired_goal).all(axis=-1) * np.float32(1) - 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.lit, self.desired = self.np_random.integers(2, size=(2, 2), dtype=np.int8)
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.lit = self.lit ^ np.eye(2, dtype=np.int8)[action]
        reward = float(self.compute_reward(self.lit, self.desired, {}))
        return self.seen(), reward, False, False, {"is_success": reward == 0}

    def seen(self) -> dict[str, Any]:
        return {"observation": self.lit, "achieved_goal": self.lit, "desired_goal": self.desired}


class Strategy(enum.Enum):
    """Like SB3's ``GoalSelectionStrategy``."""

    FINAL = 1
    FUTURE = 0


def lamp(**kwargs: Any) -> DQN:
    small = SETTINGS | {"policy_kwargs": {"net_arch": [4]}, "learning_starts": 32, "gradient_steps": 1}
    environment = gymnasium.wrappers.TimeLimit(Lamp(), 4)
    return DQN("MultiInputPolicy", environment, **small | kwargs)


@pytest.mark.slow
def test_environments_of_gymnasium_are_learned_in_hindsight_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And evaluated: SB3's callback writes down the successes."""
    model = lamp(replay_buffer_kwargs={"goal_selection_strategy": Strategy.FUTURE, "copy_info_dict": False})
    assert model.algorithm.n_sampled_goal == 4  # SB3's default
    evaluation = EvalCallback(
        gymnasium.wrappers.TimeLimit(Lamp(), 4), n_eval_episodes=7, eval_freq=32, log_path=str(tmp_path)
    )
    logged: dict[str, float] = {}
    model.logger.record = lambda key, value, **_: logged.update({key: value})
    assert model.learn(64, callback=evaluation).num_timesteps == 64
    with np.load(tmp_path / "evaluations.npz") as file:
        paid, reached = file["results"], file["successes"]
    assert reached.shape == paid.shape == (2, 7)
    assert reached[paid == 0].all()  # of those whose four steps were all at the goal
    assert not reached[paid == -4].any()
    assert logged["eval/success_rate"] == reached[-1].mean()
    assert f"Success rate: {reached[-1].mean():.2%}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_buffer_that_was_deleted_is_empty_until_another_is_loaded(tmp_path: Path) -> None:
    """Where an episode was running when it was saved, a warning says that it ends there."""
    model = lamp(replay_buffer_kwargs=None).learn(80)  # episodes have 4 steps, rounds 16
    rows = model.replay_buffer.rewards[:80]
    model.save_replay_buffer(tmp_path / "whole")
    del model.replay_buffer
    with pytest.raises(AttributeError, match=r"DQN of tegu\.sb3 has no replay_buffer"):
        model.replay_buffer  # noqa: B018
    model.learn(16, reset_num_timesteps=False)
    assert model.replay_buffer.pos == 16
    model.load_replay_buffer(tmp_path / "whole")
    np.testing.assert_array_equal(model.replay_buffer.rewards[:80], rows)

    running = lamp(replay_buffer_kwargs=None, train_freq=10, learning_starts=5).learn(30)
    running.save_replay_buffer(tmp_path / "running")
    running.load_replay_buffer(tmp_path / "running", truncate_last_traj=False)
    with pytest.warns(UserWarning, match="The last trajectory in the replay buffer will be truncated"):
        running.load_replay_buffer(tmp_path / "running")
    assert np.flatnonzero(running.replay_buffer.dones).tolist() == [3, 7, 11, 15, 19, 23, 27, 29]


def test_without_it_goals_stay_as_they_are() -> None:
    assert lamp(replay_buffer_class=None, replay_buffer_kwargs=None).algorithm.n_sampled_goal == 0
    assert lamp(replay_buffer_kwargs=None).algorithm.n_sampled_goal == 4


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        (
            {"goal_selection_strategy": "random"},
            "goal_selection_strategy must be one of future, final, ep.*, got 'random'",
        ),
        ({"handle_timeout_termination": False}, "handle_timeout_termination must be True"),
        ({"online_sampling": True}, "has no online_sampling: expected n_sampled_goal, goal_selection_strategy, copy"),
        ({"n_sampled_goal": -1}, "n_sampled_goal must be at least 0, got -1"),
        ({"n_sampled_goal": "four"}, "n_sampled_goal must be .*four"),
    ],
)
def test_what_hindsight_cannot_do_is_one_line(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(TeguError, match=says) as error:
        lamp(replay_buffer_kwargs=kwargs)
    assert "\n" not in str(error.value)


def test_strategies_are_named_or_enumerated() -> None:
    for strategy in ("final", Strategy.FINAL, GoalSelectionStrategy.FINAL):
        model = lamp(replay_buffer_kwargs={"goal_selection_strategy": strategy})
        assert model.algorithm.experience.draw.strategy == "final"


def test_infos_may_be_copied_only_where_nobody_looks_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """For then it makes no difference."""
    asked = {"copy_info_dict": True, "n_sampled_goal": 2}
    assert lamp(replay_buffer_kwargs=asked).algorithm.n_sampled_goal == 2

    def curious(self: Any, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return (achieved_goal == desired_goal).all(axis=-1) * np.float32(1) - 1 - info.get("cost", 0)

    monkeypatch.setattr(Lamp, "compute_reward", curious)
    with pytest.raises(TeguError, match="copy_info_dict=True is supported only where compute_reward does not look at"):
        lamp(replay_buffer_kwargs=asked)
    assert lamp(replay_buffer_kwargs={"n_sampled_goal": 2}).algorithm.n_sampled_goal == 2


def test_other_buffers_and_other_environments_are_refused() -> None:
    with pytest.raises(
        TeguError, match=r"replay_buffer_class must be HerReplayBuffer of tegu\.sb3, got dict of builtins"
    ):
        lamp(replay_buffer_class=dict)
    with pytest.raises(TeguError, match="are those of a replay_buffer_class"):
        lamp(replay_buffer_class=None)
    with pytest.raises(TeguError, match=r"hindsight \(n_sampled_goal\) needs an environment that has compute_reward"):
        DQN("MlpPolicy", "CartPole-v1", replay_buffer_class=HerReplayBuffer)
    with pytest.raises(TypeError, match="replay_buffer_class"):
        PPO("MlpPolicy", "CartPole-v1", replay_buffer_class=HerReplayBuffer)
