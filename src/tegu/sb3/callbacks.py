"""Stable-Baselines3's callbacks. They are called after every chunk, a compiled piece of training of many steps.

``on_step`` is therefore called once per chunk, not once per environment step, and there are no ``locals``. A callback
names the ``frequencies`` that it needs, in environment steps over all environments, and no chunk passes a multiple of
one by more than an iteration (a rollout of PPO, ``train_freq`` steps of DQN).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tegu.errors import TeguError
from tegu.sb3.environments import DummyVecEnv, as_vec_env
from tegu.sb3.evaluation import evaluate_policy
from tegu.sb3.logger import Logger
from tegu.sb3.settings import refuse

if TYPE_CHECKING:
    from tegu.sb3.model import BaseAlgorithm

Function = Callable[[dict[str, Any], dict[str, Any]], Any]


class BaseCallback:
    """Derive from this and define ``_on_step``; it returns False to stop the training."""

    model: "BaseAlgorithm"

    def __init__(self, verbose: int = 0):
        self.verbose = verbose
        self.n_calls = 0  #: chunks so far
        self.num_timesteps = 0
        self.parent: BaseCallback | None = None
        self._before = 0  # num_timesteps at the call before

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Steps between the calls that matter; (1000,) unless a class says otherwise."""
        return (1000,)

    @property
    def training_env(self) -> DummyVecEnv | None:
        return self.model.get_env()

    @property
    def logger(self) -> Logger:
        return self.model.logger

    def init_callback(self, model: "BaseAlgorithm") -> None:
        self.model = model
        self._init_callback()

    def on_training_start(self) -> None:
        self.num_timesteps = self._before = self.model.num_timesteps
        self._on_training_start()

    def on_rollout_start(self) -> None:
        self._on_rollout_start()

    def on_step(self) -> bool:
        self.n_calls += 1
        self._before, self.num_timesteps = self.num_timesteps, self.model.num_timesteps
        return bool(self._on_step())

    def on_rollout_end(self) -> None:
        self._on_rollout_end()

    def on_training_end(self) -> None:
        self._on_training_end()

    def crossed(self, frequency: int) -> bool:
        """Whether the steps passed a multiple of ``frequency`` since the call before."""
        return frequency > 0 and self.num_timesteps // frequency > self._before // frequency

    def _init_callback(self) -> None:
        """When the model is known."""

    def _on_training_start(self) -> None:
        """Before the first step."""

    def _on_rollout_start(self) -> None:
        """Before every chunk."""

    def _on_step(self) -> bool:
        """After every chunk."""
        return True

    def _on_rollout_end(self) -> None:
        """After every chunk, after ``_on_step``."""

    def _on_training_end(self) -> None:
        """After the last step, also of a training that fails."""


class CallbackList(BaseCallback):
    """Several callbacks, called in turn. All are called even when one wants to stop."""

    def __init__(self, callbacks: Sequence[BaseCallback]):
        super().__init__()
        self.callbacks = list(callbacks)

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(frequency for callback in self.callbacks for frequency in callback.frequencies)

    def _init_callback(self) -> None:
        for callback in self.callbacks:
            callback.parent = self.parent
            callback.init_callback(self.model)

    def _on_training_start(self) -> None:
        for callback in self.callbacks:
            callback.on_training_start()

    def _on_rollout_start(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_start()

    def _on_step(self) -> bool:
        wishes = [callback.on_step() for callback in self.callbacks]
        return all(wishes)

    def _on_rollout_end(self) -> None:
        for callback in self.callbacks:
            callback.on_rollout_end()

    def _on_training_end(self) -> None:
        for callback in self.callbacks:
            callback.on_training_end()


class ConvertCallback(BaseCallback):
    """A plain function of two dicts, as SB3's old style: the first holds the model as ``"self"``."""

    def __init__(self, callback: Function, verbose: int = 0):
        super().__init__(verbose)
        self.callback = callback

    def _on_step(self) -> bool:
        return bool(self.callback({"self": self.model, "num_timesteps": self.num_timesteps}, {}))


class EventCallback(BaseCallback):
    """Calls another callback when something happens."""

    def __init__(self, callback: BaseCallback | None = None, verbose: int = 0):
        super().__init__(verbose)
        self.callback = callback

    @property
    def children(self) -> list[BaseCallback]:
        return [self.callback] if self.callback is not None else []

    def init_callback(self, model: "BaseAlgorithm") -> None:
        super().init_callback(model)
        for child in self.children:
            child.parent = self
            child.init_callback(model)

    def _on_training_start(self) -> None:
        for child in self.children:
            child.on_training_start()

    def _on_event(self) -> bool:
        return self.callback is None or self.callback.on_step()


class EveryNTimesteps(EventCallback):
    """Calls another callback every ``n_steps``."""

    def __init__(self, n_steps: int, callback: BaseCallback):
        super().__init__(callback)
        self.n_steps = n_steps

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.n_steps,)

    def _on_step(self) -> bool:
        return self._on_event() if self.crossed(self.n_steps) else True


