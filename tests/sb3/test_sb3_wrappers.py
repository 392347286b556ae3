"""Wrappers around vectorised environments against what NumPy makes of everything that went through them."""

import itertools
from collections import deque

import gymnasium
import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.sb3 import (
    TD3,
    DummyVecEnv,
    EvalCallback,
    Monitor,
    VecCheckNan,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    evaluate_policy,
    load_results,
    make_vec_env,
    sync_envs_normalization,
)
from tegu.sb3.stepped import SteppedVecEnv


class Walk(gymnasium.Env):
    """Random observations of its own generator; pays 3 times the number of the step; ends after ``length``."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def __init__(self, length=5, truncates=False):
        self.length, self.truncates = length, truncates

    def _seen(self):
        return self.np_random.normal(5, 3, 2).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {}

    def step(self, action):
        self.t += 1
        over = self.t == self.length
        return self._seen(), 3.0 * self.t, over and not self.truncates, over and self.truncates, {"step": self.t}


class Picture(gymnasium.Env):
    """Images ``[8, 9, 1]``, all pixels the number of the step; ends after 3."""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 9, 1), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.t = 1
        return np.full((8, 9, 1), 1, np.uint8), {}

    def step(self, action):
        self.t += 1
        return np.full((8, 9, 1), self.t, np.uint8), 0.0, self.t == 4, False, {}


def walks(**wrapped):
    return DummyVecEnv([lambda: Monitor(Walk(length=5)), lambda: Monitor(Walk(length=3))], seed=0)


def zeros(vector):
    return np.zeros((vector.num_envs, *vector.action_space.shape), vector.action_space.dtype)


def test_normalisation_is_by_all_that_was_seen():
    plain, vector = walks(), VecNormalize(walks(), gamma=0.9, clip_obs=1.5, clip_reward=2.0)
    rows, sums, returns = [plain.reset()], [], np.zeros(2)
    vector.reset()
    for _ in range(20):
        seen, rewards, dones, infos = plain.step(zeros(plain))
        given, scaled, _, own = vector.step(zeros(vector))
        rows.append(seen)
        returns = 0.9 * returns + rewards
        sums.append(returns)
        returns = np.where(dones, 0, returns)
        every, deviation = np.concatenate(rows), np.concatenate([[1e-9], *sums]).std()
        expected = (seen - every.mean(axis=0)) / every.std(axis=0)
        np.testing.assert_allclose(given, expected.clip(-1.5, 1.5), atol=2e-3)
        if len(sums) > 5:  # what it begins with counts less and less
            np.testing.assert_allclose(scaled, (rewards / deviation).clip(-2, 2), rtol=5e-2)
        np.testing.assert_array_equal(vector.get_original_obs(), seen)
        np.testing.assert_array_equal(vector.get_original_reward(), rewards)
        for info, mine in zip(infos, own, strict=True):
            assert ("terminal_observation" in info) == ("terminal_observation" in mine)
            if "terminal_observation" in info:
                raw = vector.normalize_obs(info["terminal_observation"])
                np.testing.assert_array_equal(raw, mine["terminal_observation"])
    np.testing.assert_allclose(vector.unnormalize_obs(vector.normalize_obs(every.mean(axis=0))), every.mean(axis=0))
    before = vector.obs_rms.mean.copy()
    vector.training = False
    vector.step(zeros(vector))
    np.testing.assert_array_equal(vector.obs_rms.mean, before)


def test_statistics_are_saved_without_pickles_and_handed_on(tmp_path):
    vector = VecNormalize(walks(), norm_reward=False, clip_obs=3.0)
    vector.reset()
    vector.step(zeros(vector))
    vector.save(tmp_path / "statistics")
    loaded = VecNormalize.load(tmp_path / "statistics", walks())
    assert (loaded.norm_reward, loaded.clip_obs) == (False, 3.0)
    other = VecNormalize(walks())
    sync_envs_normalization(vector, other)
    for each in (loaded, other):
        np.testing.assert_array_equal(each.obs_rms.var, vector.obs_rms.var)
        assert each.ret_rms.count == vector.ret_rms.count
    (tmp_path / "pickle").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(TeguError, match="hold pickles"):
        VecNormalize.load(tmp_path / "pickle", walks())
    with pytest.raises(TeguError, match="does not fit the observations"):
        VecNormalize.load(tmp_path / "statistics", make_vec_env("Pendulum-v1"))


def test_frames_are_stacked_within_an_episode():
    vector = VecFrameStack(DummyVecEnv([Picture]), n_stack=3)
    assert vector.observation_space.shape == (8, 9, 3)
    frames = deque([0, 0, 1], maxlen=3)
    assert (vector.reset() == list(frames)).all()
    for _ in range(7):
        seen, _, dones, infos = vector.step([0])
        frames.append(frames[-1] + 1)
        if dones[0]:
            assert (infos[0]["terminal_observation"] == list(frames)).all()
            frames = deque([0, 0, 1], maxlen=3)
        assert (seen == list(frames)).all()
    assert VecFrameStack(DummyVecEnv([Picture]), 2, "first").observation_space.shape == (16, 9, 1)


def test_images_are_turned():
    vector = VecTransposeImage(DummyVecEnv([Picture]))
    assert vector.observation_space.shape == vector.reset().shape[1:] == (1, 8, 9)
    for _ in range(3):
        seen, _, _, infos = vector.step([0])
    assert infos[0]["terminal_observation"].shape == seen.shape[1:]
    with pytest.raises(AssertionError, match="VecTransposeImage needs images"):
        VecTransposeImage(walks())


class Named(gymnasium.ObservationWrapper):
    """The observation under a name."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Dict({"here": env.observation_space})

    def observation(self, observation):
        return {"here": observation}


