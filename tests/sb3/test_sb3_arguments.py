"""Noise, networks, parameters and files: what arguments of Stable-Baselines3's stand for."""

import inspect
import json
from zipfile import ZIP_DEFLATED, ZipFile

import gymnasium
import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.environments.adapters.mujoco import NoRendererError
from tegu.sb3 import (
    A2C,
    DQN,
    PPO,
    QRDQN,
    SAC,
    TD3,
    TQC,
    TRPO,
    LinearSchedule,
    MlpPolicy,
    MultiInputPolicy,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    RMSpropTFLike,
    check_env,
    configure,
    get_schedule_fn,
    make_vec_env,
)
from tegu.sb3.atari import ClipRewardEnv, EpisodicLifeEnv, MaxAndSkipEnv, NoopResetEnv, WarpFrame
from tegu.sb3.noise import noise_settings

TINY = {"n_steps": 8, "policy_kwargs": {"net_arch": [4]}}


@pytest.fixture(scope="module")
def a2c():
    return A2C("MlpPolicy", "CartPole-v1", seed=0, **TINY).learn(16)


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        (
            A2C,
            "learning_rate n_steps gamma gae_lambda ent_coef vf_coef max_grad_norm rms_prop_eps use_rms_prop use_sde "
            "sde_sample_freq rollout_buffer_class rollout_buffer_kwargs normalize_advantage stats_window_size",
        ),
        (
            TD3,
            "learning_rate buffer_size learning_starts batch_size tau gamma train_freq gradient_steps action_noise "
            "replay_buffer_class replay_buffer_kwargs optimize_memory_usage n_steps policy_delay target_policy_noise "
            "target_noise_clip stats_window_size",
        ),
        (
            TQC,
            "learning_rate buffer_size learning_starts batch_size tau gamma train_freq gradient_steps action_noise "
            "replay_buffer_class replay_buffer_kwargs optimize_memory_usage n_steps ent_coef target_update_interval "
            "target_entropy top_quantiles_to_drop_per_net use_sde sde_sample_freq use_sde_at_warmup stats_window_size",
        ),
        (
            TRPO,
            "learning_rate n_steps batch_size gamma cg_max_steps cg_damping line_search_shrinking_factor "
            "line_search_max_iter n_critic_updates gae_lambda use_sde sde_sample_freq rollout_buffer_class "
            "rollout_buffer_kwargs normalize_advantage target_kl sub_sampling_factor stats_window_size",
        ),
        (
            QRDQN,
            "learning_rate buffer_size learning_starts batch_size tau gamma train_freq gradient_steps "
            "replay_buffer_class replay_buffer_kwargs optimize_memory_usage n_steps target_update_interval "
            "exploration_fraction exploration_initial_eps exploration_final_eps max_grad_norm stats_window_size",
        ),
    ],
)
def test_arguments_come_in_the_order_of_stable_baselines3(algorithm, names):
    last = "tensorboard_log policy_kwargs verbose seed device _init_setup_model"
    assert list(inspect.signature(algorithm).parameters) == ["policy", "env", *names.split(), *last.split()]
    says = rf"^{algorithm.__name__}\(\) got an unexpected keyword argument"
    with pytest.raises(TypeError, match=f"{says} 'nonsense'$"):
        algorithm("MlpPolicy", "CartPole-v1", nonsense=1)
    with pytest.raises(TypeError, match=f"{says} 'verbos': did you mean verbose\\?$"):
        algorithm("MlpPolicy", "CartPole-v1", verbos=1)


def test_entropy_and_quantiles_reach_the_algorithm():
    still = NormalActionNoise(np.zeros(1), np.zeros(1))
    kwargs = {"net_arch": [4], "n_quantiles": 7, "n_critics": 3}
    model = TQC("MlpPolicy", "Pendulum-v1", ent_coef="auto_0.1", action_noise=still, policy_kwargs=kwargs)
    assert (str(model.algorithm.ent_coef), model.algorithm.n_quantiles, model.algorithm.n_critics) == ("auto_0.1", 7, 3)
    assert (model.ent_coef, model.action_noise) == ("auto_0.1", still)
    assert model.algorithm.action_noise == 0.0
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.2 * np.ones(1))
    model = SAC("MlpPolicy", "Pendulum-v1", action_noise=noise, policy_kwargs=kwargs | {"net_arch": [4]})
    assert (model.algorithm.action_noise, model.algorithm.noise_type) == (pytest.approx(0.02), "ornstein-uhlenbeck")


