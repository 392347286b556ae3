"""Stable-Baselines3's callbacks that evaluate while a model learns."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tegu.environments.adapters.contract import success_of
from tegu.sb3.callbacks import BaseCallback, EventCallback
from tegu.sb3.environments import DummyVecEnv, as_vec_env
from tegu.sb3.errors import ArgumentError
from tegu.sb3.evaluation import evaluate_policy
from tegu.sb3.vec_env import VecEnv
from tegu.sb3.vec_normalize import sync_envs_normalization, unwrap_vec_normalize


class EvalCallback(EventCallback):
    """Evaluates the model every ``eval_freq`` calls of ``step``, and saves and announces the best one.

    ``<log_path>/evaluations.npz`` holds ``timesteps`` ``[k]``, and ``results`` and ``ep_lengths`` ``[k, episodes]``,
    and ``successes`` where the infos of last steps hold ``is_success``.
    """

    def __init__(
        self,
        eval_env: Any,
        callback_on_new_best: BaseCallback | None = None,
        callback_after_eval: BaseCallback | None = None,
        n_eval_episodes: int = 5,
        eval_freq: int = 10000,
        log_path: str | None = None,
        best_model_save_path: str | None = None,
        deterministic: bool = True,
        render: bool = False,
        verbose: int = 1,
        warn: bool = True,
    ):
        super().__init__(callback_after_eval, verbose)
        self.eval_env = as_vec_env(eval_env)
        self.callback_on_new_best = callback_on_new_best
        if callback_on_new_best is not None:
            callback_on_new_best.parent = self
        self.n_eval_episodes, self.eval_freq = n_eval_episodes, eval_freq
        self.log_path, self.best_model_save_path = log_path, best_model_save_path
        self.deterministic, self.render, self.warn = deterministic, render, warn
        self.best_mean_reward = self.last_mean_reward = -np.inf
        self.evaluations_timesteps: list[int] = []
        self.evaluations_results: list[list[float]] = []
        self.evaluations_length: list[list[int]] = []
        self.evaluations_successes: list[list[bool]] = []
        self._is_success_buffer: list[bool] = []  # of the last evaluation

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.eval_freq * self.model.n_envs,)

    @property
    def children(self) -> list[BaseCallback]:
        return [*super().children, *([self.callback_on_new_best] if self.callback_on_new_best is not None else [])]

    def _on_training_start(self) -> None:
        super()._on_training_start()
        if _environments(self.model._env) & _environments(self.eval_env):
            warnings.warn(
                "EvalCallback plays in an environment that the model trains in, whose episode is cut at each "
                "evaluation: give it an environment of its own",
                stacklevel=2,
            )

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq:
            return True
        self._follow_normalization()
        said: list[bool | None] = []

        def keep_success(seen: dict[str, Any], _: dict[str, Any]) -> None:
            if seen["done"]:
                said.append(success_of(seen["info"]))

        returns, lengths = evaluate_policy(
            self.model,
            self.eval_env,
            n_eval_episodes=self.n_eval_episodes,
            deterministic=self.deterministic,
            render=self.render,
            callback=keep_success,
            return_episode_rewards=True,
            warn=self.warn,
        )
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        said += [None] * (len(returns) - len(said))  # of episodes without an end, which were cut
        known = any(success is not None for success in said)
        self._keep(returns, lengths, [bool(success) for success in said] if known else [])
        return (self._on_new_best() if self.last_mean_reward > self.best_mean_reward else True) and self._on_event()

    def _follow_normalization(self) -> None:
        """Normalise as training does."""
        training = self.model.get_vec_normalize_env()
        if training is None and unwrap_vec_normalize(self.eval_env) is None:
            return
        if training is None or unwrap_vec_normalize(self.eval_env) is None:
            warnings.warn("the environments of training and evaluation are not normalised alike", stacklevel=2)
            raise ArgumentError("EvalCallback: VecNormalize must be around both environments, or around neither")
        sync_envs_normalization(training, self.eval_env)

    def _keep(self, returns: list[float], lengths: list[int], successes: list[bool]) -> None:
        """Remember, print, log and write the returns, lengths and successes of an evaluation's episodes."""
        self.evaluations_timesteps.append(self.num_timesteps)
        self.evaluations_results.append(returns)
        self.evaluations_length.append(lengths)
        self.last_mean_reward = float(np.mean(returns))
        self._is_success_buffer = successes
        if self.verbose:
            print(
                f"After {self.num_timesteps:,} steps: mean reward {self.last_mean_reward:.2f} +/- {np.std(returns):.2f}"
            )
        self.logger.record("eval/mean_reward", self.last_mean_reward)
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        if successes:
            self.evaluations_successes.append(successes)
            if self.verbose:
                print(f"Success rate: {np.mean(successes):.2%}")
            self.logger.record("eval/success_rate", float(np.mean(successes)))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.log_path is not None:
            Path(self.log_path).mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = {
                "timesteps": self.evaluations_timesteps,
                "results": self.evaluations_results,
                "ep_lengths": self.evaluations_length,
            }
            if self.evaluations_successes:
                arrays["successes"] = self.evaluations_successes
            np.savez(Path(self.log_path) / "evaluations.npz", **arrays)

    def _on_new_best(self) -> bool:
        self.best_mean_reward = self.last_mean_reward
        if self.verbose:
            print("New best mean reward!")
        if self.best_model_save_path is not None:
            self.model.save(Path(self.best_model_save_path) / "best_model")
        return self.callback_on_new_best is None or self.callback_on_new_best.on_step()