def test_one_entry_of_a_dict_is_taken():
    vector = VecExtractDictObs(DummyVecEnv([lambda: Named(Walk(length=1))]), "here")
    assert vector.reset().shape == (1, 2)
    _, _, _, infos = vector.step(zeros(vector))
    assert infos[0]["terminal_observation"].shape == (2,)


def test_numbers_that_are_none_are_found():
    vector = VecCheckNan(walks(), raise_exception=True)
    vector.reset()
    with pytest.raises(ValueError, match="actions of the environment hold nan"):
        vector.step(np.full((2, 1), np.nan))
    with pytest.warns(UserWarning, match="hold inf"):
        VecCheckNan(walks()).step(np.full((2, 1), np.inf))


def test_a_vector_is_monitored_into_a_file(tmp_path):
    vector = VecMonitor(DummyVecEnv([Walk, lambda: Walk(length=3)]), str(tmp_path / "one"), info_keywords=("step",))
    vector.reset()
    for _ in range(6):
        _, _, _, infos = vector.step(zeros(vector))
    vector.close()
    assert infos[1]["episode"]["l"] == 3
    results = load_results(tmp_path)
    assert results["l"].tolist() == [3, 5, 3]
    assert results["r"].tolist() == [18, 45, 18]
    assert results["t"].tolist() == sorted(results["t"])
    with pytest.warns(UserWarning, match="already wrapped with a Monitor"):
        VecMonitor(walks())


def test_monitor_files_hold_what_was_played(tmp_path):
    """Of two environments, in the order of their ends; an interrupted episode is none."""
    vector = make_vec_env(Walk, 2, seed=0, monitor_dir=str(tmp_path), monitor_kwargs={"info_keywords": ("step",)})
    vector.reset()
    for _ in range(12):
        vector.step(zeros(vector))
    vector.close()
    results = load_results(tmp_path)
    assert results.columns == ["index", "r", "l", "t", "step"]
    assert results["r"].tolist() == [45] * 4
    first = (tmp_path / "0.monitor.csv").read_text().splitlines()
    assert first[0].startswith('#{"t_start": ')
    assert len(first) == 4
    again = Monitor(Walk(), tmp_path / "0", override_existing=False)
    again.reset()
    for _ in range(5):
        again.step(np.zeros(1))
    again.close()
    assert len(load_results(tmp_path)) == 5


class Doubled(VecEnvWrapper):
    """A wrapper as people write them."""

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, 2 * rewards, dones, infos


