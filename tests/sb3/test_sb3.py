"""The face of Stable-Baselines3: constructors, training on, saving, parameters."""

import inspect
import subprocess
import sys
from functools import partial
from pathlib import Path
from zipfile import ZipFile

import gymnasium
import jax
import numpy as np
import pytest

import tegu
from tegu.algorithms.registry import settings
from tegu.core.errors import TeguError
from tegu.experience.base import Replay
from tegu.returns import n_step
from tegu.sb3 import DDPG, DQN, PPO, TRPO, evaluate_policy, make_vec_env
from tegu.sb3.policies import policy_settings
from tegu.sb3.settings import schedule

ROOT = Path(__file__).parents[2]
SMALL = {"n_steps": 100, "batch_size": 50, "n_epochs": 2, "policy_kwargs": {"net_arch": [16]}, "seed": 1}
SMALL_DQN = {"buffer_size": 1000, "train_freq": 10, "policy_kwargs": {"net_arch": [16]}, "seed": 1}
OBSERVATIONS = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)


def small_ppo(env="CartPole-v1", **changes):
    return PPO("MlpPolicy", env, **{**SMALL, **changes})


def small_dqn(env="CartPole-v1", **changes):
    return DQN("MlpPolicy", env, **{**SMALL_DQN, **changes})


def learner(model):
    """Everything that was learned, as named arrays."""
    parameters = model.get_parameters()
    return {**parameters["policy"], **parameters["policy.optimizer"]}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


COMMON = [
    ("stats_window_size", 100),
    ("tensorboard_log", None),
    ("policy_kwargs", None),
    ("verbose", 0),
    ("seed", None),
    ("device", "auto"),
    ("_init_setup_model", True),
]
SIGNATURES = {
    PPO: [
        ("policy", inspect.Parameter.empty),
        ("env", inspect.Parameter.empty),
        ("learning_rate", 3e-4),
        ("n_steps", 2048),
        ("batch_size", 64),
        ("n_epochs", 10),
        ("gamma", 0.99),
        ("gae_lambda", 0.95),
        ("clip_range", 0.2),
        ("clip_range_vf", None),
        ("normalize_advantage", True),
        ("ent_coef", 0.0),
        ("vf_coef", 0.5),
        ("max_grad_norm", 0.5),
        ("use_sde", False),
        ("sde_sample_freq", -1),
        ("rollout_buffer_class", None),
        ("rollout_buffer_kwargs", None),
        ("target_kl", None),
        *COMMON,
    ],
    DDPG: [
        ("policy", inspect.Parameter.empty),
        ("env", inspect.Parameter.empty),
        ("learning_rate", 1e-3),
        ("buffer_size", 1_000_000),
        ("learning_starts", 100),
        ("batch_size", 256),
        ("tau", 0.005),
        ("gamma", 0.99),
        ("train_freq", 1),
        ("gradient_steps", 1),
        ("action_noise", None),
        ("replay_buffer_class", None),
        ("replay_buffer_kwargs", None),
        ("optimize_memory_usage", False),
        ("n_steps", 1),
        *COMMON[1:],
    ],
    DQN: [
        ("policy", inspect.Parameter.empty),
        ("env", inspect.Parameter.empty),
        ("learning_rate", 1e-4),
        ("buffer_size", 1_000_000),
        ("learning_starts", 100),
        ("batch_size", 32),
        ("tau", 1.0),
        ("gamma", 0.99),
        ("train_freq", 4),
        ("gradient_steps", 1),
        ("replay_buffer_class", None),
        ("replay_buffer_kwargs", None),
        ("optimize_memory_usage", False),
        ("n_steps", 1),
        ("target_update_interval", 10000),
        ("exploration_fraction", 0.1),
        ("exploration_initial_eps", 1.0),
        ("exploration_final_eps", 0.05),
        ("max_grad_norm", 10),
        *COMMON,
    ],
}


@pytest.mark.parametrize("algorithm", [PPO, DQN, DDPG])
def test_constructors_are_those_of_stable_baselines3(algorithm):
    parameters = inspect.signature(algorithm).parameters
    assert [(name, parameter.default) for name, parameter in parameters.items()] == SIGNATURES[algorithm]


def test_learn_has_the_signature_of_stable_baselines3():
    parameters = inspect.signature(PPO.learn).parameters
    assert [(name, parameter.default) for name, parameter in parameters.items()][1:] == [
        ("total_timesteps", inspect.Parameter.empty),
        ("callback", None),
        ("log_interval", "usual"),
        ("tb_log_name", None),
        ("reset_num_timesteps", True),
        ("progress_bar", False),
    ]


