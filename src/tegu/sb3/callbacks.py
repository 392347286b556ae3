"""Stable-Baselines3's callbacks. They are called between compiled pieces of training of many steps each.

``on_step`` is therefore called once per piece, not once per environment step, and there are no ``locals``. A callback
names the ``frequencies`` that it needs, in environment steps over all environments: it is called at the multiples of
each, to within an iteration (a rollout of PPO, ``train_freq`` steps of DQN).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tegu.core.errors import TeguError
from tegu.sb3.environments import DummyVecEnv
from tegu.sb3.logger import Logger
from tegu.sb3.settings import refuse

Function = Callable[[dict[str, Any], dict[str, Any]], Any]


class BaseCallback:
    """Derive from this and define ``_on_step``; it returns False to stop the training."""

    model: Any  #: a ``BaseAlgorithm``

    def __init__(self, verbose: int = 0):
        self.verbose = verbose
        self.n_calls = 0  #: calls of ``on_step`` so far
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

    def init_callback(self, model: Any) -> None:
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
        """Before every compiled piece of training."""

    def _on_step(self) -> bool:
        """After every compiled piece of training."""
        return True

    def _on_rollout_end(self) -> None:
        """After ``_on_step``."""

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

    def init_callback(self, model: Any) -> None:
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
    if odd := [each for each in given if not (isinstance(each, BaseCallback) or callable(each))]:
        raise TeguError(f"callback must be a BaseCallback, a function, or a list of these, got {shorten(odd[0])}")
    callbacks = [each if isinstance(each, BaseCallback) else ConvertCallback(each) for each in given]
    return CallbackList([*callbacks, *([ProgressBarCallback()] if progress_bar else [])])