def test_defaults_of_tegu_are_those_of_stable_baselines3_where_both_have_them():
    """Of what SB3 says itself, no more than the environment's actions changes."""
    model = A2C("MlpPolicy", "CartPole-v1")
    for name in ("learning_rate", "n_steps", "gamma", "gae_lambda", "ent_coef", "use_rms_prop", "rms_prop_eps"):
        assert getattr(model, name) == getattr(model.algorithm, name) == A2C.usual[name]
    assert (model.use_sde, model.rollout_buffer_class) == (False, None)


@pytest.mark.slow
def test_noise_may_depend_on_the_state():
    kwargs = {"net_arch": [8], "log_std_init": -2, "full_std": False, "use_expln": True}
    model = A2C("MlpPolicy", "Pendulum-v1", use_sde=True, sde_sample_freq=4, policy_kwargs=kwargs)
    algorithm = model.algorithm
    assert (model.use_sde, model.sde_sample_freq) == (algorithm.use_sde, algorithm.sde_sample_freq) == (True, 4)
    before = model.policy.state_dict()
    assert all(array.size for array in before.values())  # not log_std, in place of which there is that of the noise
    model.policy.load_state_dict({name: array + 1 for name, array in before.items()})
    after = model.policy.state_dict()
    assert all((after[name] == before[name] + 1).all() for name in before)
    assert (algorithm.log_std_init, algorithm.full_std, algorithm.use_expln) == (-2, False, True)
    model.learn(100)
    assert model.predict(np.zeros(3, np.float32))[0].shape == (1,)
    model = SAC("MlpPolicy", "Pendulum-v1", use_sde=True, sde_sample_freq=4, use_sde_at_warmup=True)
    assert (model.algorithm.use_sde, model.algorithm.sde_sample_freq) == (True, 4)
    assert (model.algorithm.use_sde_at_warmup, model.algorithm.log_std_init) == (True, -3)


def test_noise_is_the_same_process():
    """One recurrence with SB3's parameters, the other with Tegu's, from the same normal numbers."""
    theta, dt, sigma, rng = 0.3, 0.04, 0.2, np.random.default_rng(0)
    found = noise_settings(OrnsteinUhlenbeckActionNoise(np.zeros(2), sigma * np.ones(2), theta, dt))
    theirs, ours = np.zeros(2), np.zeros(2)
    for normal in rng.normal(size=(50, 2)):
        theirs = theirs + theta * (0 - theirs) * dt + sigma * np.sqrt(dt) * normal
        ours = (1 - found["noise_theta"]) * ours + found["action_noise"] * normal
    np.testing.assert_allclose(ours, theirs)
    assert noise_settings(NormalActionNoise(np.zeros(2), 0.2 * np.ones(2))) == {"action_noise": 0.2}
    assert noise_settings(None) == {"action_noise": None}
    for wrong in (
        NormalActionNoise(np.ones(2), np.ones(2)),
        NormalActionNoise(np.zeros(2), np.array([0.1, 0.2])),
        OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1), initial_noise=np.ones(1)),
        0.1,
    ):
        with pytest.raises(TeguError, match="action_noise must"):
            noise_settings(wrong)


def test_noise_reaches_the_algorithm():
    noise = NormalActionNoise(mean=np.zeros(1), sigma=0.25 * np.ones(1))
    assert (
        TD3("MlpPolicy", "Pendulum-v1", action_noise=noise, policy_kwargs={"net_arch": [4]}).algorithm.action_noise
        == 0.25
    )


@pytest.mark.parametrize(
    ("algorithm", "environment", "critic"),
    [(PPO, "CartPole-v1", "vf"), (TD3, "Pendulum-v1", "qf"), (SAC, "Pendulum-v1", "qf")],
)
def test_critics_may_be_wider_than_actors(algorithm, environment, critic, tmp_path):
    own = {"n_steps": 8, "batch_size": 8} if algorithm is PPO else {"buffer_size": 300}
    model = algorithm("MlpPolicy", environment, policy_kwargs={"net_arch": {"pi": [3], critic: [5, 6]}}, **own)
    biases = {name: array.shape for name, array in model.policy.state_dict().items() if "biases" in name}
    hidden = {"actor": {(3,)}, "critic": {(5,), (6,)}}
    for part, widths in hidden.items():
        found = {shape for name, shape in biases.items() if part in name and "target" not in name}
        assert found & {(3,), (5,), (6,)} == widths
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model")
    assert loaded.policy.state_dict().keys() == model.policy.state_dict().keys()


