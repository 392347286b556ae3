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
    DummyVecEnv,
    EvalCallback,
    EveryNTimesteps,
    Monitor,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnRewardThreshold,
    evaluate_policy,
)

SMALL_PPO = {"n_steps": 100, "batch_size": 50, "n_epochs": 2, "policy_kwargs": {"net_arch": [16]}, "seed": 1}


@pytest.fixture
def dqn():
    settings = {
        "buffer_size": 1000,
        "learning_starts": 0,
        "train_freq": 10,
        "policy_kwargs": {"net_arch": [16]},
        "seed": 1,
    }
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


@pytest.mark.slow
def test_are_called_in_order(dqn):
    recorder = Recorder()
    dqn.learn(20, callback=recorder)
    rollouts = [["rollout", *steps, "end of rollout"] for steps in (range(1, 11), range(11, 21))]
    assert recorder.events == ["init", "start", *rollouts[0], *rollouts[1], "rollout", "end"]
    assert recorder.n_calls == recorder.num_timesteps == 20
    assert recorder.model is dqn
    assert recorder.logger is dqn.logger
    assert recorder.training_env is dqn.get_env()


def test_stop_the_training(dqn):
    dqn.learn(10_000, callback=Recorder(stop_at=1000))
    assert dqn.num_timesteps == 1000


def test_may_be_functions_and_lists(dqn):
    seen = []

    def look(variables, _):
        seen.append((variables["num_timesteps"], variables["self"].num_timesteps))
        return len(seen) < 3

    recorder = Recorder()
    dqn.learn(1000, callback=[look, CallbackList([recorder])])
    assert seen == [(1, 10), (2, 10), (3, 10)]
    assert recorder.n_calls == 3
    assert recorder.locals["new_obs"].shape == (1, 4)  # the training ends with the piece: this is what comes next
    assert dqn.num_timesteps == 10