class CheckpointCallback(BaseCallback):
    """Saves the model every ``save_freq`` steps as the folder ``<save_path>/<name_prefix>_<steps>_steps``."""

    def __init__(
        self,
        save_freq: int,
        save_path: str,
        name_prefix: str = "rl_model",
        save_replay_buffer: bool = False,
        save_vecnormalize: bool = False,
        verbose: int = 0,
    ):
        super().__init__(verbose)
        refuse("CheckpointCallback", save_replay_buffer=save_replay_buffer, save_vecnormalize=save_vecnormalize)
        self.save_freq, self.save_path, self.name_prefix = save_freq, save_path, name_prefix

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.save_freq,)

    def _on_step(self) -> bool:
        if self.crossed(self.save_freq):
            path = Path(self.save_path) / f"{self.name_prefix}_{self.num_timesteps}_steps"
            self.model.save(path)
            if self.verbose >= 2:
                print(f"Saved the model to {path}")
        return True


class EvalCallback(EventCallback):
    """Evaluates the model every ``eval_freq`` steps, and saves and announces the best one.

    ``<log_path>/evaluations.npz`` holds ``timesteps`` ``[k]``, and ``results`` and ``ep_lengths`` ``[k, episodes]``.
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

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.eval_freq,)

    @property
    def children(self) -> list[BaseCallback]:
        return [*super().children, *([self.callback_on_new_best] if self.callback_on_new_best is not None else [])]

    def _on_step(self) -> bool:
        if not self.crossed(self.eval_freq):
            return True
        returns, lengths = evaluate_policy(
            self.model,
            self.eval_env,
            n_eval_episodes=self.n_eval_episodes,
            deterministic=self.deterministic,
            render=self.render,
            return_episode_rewards=True,
        )
        assert isinstance(returns, list)
        assert isinstance(lengths, list)
        self._keep(returns, lengths)
        return (self._on_new_best() if self.last_mean_reward > self.best_mean_reward else True) and self._on_event()

    def _keep(self, returns: list[float], lengths: list[int]) -> None:
        """Remember, print, log and write the returns and lengths of an evaluation's episodes."""
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
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.log_path is not None:
            Path(self.log_path).mkdir(parents=True, exist_ok=True)
            np.savez(
                Path(self.log_path) / "evaluations.npz",
                timesteps=self.evaluations_timesteps,
                results=self.evaluations_results,
                ep_lengths=self.evaluations_length,
            )

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


class ProgressBarCallback(BaseCallback):
    """A progress bar in the terminal."""

    def _on_training_start(self) -> None:
        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn()
        self._bar = Progress(*columns)
        self._task = self._bar.add_task("steps", total=self.model.total_timesteps, completed=self.num_timesteps)
        self._bar.start()

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (max(self.model.total_timesteps // 100, 1),)

    def _on_step(self) -> bool:
        self._bar.update(self._task, completed=self.num_timesteps)
        return True

    def _on_training_end(self) -> None:
        self._bar.stop()


def as_callback(callback: Any, progress_bar: bool) -> CallbackList:
    """Whatever ``learn`` takes for callbacks, as one."""
    given = callback if isinstance(callback, list | tuple) else [] if callback is None else [callback]
    callbacks = [each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in given]
    return CallbackList([*callbacks, *([ProgressBarCallback()] if progress_bar else [])])