class AdamW:
    """Named like PyTorch's."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer_class": dict}, "PPO: optimizer_class must be Adam or AdamW in Tegu, got dict"),
        ({"optimizer_kwargs": {"eps": 1e-3}}, "does not support optimizer_class=None, optimizer_kwargs={'eps': 0.001}"),
        ({"optimizer_kwargs": {"weight_decay": 1e-3}}, "does not support .* optimizer_kwargs={'weight_decay': 0.001}"),
        (
            {"features_extractor_class": dict},
            "must be one of NatureCNN, .*, got dict: PyTorch's modules do not run in JAX",
        ),
        ({"share_features_extractor": False}, "must be True in Tegu, got False"),
        ({"normalize_images": False}, "must be True in Tegu with the MlpPolicy, got False"),
        ({"nonsense": 1}, "policy_kwargs\\['nonsense'\\] is not supported"),
    ],
)
def test_what_networks_cannot_be_is_said(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        PPO("MlpPolicy", "CartPole-v1", policy_kwargs=arguments)
    assert isinstance(error.value, AssertionError | TeguError)
    assert "\n" not in str(error.value)


def test_what_changes_nothing_is_taken(a2c):
    usual = {"optimizer_class": AdamW, "optimizer_kwargs": {"weight_decay": 0.0}, "ortho_init": True}
    PPO(MlpPolicy, "CartPole-v1", policy_kwargs=usual | {"share_features_extractor": True, "activation_fn": None})
    with pytest.warns(UserWarning, match="is old"):
        A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [{"pi": [4], "vf": [4]}]})


def test_schedules_are_functions_too(a2c):
    schedule = LinearSchedule(1e-3, 1e-4, 0.5)
    assert [schedule(left) for left in (1.0, 0.75, 0.5, 0.0)] == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])
    assert get_schedule_fn(0.3)(0.5) == 0.3
    model = PPO("MlpPolicy", "CartPole-v1", learning_rate=schedule)
    assert vars(model.algorithm.learning_rate) == pytest.approx({"initial": 1e-3, "final": 1e-4, "fraction": 0.5})
    assert model.learning_rate is schedule
    assert (model.lr_schedule(1.0), model.clip_range(0.5)) == (1e-3, 0.2)


def test_parameters_go_out_and_in(a2c):
    policy = a2c.policy
    before = policy.state_dict()
    vector = policy.parameters_to_vector()
    assert vector.size == sum(array.size for array in before.values())
    policy.load_from_vector(np.zeros_like(vector))
    for each in (policy, a2c.policy):
        assert not any(array.any() for array in each.state_dict().values())
    policy.load_state_dict(before)
    np.testing.assert_array_equal(a2c.policy.parameters_to_vector(), vector)
    name = next(iter(before))
    for wrong, message in (
        ({"nonsense": before[name]}, "nonsense is unknown"),
        ({name: before[name]}, "is missing"),
        (before | {name: np.zeros(99)}, "should be"),
    ):
        with pytest.raises(RuntimeError, match=message):
            policy.load_state_dict(wrong)
    with pytest.raises(ValueError, match="nonsense is unknown"):
        a2c.set_parameters({"nonsense": {}}, exact_match=False)
    with pytest.raises(ValueError, match=r"expected .* numbers"):
        policy.load_from_vector(np.zeros(3))


def test_a_policy_is_saved_alone(a2c, tmp_path):
    a2c.policy.save(tmp_path / "policy")
    loaded = MlpPolicy.load(tmp_path / "policy")
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    expected = a2c.predict(observations, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observations, deterministic=True)[0], expected)
    with pytest.raises(ValueError, match="mixing Gym API"):
        loaded.predict((observations[0], {}))


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../outside", "flat"])
def test_a_file_cannot_write_elsewhere(name, tmp_path):
    with ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(TeguError, match="does not hold an agent"):
        A2C.load(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_a_small_file_does_not_become_a_large_one(tmp_path):
    """What is compressed is not Tegu's: 20 MB of zeros in 20 kB."""
    with ZipFile(tmp_path / "model.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("0/learner.safetensors", bytes(20_000_000))
    assert (tmp_path / "model.zip").stat().st_size < 50_000
    with pytest.raises(TeguError, match="does not hold an agent"):
        A2C.load(tmp_path / "model")


def test_what_was_loaded_reads_as_it_was_given(tmp_path):
    DQN("MlpPolicy", "CartPole-v1", max_grad_norm=None, buffer_size=100).save(tmp_path / "dqn")
    assert DQN.load(tmp_path / "dqn").max_grad_norm is None
    SAC("MlpPolicy", "Pendulum-v1", ent_coef="auto_0.5", buffer_size=300).save(tmp_path / "sac")
    assert SAC.load(tmp_path / "sac").ent_coef == "auto_0.5"


def test_a_damaged_file_is_refused(a2c, tmp_path):
    a2c.save(tmp_path / "model")
    whole = (tmp_path / "model.zip").read_bytes()
    middle = len(whole) // 2
    (tmp_path / "model.zip").write_bytes(
        whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 40]) + whole[middle + 40 :]
    )
    with pytest.raises(TeguError, match=r"damaged|checksum|SHA|agent") as error:
        A2C.load(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_random_actions_are_as_frequent_as_was_set():
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=100, policy_kwargs={"net_arch": [4]}, seed=0)
    observations = np.zeros((4000, 4), np.float32)
    greedy = model.predict(observations, deterministic=True)[0][0]
    for rate in (0.0, 0.5):
        model.exploration_rate = rate
        assert model.exploration_rate == pytest.approx(rate)
        others = (model.predict(observations)[0] != greedy).mean()
        assert others == pytest.approx(rate / 2, abs=0.03)
    with pytest.raises(AttributeError, match="no exploration_rate"):
        A2C("MlpPolicy", "CartPole-v1").exploration_rate = 0.5