def test_a_checkpoint_is_saved_at_its_step_with_the_model_of_the_round(dqn, tmp_path):
    dqn.learn(130, callback=CheckpointCallback(45, str(tmp_path), "m", save_replay_buffer=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m_45_steps.zip",
        "m_90_steps.zip",
        "m_replay_buffer_45_steps.pkl",
        "m_replay_buffer_90_steps.pkl",
    ]
    assert DQN.load(tmp_path / "m_45_steps").num_timesteps == 50


def test_what_is_not_known_of_a_step_in_jax_is_said(dqn):
    class Curious(BaseCallback):
        def _on_step(self):
            return self.locals["rewards"] is not None

    with pytest.raises(TeguError, match=r"locals has no rewards.*give the model make_vec_env") as error:
        dqn.learn(20, callback=Curious())
    assert isinstance(error.value, KeyError)


def test_frequencies_go_on_counting(dqn):
    counted = Recorder()
    every = EveryNTimesteps(300, counted)
    dqn.learn(500, callback=every).learn(500, callback=every, reset_num_timesteps=False)
    assert [event for event in counted.events if isinstance(event, int)] == [300, 600, 900]


@pytest.mark.slow
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
        dqn.learn(20, callback=StopTrainingOnRewardThreshold(1.0))


@pytest.mark.slow
def test_callbacks_may_change_the_model(dqn):
    zeros = {"policy": {".target.mlp.biases[1]": np.zeros(2)}}

    class Meddler(BaseCallback):
        def _on_step(self):
            self.model.set_parameters(zeros, exact_match=False)
            return True

    dqn.learn(50, callback=Meddler())
    assert (dqn.get_parameters()["policy"][".target.mlp.biases[1]"] == 0).all()
    assert dqn.num_timesteps == 50


class Counted(gymnasium.Env):
    """Episodes of ``length`` steps."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=7):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.taken += 1
        return np.zeros(3, np.float32), 1.0, self.taken >= self.length, False, {}


def length_of_episodes(model):
    return model.logger.name_to_value["rollout/ep_len_mean"]


class Steps(BaseCallback):
    """Keeps what there is to be seen of every step."""

    def __init__(self):
        super().__init__()
        self.dones, self.steps = [], []

    def _on_step(self):
        assert self.locals["new_obs"].shape == (2, 3)
        assert self.locals["actions"].shape == (2,)
        assert [info.get("episode", {}).get("l") for info in self.locals["infos"]] == [
            7 if done else None for done in self.locals["dones"]
        ]
        self.dones.append(self.locals["dones"].tolist())
        self.steps.append((self.n_calls, self.num_timesteps))
        return True


@pytest.mark.slow
def test_every_step_in_python_is_seen_and_counted_as_in_sb3():
    """``n_calls`` counts steps of the vector, ``num_timesteps`` those of all environments; frequencies count calls."""
    vector = DummyVecEnv([lambda: Monitor(Counted())] * 2)
    model = DQN("MlpPolicy", vector, learning_starts=20, buffer_size=100, policy_kwargs={"net_arch": [4]})
    steps, evaluation = Steps(), EvalCallback(Monitor(Counted()), eval_freq=15, n_eval_episodes=1, verbose=0)
    stop = StopTrainingOnMaxEpisodes(max_episodes=5)
    model.learn(100, callback=[steps, evaluation, stop])
    assert steps.steps == [(call, 2 * call) for call in range(1, 36)]
    assert [call for call, ended in enumerate(steps.dones, 1) if all(ended)] == [7, 14, 21, 28, 35]
    assert evaluation.evaluations_timesteps == [30, 60]
    assert [episode["l"] for episode in model.ep_info_buffer] == [7] * 10


class SetAttribute(BaseCallback):
    def __init__(self, name, value):
        super().__init__()
        self.name, self.value = name, value

    def _on_rollout_start(self):
        self.training_env.set_attr(self.name, self.value)


@pytest.fixture(scope="module")
def counted():
    """A model that has not learned yet, and its one environment."""
    env = Counted()
    return PPO("MlpPolicy", env, **SMALL_PPO), env


@pytest.mark.parametrize(
    "own_vector",
    [pytest.param(True, id="get_env", marks=pytest.mark.long), pytest.param(False, id="the object")],
)
def test_evaluating_in_the_training_environment_begins_new_episodes(counted, own_vector):
    """100 steps are no whole number of episodes: who went on inside another's would see other lengths."""
    model, env = counted
    evaluated_in = model.get_env() if own_vector else env
    with pytest.warns(UserWarning, match="EvalCallback plays in an environment that the model trains in"):
        model.learn(300, callback=EvalCallback(evaluated_in, n_eval_episodes=1, eval_freq=100, verbose=0))
    assert model.num_timesteps == 300
    assert length_of_episodes(model) == 7
    assert evaluate_policy(model, env, 2, return_episode_rewards=True)[1] == [7, 7]
    model.learn(100, reset_num_timesteps=False)
    assert length_of_episodes(model) == 7


def test_attributes_are_set_where_the_model_trains(counted):
    model, env = counted
    model.learn(100, callback=SetAttribute("length", 5))
    assert (env.length, length_of_episodes(model)) == (5, 5)
    env.length = 7


def test_nothing_is_set_where_nobody_trains(dqn):
    with pytest.raises(TeguError, match="set_attr: the model trains in CartPole-v1 in JAX"):
        dqn.learn(20, callback=SetAttribute("gravity", 1.0))
    double = dqn.get_env()
    for look in (lambda: double.env_method("x"), lambda: double.get_attr("state"), lambda: double.envs):
        with pytest.raises(TeguError, match=r"give the model make_vec_env\('CartPole-v1'\)"):
            look()
    dqn.set_env(double)  # from now on somebody does
    double.set_attr("gravity", 1.0)
    assert double.envs[0].unwrapped.gravity == 1


def test_the_environment_is_not_changed_within_learn(counted):
    model, _ = counted
    before = model._training, model._env, model._policy

    class Elsewhere(BaseCallback):
        def _on_step(self):
            self.model.set_env(Counted())
            return True

    with pytest.raises(TeguError, match="a callback called set_env"):
        model.learn(200, callback=Elsewhere())
    model._training, model._env, model._policy = before


def test_a_progress_bar_counts_the_steps(dqn, capsys):
    dqn.learn(200, progress_bar=True)
    assert "200/200" in capsys.readouterr().out


def test_tables_come_every_few_rollouts(capsys):
    model = PPO("MlpPolicy", "CartPole-v1", **SMALL_PPO, verbose=1)
    model.learn(400, log_interval=2)
    printed = capsys.readouterr().out
    assert [line.split()[3] for line in printed.splitlines() if "total_timesteps" in line] == ["200", "400"]