def test_what_is_inside_is_reached_unless_two_have_it():
    inside, both = Doubled(walks()), Doubled(Doubled(walks()))
    inside.mark = 1
    assert Doubled(inside).mark == 1
    both.mark = both.venv.mark = 2
    with pytest.raises(AttributeError, match="Doubled and Doubled has it"):
        Doubled(both).mark  # noqa: B018
    with pytest.raises(AttributeError, match="none of them"):
        both.nothing  # noqa: B018


@pytest.mark.parametrize("truncates", [False, True])
def test_training_sees_true_last_observations_and_the_monitors_returns(truncates):
    """Through any wrapper: rewards are those outside, returns those of the monitor inside."""
    made = DummyVecEnv([lambda: Monitor(Walk(3, truncates)), lambda: Monitor(Walk(2, truncates))], seed=0)
    twin = DummyVecEnv([lambda: Monitor(Walk(3, truncates)), lambda: Monitor(Walk(2, truncates))], seed=0)
    stepped = SteppedVecEnv(Doubled(made))
    np.testing.assert_array_equal(stepped.reset(), twin.reset())
    total = np.zeros(2)
    for t in itertools.count(1):
        now, (seen, rewards, dones, infos) = stepped.step(zeros(made)), twin.step(zeros(twin))
        total += now.score
        np.testing.assert_array_equal(now.observation, seen)
        np.testing.assert_array_equal(now.reward, 2 * rewards)
        np.testing.assert_array_equal(now.truncated, dones if truncates else [False] * 2)
        np.testing.assert_array_equal(now.terminated, [False] * 2 if truncates else dones)
        np.testing.assert_array_equal(now.over, dones)
        for i in range(2):
            np.testing.assert_array_equal(now.next_observation[i], infos[i].get("terminal_observation", seen[i]))
        if t == 6:
            break
    assert total.tolist() == [2 * 18, 3 * 9]


@pytest.mark.slow
def test_a_model_trains_and_is_evaluated_in_wrappers(tmp_path):
    vector = VecNormalize(walks())
    model = TD3("MlpPolicy", vector, learning_starts=10, batch_size=8, buffer_size=100, policy_kwargs={"net_arch": [4]})
    model.learn(40)
    assert model.get_vec_normalize_env() is vector
    assert model.logger.name_to_value["rollout/ep_rew_mean"] == pytest.approx(np.mean([45] * 4 + [18] * 6))
    assert abs(model.replay_buffer.rewards[1:20]).max() < 18 / 2  # normalised
    assert evaluate_policy(model, vector, 2, return_episode_rewards=True) == ([18, 45], [3, 5])
    model.save_replay_buffer(tmp_path / "buffer")
    model.save(tmp_path / "model")
    loaded = TD3.load(tmp_path / "model", env=VecNormalize(walks()))
    assert loaded.replay_buffer.size() == 0
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.size() == 20
    np.testing.assert_array_equal(loaded.replay_buffer.observations, model.replay_buffer.observations)
    assert loaded.replay_buffer.timeouts[19].all()  # episodes that ran are cut where new ones begin


def test_mistakes_of_vectors_are_said_in_one_line(tmp_path):
    class Silent(VecEnvWrapper):
        """Says nothing of the last observation of an episode."""

        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            observation, reward, done, infos = self.venv.step_wait()
            return observation, reward, done, [{} for _ in infos]

    def walks():
        return DummyVecEnv([lambda: Walk(length=1)])

    with pytest.raises(TeguError, match="n_stack must be from 1 to"):
        VecFrameStack(walks(), 0)
    with pytest.raises(TeguError, match="n_envs must be from 1 to"):
        make_vec_env("CartPole-v1", n_envs=0)
    with pytest.raises(TeguError, match=f"there is no file {tmp_path / 'missing'}"):
        VecNormalize.load(tmp_path / "missing", walks())
    with pytest.raises(TeguError, match="got 'CartPole-v1': make_vec_env makes one of it"):
        EvalCallback("CartPole-v1")
    stacked = VecFrameStack(Silent(walks()), 2)
    stacked.reset()
    with pytest.raises(TeguError, match="must have the entry terminal_observation"):
        stacked.step(np.array([stacked.action_space.sample()]))