def test_actions_have_the_type_of_their_space():
    class Exact(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
        action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float64)

        def reset(self, *, seed=None, options=None):
            return np.zeros(2), {}

    model = A2C("MlpPolicy", Exact(), policy_kwargs={"net_arch": [4]})
    action, _ = model.predict(np.zeros(2))
    assert action.dtype == np.float64
    assert model.action_space.contains(action)


def test_a_logger_writes_where_it_is_told(tmp_path):
    model = A2C("MlpPolicy", "CartPole-v1", **TINY)
    model.set_logger(configure(str(tmp_path), ["csv", "json"]))
    model.learn(24, log_interval=1)
    lines = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert [line["time/total_timesteps"] for line in lines] == [8, 16, 24]
    header, *rows = (tmp_path / "progress.csv").read_text().splitlines()
    assert "train/value_loss" in header
    assert len(rows) == 3
    with pytest.raises(TeguError, match="format_strings must be of stdout"):
        configure(str(tmp_path), ["nonsense"])


def test_environments_are_checked():
    class Wrong(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.full(2, 5, np.float32), {}

        def step(self, action):
            return np.zeros(2, np.float32), 0.0, True, False, {}

    with pytest.raises(AssertionError, match="check_env: reset"):
        check_env(Wrong(), warn=False)
    with pytest.raises(AssertionError, match=r"must be a gymnasium\.Env"):
        check_env(3)


class Game(gymnasium.Env):
    """A screen whose pixels are its time; loses a life every 4 frames, of 2."""

    observation_space = gymnasium.spaces.Box(0, 255, (6, 4, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(3)

    class ale:
        @staticmethod
        def lives():
            return Game.left

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, Game.left = 0, 2
        return self._screen(), {}

    def step(self, action):
        self.t += 1
        Game.left = 2 - self.t // 4
        return self._screen(), self.t - 2.0, Game.left == 0, False, {}

    def _screen(self):
        return np.full((6, 4, 3), self.t, np.uint8)


def test_frames_are_skipped_and_the_brighter_one_is_shown():
    game = MaxAndSkipEnv(Game(), skip=3)
    game.reset()
    seen, reward, *_ = game.step(0)
    assert (seen.max(), reward) == (3, -1 + 0 + 1)
    assert [ClipRewardEnv(Game()).reward(number) for number in (-7, 0, 0.5)] == [-1, 0, 1]


def test_a_lost_life_ends_an_episode_and_not_the_game():
    game = EpisodicLifeEnv(Game())
    game.reset()
    ends = [game.step(0)[2] for _ in range(4)]
    assert ends == [False, False, False, True]
    assert not game.was_real_done
    assert game.reset()[0].max() == 5
    assert [game.step(0)[2] for _ in range(3)] == [False, False, True]
    assert game.reset()[0].max() == 0


def test_games_begin_with_idle_steps():
    game = NoopResetEnv(Game(), noop_max=3)
    begun = {int(game.reset(seed=seed)[0].max()) for seed in range(30)}
    assert begun == {1, 2, 3}


def test_pixels_are_means_of_areas():
    """Of whole blocks exactly; where blocks do not divide the picture, weights sum to one."""
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.integers(0, 255, (6, 4, 1)), 3, axis=2).astype(np.uint8)
    halves = WarpFrame(Game(), width=2, height=3).observation(picture)
    expected = picture[..., 0].reshape(3, 2, 2, 2).mean(axis=(1, 3))
    assert halves.shape == (3, 2, 1)
    assert abs(halves[..., 0] - expected).max() <= 0.5
    assert (WarpFrame(Game(), width=3, height=4).observation(np.full((6, 4, 3), 200, np.uint8)) == 200).all()


class Adam:
    """Named as PyTorch's class."""


def test_a2c_has_the_optimizer_that_is_asked_for():
    assert A2C("MlpPolicy", "CartPole-v1").algorithm.use_rms_prop
    assert not A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"optimizer_class": Adam}).algorithm.use_rms_prop
    for eps, given in ((1e-8, {}), (1e-4, {"optimizer_kwargs": {"eps": 1e-4}})):
        asked = {"optimizer_class": RMSpropTFLike, **given}
        algorithm = A2C("MlpPolicy", "CartPole-v1", policy_kwargs=asked).algorithm
        assert (algorithm.use_rms_prop, algorithm.rms_prop_tf_like, algorithm.rms_prop_eps) == (True, True, eps)
    with pytest.raises(ValueError, match="A2C: optimizer_class must be Adam or AdamW or RMSprop or RMSpropTFLike"):
        A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"optimizer_class": dict})


