"""The algorithms with Stable-Baselines3's constructors: the same arguments, their order and their defaults."""

from typing import Any

from tegu.sb3.base import BaseAlgorithm

_MODEL = {"tensorboard_log": None, "policy_kwargs": None, "verbose": 0, "seed": None, "device": "auto"}
_LAST: dict[str, Any] = {**_MODEL, "_init_setup_model": True}
_SDE = {"use_sde": False, "sde_sample_freq": -1}
_ROLLOUT_BUFFER = {"rollout_buffer_class": None, "rollout_buffer_kwargs": None}
_REPLAY_BUFFER = {
    "replay_buffer_class": None,
    "replay_buffer_kwargs": None,
    "optimize_memory_usage": False,
    "n_steps": 1,
}
_WINDOW = {"stats_window_size": 100}
_ACTOR_CRITIC = {
    "learning_rate": 1e-3,
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "batch_size": 256,
    "tau": 0.005,
    "gamma": 0.99,
    "train_freq": 1,
    "gradient_steps": 1,
    "action_noise": None,
    **_REPLAY_BUFFER,
}
_SOFT = {
    **_ACTOR_CRITIC,
    "learning_rate": 3e-4,
    "ent_coef": "auto",
    "target_update_interval": 1,
    "target_entropy": "auto",
}


class PPO(BaseAlgorithm):
    """Proximal policy optimisation: ``tegu.PPO`` behind SB3's constructor. ``device`` is JAX's to choose."""

    name = "ppo"
    usual = {  # noqa: RUF012
        "learning_rate": 3e-4,
        "n_steps": 2048,
        "batch_size": 64,
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "clip_range_vf": None,
        "normalize_advantage": True,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        **_SDE,
        **_ROLLOUT_BUFFER,
        "target_kl": None,
        **_WINDOW,
        **_LAST,
    }


class DQN(BaseAlgorithm):
    """Deep Q-network: ``tegu.DQN`` behind SB3's constructor. ``device`` is JAX's to choose."""

    name = "dqn"
    usual = {  # noqa: RUF012
        "learning_rate": 1e-4,
        "buffer_size": 1_000_000,
        "learning_starts": 100,
        "batch_size": 32,
        "tau": 1.0,
        "gamma": 0.99,
        "train_freq": 4,
        "gradient_steps": 1,
        **_REPLAY_BUFFER,
        "target_update_interval": 10000,
        "exploration_fraction": 0.1,
        "exploration_initial_eps": 1.0,
        "exploration_final_eps": 0.05,
        "max_grad_norm": 10,
        **_WINDOW,
        **_LAST,
    }


class DDPG(BaseAlgorithm):
    """Deep deterministic policy gradient: ``tegu.DDPG`` behind SB3's constructor, without noise unless it is given."""

    name = "ddpg"
    behind_images, shares_extractor = (256, 256), False
    usual = {**_ACTOR_CRITIC, **_LAST}  # noqa: RUF012


class TD3(BaseAlgorithm):
    """Twin delayed DDPG: ``tegu.TD3`` behind SB3's constructor, without noise unless it is given."""

    name = "td3"
    behind_images, shares_extractor = (256, 256), False
    usual = {  # noqa: RUF012
        **_ACTOR_CRITIC,
        "policy_delay": 2,
        "target_policy_noise": 0.2,
        "target_noise_clip": 0.5,
        **_WINDOW,
        **_LAST,
    }


class SAC(BaseAlgorithm):
    """Soft actor-critic: ``tegu.SAC`` behind SB3's constructor."""

    name = "sac"
    behind_images, shares_extractor = (256, 256), False
    usual = {**_SOFT, **_SDE, "use_sde_at_warmup": False, **_WINDOW, **_LAST}  # noqa: RUF012


class TQC(BaseAlgorithm):
    """Truncated quantile critics: ``tegu.TQC`` behind the constructor of SB3-contrib.

    ``policy_kwargs`` may hold ``n_quantiles`` and ``n_critics``.
    """

    name = "tqc"
    behind_images, shares_extractor = (256, 256), False
    usual = {  # noqa: RUF012
        **_SOFT,
        "top_quantiles_to_drop_per_net": 2,
        **_SDE,
        "use_sde_at_warmup": False,
        **_WINDOW,
        **_LAST,
    }


class A2C(BaseAlgorithm):
    """Advantage actor-critic: ``tegu.A2C`` behind SB3's constructor."""

    name = "a2c"
    usual_log_interval = 100
    usual = {  # noqa: RUF012
        "learning_rate": 7e-4,
        "n_steps": 5,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "rms_prop_eps": 1e-5,
        "use_rms_prop": True,
        **_SDE,
        **_ROLLOUT_BUFFER,
        "normalize_advantage": False,
        **_WINDOW,
        **_LAST,
    }


class TRPO(BaseAlgorithm):
    """Trust region policy optimisation: ``tegu.TRPO`` behind the constructor of SB3-contrib."""

    name = "trpo"
    usual = {  # noqa: RUF012
        "learning_rate": 1e-3,
        "n_steps": 2048,
        "batch_size": 128,
        "gamma": 0.99,
        "cg_max_steps": 15,
        "cg_damping": 0.1,
        "line_search_shrinking_factor": 0.8,
        "line_search_max_iter": 10,
        "n_critic_updates": 10,
        "gae_lambda": 0.95,
        **_SDE,
        **_ROLLOUT_BUFFER,
        "normalize_advantage": True,
        "target_kl": 0.01,
        "sub_sampling_factor": 1,
        **_WINDOW,
        **_LAST,
    }


class QRDQN(BaseAlgorithm):
    """Quantile regression DQN: ``tegu.QRDQN`` behind the constructor of SB3-contrib.

    ``policy_kwargs`` may hold ``n_quantiles``.
    """

    name = "qr-dqn"
    usual = {  # noqa: RUF012
        **DQN.usual,
        "learning_rate": 5e-5,
        "exploration_fraction": 0.005,
        "exploration_final_eps": 0.01,
        "max_grad_norm": None,
    }
