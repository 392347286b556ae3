"""Callbacks of Stable-Baselines3's face: when they fire, what they see, how they stop."""

import gymnasium
import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.sb3 import (
    DQN,
    PPO,
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnRewardThreshold,
)

SMALL_PPO = {"n_steps": 100, "batch_size": 50, "n_epochs": 2, "policy_kwargs": {"net_arch": [16]}, "seed": 1}


@pytest.fixture
def dqn():
    settings = {"buffer_size": 1000, "train_freq": 10, "policy_kwargs": {"net_arch": [16]}, "seed": 1}
    return DQN("MlpPolicy", "CartPole-v1", **settings)


class Recorder(BaseCallback):
    """Notes all that happens."""

    def __init__(self, stop_at=10**9):
        super().__init__()
        self.events, self.stop_at = [], stop_at

    def _init_callback(self):
        self.events.append("init")

    def _on_training_start(self):
        self.events.append("start")

    def _on_rollout_start(self):
        self.events.append("rollout")

    def _on_step(self):
        self.events.append(self.num_timesteps)
        return self.num_timesteps < self.stop_at

    def _on_rollout_end(self):
        self.events.append("end of rollout")

    def _on_training_end(self):
        self.events.append("end")


def test_are_called_in_order(dqn):
    recorder = Recorder()
    dqn.learn(20, callback=recorder)
    rollouts = [["rollout", steps, "end of rollout"] for steps in (10, 20)]
    assert recorder.events == ["init", "start", *rollouts[0], *rollouts[1], "rollout", "end"]
    assert recorder.n_calls == 2
    assert recorder.model is dqn
    assert recorder.logger is dqn.logger
    assert recorder.training_env is dqn.get_env()


def test_stop_the_training(dqn):
    dqn.learn(10_000, callback=Recorder(stop_at=1000))
    assert dqn.num_timesteps == 1000


def test_may_be_functions_and_lists(dqn):
    seen = []

    def look(variables, _):
        seen.append(variables["self"].num_timesteps)
        return len(seen) < 3

    recorder = Recorder()
    dqn.learn(1000, callback=[look, CallbackList([recorder])])
    assert seen == [10, 20, 30]
    assert recorder.n_calls == 3


def test_a_checkpoint_is_saved_when_its_step_is_crossed(dqn, tmp_path):
    dqn.learn(130, callback=CheckpointCallback(save_freq=45, save_path=str(tmp_path), name_prefix="m"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m_50_steps", "m_90_steps"]
    assert DQN.load(tmp_path / "m_50_steps").num_timesteps == 50
    with pytest.raises(TeguError, match="save_replay_buffer"):
        CheckpointCallback(save_freq=45, save_path=str(tmp_path), save_replay_buffer=True)


def test_frequencies_go_on_counting(dqn):
    counted = Recorder()
    every = EveryNTimesteps(300, counted)
    dqn.learn(500, callback=every).learn(500, callback=every, reset_num_timesteps=False)
    assert [event for event in counted.events if isinstance(event, int)] == [300, 600, 900]


def test_evaluation_logs_saves_and_announces(dqn, tmp_path, capsys):
    announced = Recorder()
    evaluation = EvalCallback(
        gymnasium.make("CartPole-v1"),
        callback_on_new_best=announced,
        n_eval_episodes=2,
        eval_freq=500,
        log_path=str(tmp_path / "log"),
        best_model_save_path=str(tmp_path / "best"),
    )
    dqn.learn(1000, callback=evaluation)
    written = np.load(tmp_path / "log" / "evaluations.npz", allow_pickle=False)
    assert written["timesteps"].tolist() == [500, 1000]
    assert written["results"].shape == written["ep_lengths"].shape == (2, 2)
    assert evaluation.best_mean_reward == written["results"].mean(axis=1).max()
    assert dqn.logger.name_to_value["eval/mean_reward"] == evaluation.last_mean_reward
    assert announced.events[2] == 500
    assert announced.parent is evaluation
    assert "New best mean reward!" in capsys.readouterr().out
    assert DQN.load(tmp_path / "best" / "best_model").num_timesteps in (500, 1000)


def test_training_stops_at_a_reward(dqn):
    reached = StopTrainingOnRewardThreshold(reward_threshold=1.0, verbose=1)
    evaluation = EvalCallback(
        gymnasium.make("CartPole-v1"), callback_on_new_best=reached, n_eval_episodes=1, eval_freq=200, verbose=0
    )
    dqn.learn(10_000, callback=evaluation)
    assert dqn.num_timesteps == 200
    with pytest.raises(TeguError, match="belongs in an EvalCallback"):
        dqn.learn(10, callback=StopTrainingOnRewardThreshold(1.0))


def test_callbacks_may_change_the_model(dqn):
    zeros = {"policy": {".target.mlp.biases[1]": np.zeros(2)}}

    class Meddler(BaseCallback):
        def _on_step(self):
            self.model.set_parameters(zeros, exact_match=False)
            return True

    dqn.learn(50, callback=Meddler())
    assert (dqn.get_parameters()["policy"][".target.mlp.biases[1]"] == 0).all()
    assert dqn.num_timesteps == 50


def test_evaluating_in_the_training_environment_begins_new_episodes():
    env = gymnasium.make("CartPole-v1")
    model = PPO("MlpPolicy", env, **SMALL_PPO)
    model.learn(200, callback=EvalCallback(model.get_env(), n_eval_episodes=1, eval_freq=100, verbose=0))
    assert model.num_timesteps == 200


def test_a_progress_bar_counts_the_steps(dqn, capsys):
    dqn.learn(200, progress_bar=True)
    assert "200/200" in capsys.readouterr().out


def test_tables_come_every_few_rollouts(capsys):
    model = PPO("MlpPolicy", "CartPole-v1", **SMALL_PPO, verbose=1)
    model.learn(400, log_interval=2)
    printed = capsys.readouterr().out
    assert [line.split()[3] for line in printed.splitlines() if "total_timesteps" in line] == ["200", "400"]
