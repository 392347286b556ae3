"""Returns of whole episodes: ``evaluate_policy``, and the callbacks that evaluate while a model learns."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tegu.acting.evaluation import LONGEST
from tegu.core.errors import TeguError
from tegu.environments.adapters.contract import success_of
from tegu.sb3.callbacks import BaseCallback, EventCallback
from tegu.sb3.environments import as_vec_env
from tegu.sb3.monitor import Monitor


def evaluate_policy(
    model: Any,
    env: Any,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
    reward_threshold: float | None = None,
    return_episode_rewards: bool = False,
    warn: bool = True,
) -> tuple[float, float] | tuple[list[float], list[int]]:
    """Mean and standard deviation of the return over ``n_eval_episodes``, or lists of returns and lengths.

    ``model`` has SB3's ``predict``. Each environment of a vector plays its part of the episodes, so that short ones
    are not favoured. An episode without end is cut after ``LONGEST`` steps. Rewards are the monitor's, before outer
    wrappers change them. ``warn`` has no use here: every environment is monitored.
    """
    vector = as_vec_env(env)
    n = vector.num_envs
    due = np.array([(n_eval_episodes + i) // n for i in range(n)])
    played = np.zeros(n, int)
    returns: list[float] = []
    lengths: list[int] = []
    observation, state, starts = vector.reset(), None, np.ones(n, bool)
    while (played < due).any():
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=deterministic)
        observation, _, starts, infos = vector.step(action)
        cut = np.array([env.episode_length >= LONGEST for env in vector.monitors]) & ~starts
        for i in map(int, np.flatnonzero(played < due)):
            if callback is not None:
                callback({"model": model, "env": vector, "i": i, "done": starts[i], "info": infos[i]}, {})
            if episode := _cut_short(vector.monitors[i]) if cut[i] else infos[i].get("episode"):
                returns.append(episode["r"])
                lengths.append(episode["l"])
                played[i] += 1
        if cut.any():
            observation, starts = vector.begin_anew(cut), starts | cut
        if render:
            vector.render()
    mean = float(np.mean(returns))
    if reward_threshold is not None and mean <= reward_threshold:
        raise TeguError(f"mean reward {mean:.2f} is not above the threshold of {reward_threshold:.2f}")
    return (returns, lengths) if return_episode_rewards else (mean, float(np.std(returns)))


class EvalCallback(EventCallback):
    """Evaluates the model every ``eval_freq`` steps, and saves and announces the best one.

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
        self.n_eval_episodes, self.eval_freq = n_eval_episodes, eval_freq
        self.log_path, self.best_model_save_path = log_path, best_model_save_path
        self.deterministic, self.render = deterministic, render
        self.best_mean_reward = self.last_mean_reward = -np.inf
        self.evaluations_timesteps: list[int] = []
        self.evaluations_results: list[list[float]] = []
        self.evaluations_length: list[list[int]] = []
        self.evaluations_successes: list[list[bool]] = []

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.eval_freq,)

    @property
    def children(self) -> list[BaseCallback]:
        return [*super().children, *([self.callback_on_new_best] if self.callback_on_new_best is not None else [])]

    def _on_training_start(self) -> None:
        super()._on_training_start()
        env = self.model._env
        training = env.monitors if env is not None and env.stands_for is None else []
        if {id(env.unwrapped) for env in training} & {id(env.unwrapped) for env in self.eval_env.monitors}:
            warnings.warn(
                "EvalCallback plays in an environment that the model trains in, whose episode is cut at each "
                "evaluation: give it an environment of its own",
                stacklevel=2,
            )

    def _on_step(self) -> bool:
        if not self.crossed(self.eval_freq):
            return True
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
        )
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        said += [None] * (len(returns) - len(said))  # of episodes without an end, which were cut
        known = any(success is not None for success in said)
        self._keep(returns, lengths, [bool(success) for success in said] if known else [])
        return (self._on_new_best() if self.last_mean_reward > self.best_mean_reward else True) and self._on_event()

    def _keep(self, returns: list[float], lengths: list[int], successes: list[bool]) -> None:
        """Remember, print, log and write the returns, lengths and successes of an evaluation's episodes."""
        self.evaluations_timesteps.append(self.num_timesteps)
        self.evaluations_results.append(returns)
        self.evaluations_length.append(lengths)
        self.last_mean_reward = float(np.mean(returns))
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
        if not isinstance(self.parent, EvalCallback):
            raise TeguError("StopTrainingOnRewardThreshold belongs in an EvalCallback, as its callback_on_new_best")
        reached = self.parent.best_mean_reward >= self.reward_threshold
        if reached and self.verbose:
            print(f"Stopping: mean reward {self.parent.best_mean_reward:.2f} reached {self.reward_threshold}")
        return not reached


def _cut_short(env: Monitor) -> dict[str, Any]:
    return {"r": env.episode_return, "l": env.episode_length}