@pytest.mark.long
def test_the_quick_start_runs():
    command = [sys.executable, str(ROOT / "examples" / "sb3_quickstart.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "total_timesteps      | 10240" in done.stdout
    assert "ep_rew_mean" in done.stdout


@pytest.fixture(scope="module")
def trained():
    return small_ppo().learn(1000)


class TestAPPOModelInJAX:
    def test_counts_whole_rollouts(self, trained):
        assert trained.num_timesteps == 1000

    def test_survives_saving(self, trained, tmp_path):
        trained.save(tmp_path / "model")
        loaded = PPO.load(tmp_path / "model")
        ours, _ = trained.predict(OBSERVATIONS, deterministic=True)
        np.testing.assert_array_equal(loaded.predict(OBSERVATIONS, deterministic=True)[0], ours)
        assert_same(learner(loaded), learner(trained))
        assert loaded.num_timesteps == 1000
        assert tegu.load(tmp_path / "model.zip").steps == 1000

    def test_is_one_file_with_or_without_its_ending(self, trained, tmp_path):
        trained.save(tmp_path / "model.zip")
        trained.save(tmp_path / "other")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.zip", "other.zip"]
        for name in ("model", "model.zip", "other", "other.zip"):
            assert_same(learner(PPO.load(tmp_path / name)), learner(trained))

    def test_predicts_one_and_many(self, trained):
        action, state = trained.predict(OBSERVATIONS[0])
        assert np.shape(action) == ()
        assert state is None
        actions, _ = trained.policy.predict(OBSERVATIONS, deterministic=True)
        assert actions.shape == (7,)
        assert trained.predict(OBSERVATIONS[3], deterministic=True)[0] == actions[3]

    def test_samples_by_default(self, trained):
        sampled = {int(trained.predict(np.zeros(4, np.float32))[0]) for _ in range(50)}
        assert sampled == {0, 1}

    def test_is_evaluated_in_its_own_environment(self, trained):
        env = trained.get_env()
        assert env is trained.env
        mean, std = evaluate_policy(trained, env, n_eval_episodes=3)
        assert 5 < mean <= 500
        assert std >= 0
        returns, lengths = evaluate_policy(trained, env, n_eval_episodes=3, return_episode_rewards=True)
        assert returns == lengths

    def test_hands_out_and_takes_parameters(self, trained):
        other = small_ppo(seed=2)
        other.set_parameters(trained.get_parameters())
        assert_same(learner(other), learner(trained))
        name = ".network.critic.biases[0]"
        other.set_parameters({"policy": {name: np.full(16, 2.0)}}, exact_match=False)
        assert (other.get_parameters()["policy"][name] == 2).all()
        with pytest.raises(TeguError, match="is missing"):
            other.set_parameters({"policy": {name: np.zeros(16)}})
        with pytest.raises(TeguError, match="nonsense is unknown"):
            other.set_parameters({"policy": {"nonsense": np.zeros(16)}}, exact_match=False)

    def test_logs_the_names_of_stable_baselines3(self, trained):
        metrics = trained.logger.name_to_value
        assert metrics["time/total_timesteps"] == 1000
        assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "train/loss", "train/approx_kl"} <= set(metrics)

    def test_goes_on_as_if_it_had_never_stopped(self, trained):
        parts = small_ppo().learn(500)
        parts.predict(OBSERVATIONS)
        parts.learn(500, reset_num_timesteps=False)
        assert parts.num_timesteps == 1000
        assert_same(learner(parts), learner(trained))

    def test_counts_anew_and_keeps_what_it_learned(self):
        model = small_ppo(learning_rate=1e-12).learn(200)
        before = model.get_parameters()["policy"]
        model.learn(300)
        assert model.num_timesteps == 300
        after = model.get_parameters()["policy"]
        for name in before:
            np.testing.assert_allclose(after[name], before[name], atol=1e-6)


@pytest.mark.slow
def test_dqn_goes_on_as_if_it_had_never_stopped():
    constant = {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1}
    whole = small_dqn(**constant).learn(1000)
    parts = small_dqn(**constant).learn(500).learn(500, reset_num_timesteps=False)
    assert parts.num_timesteps == whole.num_timesteps == 1000
    assert_same(learner(parts), learner(whole))


class Endless(gymnasium.Env):
    """Shows a number of the episode's own and the time in it; it never ends, and pays 1."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seen = np.array([self.np_random.random(), 0], np.float32)
        return self.seen, {}

    def step(self, action):
        self.seen = self.seen + np.float32([0, 1])
        return self.seen, 1.0, False, False, {}


@pytest.mark.slow
@pytest.mark.parametrize("touch", [False, True], ids=["learn anew", "stepped in between"])
def test_no_window_of_steps_runs_on_into_the_next_episode(touch):
    """Where a second ``learn`` cuts the running episodes, the rows of the replay buffer and what is made of windows
    of three of them end there."""
    vector = make_vec_env(Endless, n_envs=2, seed=0)
    model = small_dqn(vector, n_steps=3, learning_starts=20, buffer_size=200, gamma=0.5).learn(100)
    if touch:
        vector.step([0, 0])
    model.learn(60, reset_num_timesteps=not touch)
    ((_, buffer, _),) = model._training.state
    assert int(buffer.size) == 160
    seen, following = np.asarray(buffer.rows.observation)[:160], np.asarray(buffer.rows.next_observation)[:160]
    cut = np.asarray(buffer.rows.truncated)[:160]
    assert np.flatnonzero(cut).tolist() == [98, 99]
    assert not np.asarray(buffer.rows.terminated).any()
    goes_on = (following[:-2] == seen[2:]).all(axis=1)  # steps of one environment lie two rows apart
    np.testing.assert_array_equal(goes_on, ~cut[:-2])
    assert (seen[[100, 101], 1] == 0).all()

    drawn, indices = buffer.draw(jax.random.key(0), Replay(200, 3000, 0, 2, 1, n_steps=3), 2)
    windows, discount = n_step(drawn.rows, 0.5)
    left = np.where(indices < 100, (101 - indices) // 2, 3).clip(max=3)  # steps to the cut, itself included
    assert set(left) == {1, 2, 3}
    np.testing.assert_array_equal(windows.reward, 2 - 2.0 ** (1 - left))
    np.testing.assert_array_equal(discount, 0.5**left)
    np.testing.assert_array_equal(windows.next_observation, following[indices + 2 * (left - 1)])


@pytest.mark.long
def test_episodes_that_a_second_learn_cuts_are_cut_in_the_buffer_in_jax_too():
    model = small_dqn(n_steps=3, learning_starts=20).learn(100).learn(60).learn(40, reset_num_timesteps=False)
    buffer = jax.tree.map(lambda leaf: np.asarray(leaf)[0], model._training.state[0].buffer)
    rows = jax.tree.map(lambda leaf: leaf[:200], buffer.rows)
    assert np.flatnonzero(rows.truncated).tolist() == [99]
    goes_on = (rows.next_observation[:-1] == rows.observation[1:]).all(axis=1)
    np.testing.assert_array_equal(goes_on, ~(rows.terminated | rows.truncated)[:-1])


@pytest.mark.slow
def test_dqn_saves_loads_and_goes_on_elsewhere(tmp_path):
    vector = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    model = small_dqn(vector).learn(400)
    assert model.algorithm.train_freq == 20  # over both environments
    assert model.get_env() is vector
    model.save(tmp_path / "dqn")
    loaded = DQN.load(tmp_path / "dqn", env="CartPole-v1", learning_rate=0.5)
    assert_same(learner(loaded), learner(model))
    assert (loaded.algorithm.train_freq, loaded.algorithm.learning_rate) == (10, 0.5)
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.num_timesteps == 500
    loaded.learn(110)
    assert loaded.num_timesteps == 110
    assert evaluate_policy(loaded, vector, n_eval_episodes=2)[0] > 5


@pytest.mark.slow
def test_continuous_actions(tmp_path):
    model = small_ppo(gymnasium.make("Pendulum-v1"), policy_kwargs={"net_arch": {"pi": [16], "vf": [16]}}).learn(200)
    action, _ = model.predict(np.zeros(3, np.float32))
    assert model.action_space.contains(action)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=make_vec_env("Pendulum-v1", n_envs=2))
    loaded.learn(200, reset_num_timesteps=False)
    assert loaded.num_timesteps == 400


def test_the_seed_decides_everything():
    first, again, other = (small_ppo(seed=seed).learn(100) for seed in (5, 5, 6))
    assert_same(learner(first), learner(again))
    name = ".network.actor.weights[0]"
    assert (learner(first)[name] != learner(other)[name]).any()
    drawn = []
    for _ in range(2):
        first.set_random_seed(3)
        drawn.append(first.predict(np.zeros((20, 4), np.float32))[0])
    np.testing.assert_array_equal(*drawn)


def test_verbose_says_where_the_environment_runs(capsys):
    small_ppo(verbose=1)
    assert "CartPole-v1 runs in JAX" in capsys.readouterr().out
    small_ppo(gymnasium.make("CartPole-v1"), verbose=1)
    assert "CartPole-v1 is stepped in Python" in capsys.readouterr().out


class TestSchedules:
    @pytest.mark.parametrize(
        ("function", "expected"),
        [
            (lambda left: 3e-4, 3e-4),
            (lambda left: left * 1e-3, tegu.Linear(1e-3)),
            (lambda left: 0.1 + 0.2 * left, tegu.Linear(0.3, 0.1)),
            (lambda left: max(0.05, 1 - (1 - left) / 0.25 * 0.95), tegu.Linear(1.0, 0.05, 0.25)),
        ],
    )
    def test_constants_and_lines_are_recognised(self, function, expected):
        found = schedule("learning_rate", function)
        if isinstance(expected, float):
            assert found == expected
        else:
            assert vars(found) == pytest.approx(vars(expected))

    def test_other_functions_are_refused(self):
        with pytest.raises(TeguError, match="learning_rate: only constant and linear schedules"):
            small_ppo(learning_rate=lambda left: left**2)

    def test_reach_the_algorithm(self):
        model = small_ppo(learning_rate=lambda left: left * 1e-3, clip_range=lambda left: 0.2)
        assert model.algorithm.learning_rate.initial == 1e-3
        assert model.algorithm.clip_range == 0.2


class ReLU:
    """Named like PyTorch's."""


def test_policies_bring_their_networks():
    """An MlpPolicy flattens images; a CnnPolicy ends in 512 numbers, after which come the layers asked for."""
    ppo, dqn, ddpg = (partial(policy_settings, name.upper(), known=settings(name)) for name in ("ppo", "dqn", "ddpg"))
    assert ppo("MlpPolicy", {"net_arch": [8]}) == {"features_extractor": "flatten", "net_arch": (8,)}
    assert ppo("CnnPolicy", {"net_arch": [8]})["net_arch"] == (512, 8)
    assert dqn("CnnPolicy", None)["net_arch"] == (512,)
    assert dqn("CnnPolicy", {"features_extractor_kwargs": {"features_dim": 32}})["net_arch"] == (32,)
    assert ddpg("CnnPolicy", None, behind_images=(256, 256))["net_arch"] == (512, 256, 256)
    assert dqn("MultiInputPolicy", None) == {"features_extractor": "auto:256"}
    wide = {"features_extractor_kwargs": {"cnn_output_dim": 16}, "net_arch": [8]}
    assert dqn("MultiInputPolicy", wide) == {"features_extractor": "auto:16", "net_arch": (8,)}
    with pytest.raises(TeguError, match="of the MlpPolicy must not have 'features_dim'"):
        dqn("MlpPolicy", {"features_extractor_kwargs": {"features_dim": 8}})


def test_activations_go_by_name():
    assert small_ppo(policy_kwargs={"activation_fn": ReLU}).algorithm.activation == "relu"
    assert small_ppo(policy_kwargs={"activation_fn": "tanh"}).algorithm.activation == "tanh"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_ppo(use_sde=True), "PPO: use_sde needs a Box action space, got Discrete"),
        (lambda: TRPO("MlpPolicy", "Pendulum-v1", use_sde=True), "TRPO: Tegu does not support use_sde=True"),
        (lambda: small_ppo(rollout_buffer_class=dict), "PPO: Tegu does not support rollout_buffer_class=dict"),
        (
            lambda: PPO("MlpLstmPolicy", "CartPole-v1"),
            "PPO: policy must be one of MlpPolicy, MultiInputPolicy, CnnPolicy, got MlpLstmPolicy",
        ),
        (
            lambda: PPO("CnnPolicy", "CartPole-v1"),
            "PPO: features_extractor nature is for images, .* the observations are Box",
        ),
        (lambda: small_ppo(clip_range_vf=lambda left: left), "clip_range_vf: only a number"),
        (lambda: small_ppo(policy_kwargs={"net_arch": {"pi": [8], "hf": [9]}}), "net_arch must be a list of widths"),
        (lambda: small_ppo(policy_kwargs={"activation_fn": dict}), "activation_fn must be one of .* got dict"),
        (
            lambda: small_ppo(policy_kwargs={"ortho_init": False}),
            "policy_kwargs\\['ortho_init'\\] must be True in Tegu, got False",
        ),
        (lambda: small_ppo(seed=-1), "seed must be from 0"),
        (lambda: small_ppo(None), "env must be a name, a gymnasium.Env or a VecEnv of tegu.sb3, got NoneType"),
        (lambda: small_dqn("Pendulum-v1"), "DQN needs a Discrete action space"),
        (lambda: small_dqn(train_freq=(1, "episode")), "train_freq: only steps"),
        (lambda: small_dqn(n_steps=0), "DQN: n_steps must be at least 1, got 0"),
        (lambda: small_dqn().learn(0), "total_timesteps must be from 1"),
        (lambda: PPO.load("nowhere"), "there is no saved model nowhere"),
    ],
)
def test_what_tegu_does_not_have_is_said_in_one_line(make, message):
    with pytest.raises(TeguError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("RecurrentPPO", r"tegu\.sb3 has no RecurrentPPO: use tegu\.train"),
        ("CrossQ", r"tegu\.sb3 has no CrossQ: use tegu\.train\(env, tegu\.CrossQ\(\)\)"),
        ("EvalCallbak", r"tegu\.sb3 has no EvalCallbak: did you mean EvalCallback\?"),
        ("StackedObservations", r"tegu\.sb3 has no StackedObservations: it has A2C, DDPG, "),
        ("common", r"tegu\.sb3 has no common: make_vec_env, .* imported from tegu\.sb3 itself"),
        ("common.vec_env", r"tegu\.sb3 has no common"),
    ],
)
def test_missing_names_say_what_there_is(wanted, message):
    imported = f"import tegu.sb3.{wanted}" if "." in wanted else f"from tegu.sb3 import {wanted}"
    with pytest.raises(ImportError, match=message) as error:
        exec(imported)
    assert isinstance(error.value, TeguError)
    assert "\n" not in str(error.value)


