"""Stable-Baselines3's callbacks. They are called between compiled pieces of training of many steps each.

After each piece ``on_step`` is called once for every step of the vectorised environment that was taken in it, with
SB3's counts; the model is what it is at the end of the piece. A callback names its ``frequencies``, in environment
steps over all environments: pieces end at the multiples of each, to within an iteration (a rollout of PPO,
``train_freq`` steps of DQN).
"""

from collections.abc import Callable, Sequence
from typing import Any

from tegu.core.errors import TeguError
from tegu.sb3.logger import Logger
from tegu.sb3.vec_env import VecEnv

Function = Callable[[dict[str, Any], dict[str, Any]], Any]


class Locals(dict[str, Any]):
    """What callbacks may look at: the model as ``self``, and ``num_timesteps``.

    Of environments stepped in Python also ``new_obs``, ``actions``, ``rewards``, ``dones`` and ``infos`` of the step.
    Of those in JAX ``new_obs`` of the last step of each piece.
    """

    def __missing__(self, name: str) -> Any:
        known = ", ".join(self) or "nothing"
        raise _NotThereError(
            f"locals has no {name}, it has {known}: rewards, dones, infos... are there where environments are stepped "
            "in Python: give the model make_vec_env(...) instead of a name"
        )


class _NotThereError(TeguError, KeyError):
    __str__ = Exception.__str__


class BaseCallback:
    """Derive from this and define ``_on_step``; it returns False to stop the training."""

    model: Any  #: a ``BaseAlgorithm``

    def __init__(self, verbose: int = 0):
        self.verbose = verbose
        self.n_calls = 0  #: calls of ``on_step`` so far
        self.num_timesteps = 0
        self.parent: BaseCallback | None = None
        self.locals: dict[str, Any] = Locals()
        self.globals: dict[str, Any] = {}

    @property
    def frequencies(self) -> tuple[int, ...]:
        """Steps between the calls that matter; (1000,) unless a class says otherwise."""
        return (1000,)

    @property
    def children(self) -> list["BaseCallback"]:
        """The callbacks that this one calls."""
        return []

    @property
    def training_env(self) -> VecEnv | None:
        return self.model.get_env()

    @property
    def logger(self) -> Logger:
        return self.model.logger

    def init_callback(self, model: Any) -> None:
        self.model = model
        self._init_callback()

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        self.locals, self.globals = locals_, globals_
        self.num_timesteps = self.model.num_timesteps
        self._on_training_start()

    def on_rollout_start(self) -> None:
        self._on_rollout_start()

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """Take over what may be looked at now, for this callback and those that it calls."""
        self.locals.update(locals_)
        self.update_child_locals(locals_)

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        for child in self.children:
            child.update_locals(locals_)

    def on_step(self) -> bool:
        self.n_calls += 1
        self.num_timesteps = self.locals.get("num_timesteps", self.model.num_timesteps)
        return bool(self._on_step())

    def on_rollout_end(self) -> None:
        self._on_rollout_end()

    def on_training_end(self) -> None:
        self._on_training_end()

    def _init_callback(self) -> None:
        """When the model is known."""

    def _on_training_start(self) -> None:
        """Before the first step."""

    def _on_rollout_start(self) -> None:
        """Before every compiled piece of training."""

    def _on_step(self) -> bool:
        """For every step of the vectorised environment, after the compiled piece of training that it is in."""
        return True

    def _on_rollout_end(self) -> None:
        """After the ``_on_step`` of all steps of a piece."""

    def _on_training_end(self) -> None:
        """After the last step, also of a training that fails."""


class CallbackList(BaseCallback):
    """Several callbacks, called in turn. All are called even when one wants to stop."""

    def __init__(self, callbacks: Sequence[BaseCallback]):
        super().__init__()
        self.callbacks = list(callbacks)

    @property
    def children(self) -> list[BaseCallback]:
        return self.callbacks

    @property
    def frequencies(self) -> tuple[int, ...]:
        return tuple(frequency for callback in self.callbacks for frequency in callback.frequencies)

    def _init_callback(self) -> None:
        for callback in self.callbacks:
            callback.parent = self.parent
            callback.init_callback(self.model)

    def _on_training_start(self) -> None:
        for callback in self.callbacks:
            callback.on_training_start(self.locals, self.globals)

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
    """A plain function of two dicts, SB3's old style: the first is ``locals``, which holds the model as ``"self"``."""

    def __init__(self, callback: Function | None, verbose: int = 0):
        super().__init__(verbose)
        self.callback = callback

    def _on_step(self) -> bool:
        return self.callback is None or bool(self.callback(self.locals, self.globals))


class EventCallback(BaseCallback):
    """Calls another callback when something happens."""

    def __init__(self, callback: BaseCallback | None = None, verbose: int = 0):
        super().__init__(verbose)
        self.callback = callback
        if callback is not None:
            callback.parent = self

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
            child.on_training_start(self.locals, self.globals)

    def _on_event(self) -> bool:
        return self.callback is None or self.callback.on_step()


class EveryNTimesteps(EventCallback):
    """Calls another callback every ``n_steps``, over all environments."""

    def __init__(self, n_steps: int, callback: BaseCallback):
        super().__init__(callback)
        self.n_steps = n_steps
        self.last_time_trigger = 0

    @property
    def frequencies(self) -> tuple[int, ...]:
        return (self.n_steps,)

    def _on_training_start(self) -> None:
        self.last_time_trigger = min(self.last_time_trigger, self.num_timesteps)  # where counting begins anew
        super()._on_training_start()

    def _on_step(self) -> bool:
        if self.num_timesteps - self.last_time_trigger < self.n_steps:
            return True
        self.last_time_trigger = self.num_timesteps
        return self._on_event()