class StopTrainingOnRewardThreshold(BaseCallback):
    """Stops once the best mean reward of the ``EvalCallback`` that calls it reaches ``reward_threshold``."""

    def __init__(self, reward_threshold: float, verbose: int = 0):
        super().__init__(verbose)
        self.reward_threshold = reward_threshold

    def _on_step(self) -> bool:
        best = evaluation_of(self, "callback_on_new_best").best_mean_reward
        reached = bool(best >= self.reward_threshold)
        if reached and self.verbose:
            print(f"Stopping: mean reward {best:.2f} reached {self.reward_threshold}")
        return not reached


class StopTrainingOnNoModelImprovement(BaseCallback):
    """Stops after ``max_no_improvement_evals`` evaluations in a row without a new best one, from ``min_evals`` on."""

    def __init__(self, max_no_improvement_evals: int, min_evals: int = 0, verbose: int = 0):
        super().__init__(verbose)
        self.max_no_improvement_evals, self.min_evals = max_no_improvement_evals, min_evals
        self.last_best_mean_reward = -np.inf
        self.no_improvement_evals = 0

    def _on_step(self) -> bool:
        best = evaluation_of(self, "callback_after_eval").best_mean_reward
        if self.n_calls <= self.min_evals:
            self.last_best_mean_reward = best
            return True
        self.no_improvement_evals = 0 if best > self.last_best_mean_reward else self.no_improvement_evals + 1
        self.last_best_mean_reward = best
        stop = self.no_improvement_evals > self.max_no_improvement_evals
        if stop and self.verbose:
            print(f"Stopping: no new best model in the last {self.no_improvement_evals} evaluations")
        return not stop


def evaluation_of(callback: BaseCallback, argument: str) -> EvalCallback:
    """The ``EvalCallback`` that calls a callback."""
    if not isinstance(callback.parent, EvalCallback):
        raise ArgumentError(f"{type(callback).__name__} belongs in an EvalCallback, as its {argument}")
    return callback.parent


def _environments(vector: VecEnv | None) -> set[int]:
    """Which environments are in a vector that somebody steps."""
    inside = vector.unwrapped if vector is not None else None
    if not isinstance(inside, DummyVecEnv) or inside.stands_for is not None:
        return set()
    return {id(env.unwrapped) for env in inside.watched}
