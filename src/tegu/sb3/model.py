"""``PPO`` and ``DQN`` with Stable-Baselines3's constructors."""

from typing import Any, Self

from tegu.sb3.base import BaseAlgorithm
from tegu.sb3.settings import changed, policy_settings, refuse


class PPO(BaseAlgorithm):
    """Proximal policy optimisation: ``tegu.PPO`` behind SB3's constructor. ``device`` is JAX's to choose."""

    name = "ppo"
    networks = ("network",)

    def __init__(
        self,
        policy: str,
        env: Any,
        learning_rate: Any = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: Any = 0.2,
        clip_range_vf: Any = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: Any = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: Any = "auto",
        _init_setup_model: bool = True,
    ):
        refuse("PPO", use_sde=use_sde, rollout_buffer_class=rollout_buffer_class)
        refuse("PPO", rollout_buffer_kwargs=rollout_buffer_kwargs)
        settings = {
            "learning_rate": learning_rate,
            "n_steps": n_steps,
            "batch_size": batch_size,
            "n_epochs": n_epochs,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "clip_range": clip_range,
            "clip_range_vf": clip_range_vf,
            "normalize_advantage": normalize_advantage,
            "ent_coef": ent_coef,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "target_kl": target_kl,
        }
        self._setup(
            changed(policy_settings("PPO", policy, policy_kwargs), settings),
            seed=seed,
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            stats_window_size=stats_window_size,
        )
        self._attach(env, fresh=True)

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 1,
        tb_log_name: str = "PPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps``, rounded up to whole rollouts.

        ``reset_num_timesteps=False`` goes on exactly where training stopped. ``log_interval`` counts rollouts between
        two tables (``verbose=1``) and TensorBoard points; None is never.
        """
        return self._learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)


class DQN(BaseAlgorithm):
    """Deep Q-network: ``tegu.DQN`` behind SB3's constructor. ``device`` is JAX's to choose."""

    name = "dqn"
    networks = ("online", "target")

    def __init__(
        self,
        policy: str,
        env: Any,
        learning_rate: Any = 1e-4,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: Any = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int = 10000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: Any = "auto",
        _init_setup_model: bool = True,
    ):
        refuse("DQN", optimize_memory_usage=optimize_memory_usage)
        settings = {
            "learning_rate": learning_rate,
            "buffer_size": buffer_size,
            "learning_starts": learning_starts,
            "batch_size": batch_size,
            "tau": tau,
            "gamma": gamma,
            "train_freq": train_freq,
            "gradient_steps": gradient_steps,
            "replay_buffer_class": replay_buffer_class,
            "replay_buffer_kwargs": replay_buffer_kwargs,
            "n_steps": n_steps,
            "target_update_interval": target_update_interval,
            "exploration_fraction": exploration_fraction,
            "exploration_initial_eps": exploration_initial_eps,
            "exploration_final_eps": exploration_final_eps,
            "max_grad_norm": max_grad_norm,
        }
        self._setup(
            changed(policy_settings("DQN", policy, policy_kwargs), settings),
            seed=seed,
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            stats_window_size=stats_window_size,
        )
        self._attach(env, fresh=True)

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 4,
        tb_log_name: str = "DQN",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for ``total_timesteps``, rounded up to whole rounds of ``train_freq`` steps.

        ``reset_num_timesteps=False`` goes on exactly where training stopped. ``log_interval`` counts episodes between
        two tables (``verbose=1``) and TensorBoard points; None is never.
        """
        return self._learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