@pytest.mark.parametrize(
    ("algorithm", "environment"), [(A2C, "CartPole-v1"), (DQN, "CartPole-v1"), (TD3, "Pendulum-v1")]
)
def test_adamw_is_adam_with_pytorchs_decay(algorithm, environment):
    for decay, given in ((1e-2, {}), (0.3, {"weight_decay": 0.3}), (None, {"weight_decay": 0})):
        asked = {"optimizer_class": AdamW, "optimizer_kwargs": given, "net_arch": [4]}
        assert algorithm("MlpPolicy", environment, policy_kwargs=asked).algorithm.weight_decay == decay
    with pytest.raises(ValueError, match="TRPO: Tegu does not support optimizer_class=AdamW"):
        TRPO("MlpPolicy", "CartPole-v1", policy_kwargs={"optimizer_class": AdamW})


def test_a_saved_network_is_not_asked_to_be_another(a2c, tmp_path):
    a2c.save(tmp_path / "model")
    assert A2C.load(tmp_path / "model", policy_kwargs={"net_arch": [4]}).algorithm.net_arch == (4,)
    for asked, says in (
        ({"net_arch": [5]}, "net_arch"),
        ({"activation_fn": "relu"}, "activation 'relu'"),
    ):
        with pytest.raises(ValueError, match=f"A2C: policy_kwargs ask for .*{says}"):
            A2C.load(tmp_path / "model", policy_kwargs=asked)


def test_tables_come_as_often_as_in_sb3():
    assert (PPO.usual_log_interval, TRPO.usual_log_interval, A2C.usual_log_interval) == (1, 1, 100)
    assert QRDQN("MlpPolicy", "CartPole-v1", buffer_size=100).algorithm.learning_starts == 100


def test_the_class_of_a_policy_stands_for_its_name():
    class Seen(gymnasium.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = gymnasium.spaces.Dict({"x": env.observation_space})

        def observation(self, observation):
            return {"x": observation}

    env = Seen(gymnasium.make("CartPole-v1"))
    tiny = TINY | {"batch_size": 8}
    assert PPO(MultiInputPolicy, env, **tiny).algorithm.net_arch == (4,)
    with pytest.raises(AssertionError, match="PPO: observations in a Dict need the MultiInputPolicy, got MlpPolicy"):
        PPO(MlpPolicy, env, **tiny)


def test_bodies_are_trained_where_nothing_can_draw_them(monkeypatch):
    """As on a server without EGL and OSMesa: what draws is wanted only when something is drawn."""

    def nothing():
        raise NoRendererError("MuJoCo needs a display to draw")

    monkeypatch.setattr("tegu.environments.make.choose_renderer", nothing)
    venv = make_vec_env("InvertedPendulum-v5")
    assert venv.reset().shape == (1, 4)
    assert venv.envs[0].render_mode is None
