"""Callbacks of Stable-Baselines3's that save, stop, log, and show how far training has come."""

from collections.abc import Callable
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tegu.sb3.callbacks import BaseCallback, CallbackList, ConvertCallback, EveryNTimesteps
from tegu.sb3.errors import WrongTypeError


class LogEveryNTimesteps(EveryNTimesteps):
    """Prints and writes what is logged every ``n_steps``."""

    def __init__(self, n_steps: int):
        super().__init__(n_steps, ConvertCallback(self._log))

    def _log(self, _locals: dict[str, Any], _globals: dict[str, Any]) -> bool:
        self.logger.dump(self.num_timesteps)
        return True


class StopTrainingOnMaxEpisodes(BaseCallback):
    """Stops after ``max_episodes`` for each environment, those of ``learn`` so far where environments are in JAX."""

    def __init__(self, max_episodes: int, verbose: int = 0):
        super().__init__(verbose)
        self.max_episodes, self.n_episodes = max_episodes, 0

    def _on_step(self) -> bool:
        there = "dones" in self.locals
        self.n_episodes = self.n_episodes + int(sum(self.locals["dones"])) if there else int(self.locals["episodes"])
        reached = self.n_episodes >= self.max_episodes * self.model.n_envs
        if reached and self.verbose:
            print(f"Stopping: {self.n_episodes} episodes after {self.num_timesteps:,} steps")
        return not reached


class CheckpointCallback(BaseCallback):
    """Saves the model every ``save_freq`` calls of ``step`` as ``<save_path>/<name_prefix>_<steps>_steps.zip``.

    Also the replay buffer and the statistics of ``VecNormalize``, if asked to, under SB3's names, which end in
    ``.pkl``: there is no pickle in them.
    """

    def __init__(
        self,
        save_freq: int,
        save_path: str | Path,
        name_prefix: str = "rl_model",
        save_replay_buffer: bool = False,
        save_vecnormalize: bool = False,
        verbose: int = 0,
    ):
        super().__init__(verbose)
        self.save_freq, self.save_path, self.name_prefix = save_freq, save_path, name_prefix
        self.save_replay_buffer, self.save_vecnormalize = save_replay_buffer, save_vecnormalize

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.save_freq * self.model.n_envs,)

    def _on_step(self) -> bool:
        if self.save_freq > 0 and not self.n_calls % self.save_freq:
            self._save("model", self._path("", "zip"), self.model.save)
            if self.save_replay_buffer and self.model.replay_buffer is not None:
                self._save("replay buffer", self._path("replay_buffer_", "pkl"), self.model.save_replay_buffer)
            if self.save_vecnormalize and (normalize := self.model.get_vec_normalize_env()) is not None:
                self._save("VecNormalize", self._path("vecnormalize_", "pkl"), normalize.save)
        return True

    def _path(self, kind: str, ending: str) -> Path:
        return Path(self.save_path) / f"{self.name_prefix}_{kind}{self.num_timesteps}_steps.{ending}"

    def _save(self, what: str, path: Path, save: Callable[[Path], Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path)
        if self.verbose >= 2:
            print(f"Saved the {what} to {path}")


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

    def _on_rollout_end(self) -> None:
        self._bar.update(self._task, completed=self.num_timesteps)

    def _on_training_end(self) -> None:
        self._bar.stop()


def as_callback(callback: Any, progress_bar: bool) -> CallbackList:
    """Whatever ``learn`` takes for callbacks, as one."""
    given = callback if isinstance(callback, list | tuple) else [] if callback is None else [callback]
    if odd := [each for each in given if not (isinstance(each, BaseCallback) or callable(each))]:
        raise WrongTypeError(f"callback must be a BaseCallback, a function, or a list of these, got {shorten(odd[0])}")
    callbacks = [each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in given]
    return CallbackList([*callbacks, *([ProgressBarCallback()] if progress_bar else [])])
