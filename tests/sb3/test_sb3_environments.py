"""The vectorised environment against what Stable-Baselines3 documents, and ``evaluate_policy``."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.sb3 import DQN, DummyVecEnv, Monitor, evaluate_policy, make_vec_env


class Countdown(gymnasium.Env):
    """Observes the steps left of 3; terminates there if the last action was 1, else is cut by a time limit."""

    observation_space = gymnasium.spaces.Box(0, 3, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 3
        return np.array([3], np.float32), {"seed": seed}

    def step(self, action):
        self.left -= 1
        ends = self.left == 0
        info = {"left": self.left}
        return np.array([self.left], np.float32), 2.0, ends and action == 1, ends and action == 0, info

    def render(self):
        return np.full((4, 6, 3), self.left, np.uint8)


@pytest.fixture
def vector():
    return make_vec_env(Countdown, n_envs=2, seed=0, env_kwargs={"render_mode": "rgb_array"})


def test_step_returns_four_things_and_begins_anew(vector):
    assert vector.reset().tolist() == [[3], [3]]
    for left in (2, 1):
        observations, rewards, dones, infos = vector.step([1, 0])
        assert observations.tolist() == [[left], [left]]
        assert rewards.tolist() == [2, 2]
        assert not dones.any()
        assert infos == [{"left": left, "TimeLimit.truncated": False}] * 2
    observations, _, dones, infos = vector.step([1, 0])
    assert observations.tolist() == [[3], [3]]  # of the new episodes
    assert dones.all()
    assert [info["terminal_observation"].tolist() for info in infos] == [[0], [0]]
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert [(info["episode"]["r"], info["episode"]["l"]) for info in infos] == [(6, 3)] * 2


def test_step_async_and_wait_are_a_step(vector):
    vector.reset()
    vector.step_async(np.array([0, 0]))
    observations, *_ = vector.step_wait()
    assert observations.tolist() == [[2], [2]]


def test_episodes_follow_from_the_seed(vector):
    def seeds():
        vector.reset()
        return [info["seed"] for info in vector.reset_infos]

    first, second = seeds(), seeds()
    assert len({*first, *second}) == 4
    assert vector.seed(0) == [0, 1]
    assert (seeds(), seeds()) == (first, second)
    vector.seed(5)
    assert seeds() != first


def test_attributes_and_methods_are_reached(vector):
    vector.reset()
    assert vector.num_envs == 2
    assert vector.get_attr("left") == [3, 3]
    vector.set_attr("bonus", 7, indices=1)
    assert vector.has_attr("left")
    assert vector.get_attr("bonus", indices=[1]) == [7]
    assert [image.shape for image in vector.env_method("render")] == [(4, 6, 3)] * 2
    assert vector.env_is_wrapped(Monitor) == [True, True]
    assert vector.env_is_wrapped(gymnasium.wrappers.TimeLimit) == [False, False]
    assert vector.unwrapped is vector


def test_pictures_are_joined_and_no_window_opens(vector):
    vector.reset()
    assert vector.render().shape == (4, 12, 3)
    with pytest.warns(UserWarning, match="render_mode='human'"):
        assert vector.render("human") is None


def test_wrappers_come_after_the_monitor():
    doubled = make_vec_env(
        Countdown, wrapper_class=gymnasium.wrappers.TransformReward, wrapper_kwargs={"func": lambda reward: 2 * reward}
    )
    doubled.reset()
    for _ in range(3):
        _, rewards, _, infos = doubled.step([0])
    assert rewards[0] == 4
    assert infos[0]["episode"]["r"] == 6


def test_names_and_options_make_environments():
    vector = make_vec_env("FrozenLake-v1", n_envs=2, env_kwargs={"is_slippery": False})
    assert vector.reset().tolist() == [0, 0]
    assert vector.render_mode == "rgb_array"
    assert vector.id == "FrozenLake-v1"


def test_who_uses_an_environment_is_seen_by_all_around_it():
    env = gymnasium.make("CartPole-v1")
    first, second = (DummyVecEnv([lambda: env]) for _ in range(2))
    for use in (first.reset, second.reset, lambda: second.step([0]), lambda: env.step(0), env.reset):
        before = first.standing
        use()
        assert first.standing != before


def test_what_does_not_fit_is_said():
    env = Countdown()
    with pytest.raises(TeguError, match="the same one twice"):
        DummyVecEnv([lambda: env, lambda: env])
    with pytest.raises(TypeError, match="nonsense"):
        make_vec_env(Countdown, vec_env_kwargs={"nonsense": 1})
    with pytest.raises(RuntimeError, match="Tried to step environment that needs reset"):
        Monitor(env).step(0)
    strict = Monitor(env, allow_early_resets=False)
    strict.reset()
    with pytest.raises(RuntimeError, match="Tried to reset an environment before done"):
        strict.reset()


class Always:
    """A model that takes one action."""

    def __init__(self, action):
        self.action = action

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.full(len(observation), self.action), state


def test_evaluation_plays_whole_episodes(vector):
    assert evaluate_policy(Always(1), vector, n_eval_episodes=5) == (6, 0)
    assert evaluate_policy(Always(0), Countdown(), 3, return_episode_rewards=True) == ([6] * 3, [3] * 3)
    with pytest.raises(TeguError, match="not above the threshold"):
        evaluate_policy(Always(0), vector, reward_threshold=6.5)


def test_evaluation_shows_every_step_to_a_callback(vector):
    seen = []
    evaluate_policy(Always(0), vector, 2, callback=lambda variables, _: seen.append(variables["info"]["left"]))
    assert seen == [2, 2, 1, 1, 0, 0]


def test_evaluation_cuts_an_endless_episode(monkeypatch):
    monkeypatch.setattr("tegu.sb3.evaluation.LONGEST", 2)
    assert evaluate_policy(Always(0), Countdown(), 3, return_episode_rewards=True) == ([4] * 3, [2] * 3)


def test_a_class_without_render_modes_is_made_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "import gymnasium",
        "class Plain(gymnasium.Env):",
        "    observation_space = gymnasium.spaces.Box(-1, 1, (1,))",
        "    action_space = gymnasium.spaces.Discrete(2)",
        "    def __init__(self, gain=1):",
        "        self.gain = gain",
    )
    (tmp_path / "world_with_gain.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    made = make_vec_env("world_with_gain:Plain", env_kwargs={"gain": 3})
    assert made.get_attr("gain") == [3]
    with pytest.raises(TeguError, match="cannot make world_with_gain:Plain"):
        make_vec_env("world_with_gain:Plain", env_kwargs={"loss": 3})


class Sensor(gymnasium.Env):
    """Fails at its 301st step, once. A step must follow the one before it, or a reset."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    steps, broken = 0, False

    def reset(self, *, seed=None, options=None):
        self.broken = False
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert not self.broken, "a step in an episode of which nobody knows where it stands"
        self.steps += 1
        if self.steps == 301:
            self.broken = True
            raise RuntimeError("sensor gone")
        return np.zeros(2, np.float32), 1.0, False, False, {}


@pytest.mark.slow
@pytest.mark.parametrize("reset_num_timesteps", [True, False])
def test_a_model_learns_on_after_an_error_of_its_environment(reset_num_timesteps):
    """What it had learned and stored by then is kept, and a new episode begins."""
    replay = {"learning_starts": 50, "buffer_size": 500, "batch_size": 8, "train_freq": 4}
    model = DQN("MlpPolicy", Sensor(), policy_kwargs={"net_arch": [8]}, seed=0, **replay)
    with pytest.raises(RuntimeError, match="sensor gone"):
        model.learn(1_000)
    assert model.num_timesteps == 300
    model.learn(100, reset_num_timesteps=reset_num_timesteps)
    assert model.num_timesteps == (100 if reset_num_timesteps else 400)