def test_settings_are_read_and_not_set(trained):
    """A script that assigns to a setting, as some do to anneal the entropy bonus, must not believe that it worked."""
    assert (trained.n_steps, trained.gamma) == (100, 0.99)
    for name in ("ent_coef", "learning_rate", "lr_schedule"):
        with pytest.raises(TeguError, match=f"^{name} of a model cannot be set"):
            setattr(trained, name, 0.5)
    with pytest.raises(AttributeError, match=r"PPO of tegu\.sb3 has no nonsense"):
        trained.nonsense  # noqa: B018
    with pytest.raises(TeguError, match="PPO has no replay buffer"):
        trained.save_replay_buffer("x")
    trained.note = "one's own"


def test_files_of_stable_baselines3_are_not_loaded(tmp_path):
    with ZipFile(tmp_path / "theirs.zip", "w") as archive:
        archive.writestr("policy.pth", b"")
    for name in ("theirs", "theirs.zip"):
        with pytest.raises(TeguError, match="hold pickles"):
            PPO.load(tmp_path / name)


def test_a_model_knows_its_kind_and_its_spaces(trained, tmp_path):
    trained.save(tmp_path / "model")
    with pytest.raises(TeguError, match="holds a model of ppo, not of dqn"):
        DQN.load(tmp_path / "model")
    with pytest.raises(TeguError, match="the observation_space does not fit"):
        PPO.load(tmp_path / "model", env="Pendulum-v1")
    with pytest.raises(TeguError, match="there is no environment to learn in"):
        PPO.load(tmp_path / "model").learn(100)
    with pytest.raises(TeguError, match="ppo has no hyper-parameter 'learning_rat'"):
        PPO.load(tmp_path / "model", learning_rat=1)


def test_tensorboard_folders_are_numbered(tmp_path):
    model = small_ppo(tensorboard_log=str(tmp_path))
    model.learn(100).learn(100).learn(100, reset_num_timesteps=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PPO_1", "PPO_2"]
    assert len(list((tmp_path / "PPO_2").iterdir())) == 2


def test_an_environment_only_in_jax_has_no_vec_env():
    with pytest.raises(TeguError, match="lizard exists only in JAX"):
        PPO("MlpPolicy", "lizard").get_env()
