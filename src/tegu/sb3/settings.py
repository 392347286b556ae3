"""Stable-Baselines3's constructor arguments as Tegu's hyper-parameters."""

from collections.abc import Callable, Mapping
from reprlib import repr as shorten
from typing import Any

import numpy as np

from tegu.algorithms.base import Algorithm
from tegu.algorithms.hyper_parameters import hyper_parameters, whole
from tegu.algorithms.registry import algorithm as build_algorithm
from tegu.core.code import one_line
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear
from tegu.nn.mlp import ACTIVATIONS
from tegu.runs.schema import MOST_SEED, MOST_STEPS
from tegu.sb3.her import hindsight_settings

# Settings that each brings. The Nature CNN ends in a layer of 512, which are Tegu's hidden layers.
POLICIES: dict[str, dict[str, Any]] = {
    "MlpPolicy": {"features_extractor": "flatten"},
    "MultiInputPolicy": {},
    "CnnPolicy": {"features_extractor": "nature", "net_arch": (512,), "activation": "relu"},
}
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")

_SAMPLES = [i / 40 for i in range(41)]  # of the progress remaining
_NEAR_THE_START = 1e-3  # fraction of training over which a schedule shows its slope


def schedule(name: str, value: Any) -> Any:
    """A number as it is; a function of the progress remaining (from 1 to 0) as the ``Linear`` or number that it is.

    Recognised by sampling: constants, straight lines, and lines that reach their end early and then stay.
    """
    if not callable(value):
        return value
    try:
        start, end = float(value(1.0)), float(value(0.0))
    except Exception as error:
        raise TeguError(
            f"{name} must be a number, or a function of the progress remaining, from 1.0 to 0.0: {one_line(error)}"
        ) from error
    slope = (start - float(value(1.0 - _NEAR_THE_START))) / _NEAR_THE_START
    fraction = min((start - end) / slope, 1.0) if slope else 1.0
    guess = Linear(start, end, fraction) if fraction > 0 else Linear(start, end)
    if not _agree(value, guess):
        raise TeguError(f"{name}: only constant and linear schedules are supported, this function is neither")
    return start if start == end else guess


def policy_settings(name: str, policy: Any, policy_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """``policy`` and ``policy_kwargs`` as hyper-parameters."""
    if policy not in tuple(POLICIES):
        shown = policy if isinstance(policy, str) else getattr(policy, "__name__", type(policy).__name__)
        raise TeguError(f"{name}: policy must be one of {', '.join(POLICIES)}, got {shown}")
    translate: dict[str, Callable[[Any], dict[str, Any]]] = {
        "net_arch": lambda value: {"net_arch": _net_arch(value)},
        "activation_fn": lambda value: {"activation": _activation(value)},
        "log_std_init": lambda value: {"log_std_init": value},
    }
    if not isinstance(policy_kwargs, Mapping | None):
        raise TeguError(f"{name}: policy_kwargs must be a dict, got {shorten(policy_kwargs)}")
    settings = dict(POLICIES[policy])
    layers = settings.get("net_arch", ())  # of the features extractor: those of policy_kwargs follow them
    for key, value in (policy_kwargs or {}).items():
        if key not in translate:
            raise TeguError(f"{name}: policy_kwargs[{key!r}] is not supported: expected {', '.join(translate)}")
        if value is not None:
            settings |= translate[key](value)
    if policy_kwargs and policy_kwargs.get("net_arch") is not None:
        settings["net_arch"] = (*layers, *settings["net_arch"])
    return settings


def train_freq(value: int | tuple[int, str]) -> int:
    """Steps of the vectorised environment between two rounds of updates."""
    number, unit = value if isinstance(value, tuple) and len(value) == 2 else (value, "step")
    if unit != "step":
        raise TeguError(f"train_freq: only steps are supported, got {shorten(value)}")
    return whole(number, "train_freq")


def at_least(least: int, value: Any, name: str) -> int:
    """A whole number, or ``TeguError`` that names it."""
    number = whole(value, name)
    if not least <= number <= MOST_STEPS:
        raise TeguError(f"{name} must be from {least} to {MOST_STEPS:,}, got {shorten(value)}")
    return number


def seed_of(value: Any) -> int:
    """A seed; of ``None``, one that nobody knows."""
    seed = int(np.random.SeedSequence().generate_state(1)[0] >> 1) if value is None else whole(value, "seed")
    if not 0 <= seed <= MOST_SEED:
        raise TeguError(f"seed must be from 0 to {MOST_SEED:,}, got {shorten(value)}")
    return seed


def refuse(name: str, **asked: Any) -> None:
    """Raise for the first argument that asks for something Tegu does not have; what is falsy asks for nothing."""
    for argument, value in asked.items():
        if value:
            raise TeguError(f"{name}: Tegu does not support {argument}={getattr(value, '__name__', repr(value))}")


def changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with SB3's ``changes``, such as those given to ``load``."""
    new = {key: schedule(key, value) if key in SCHEDULES else value for key, value in changes.items()}
    if "train_freq" in new:
        new["train_freq"] = train_freq(new["train_freq"])
    if isinstance(new.get("clip_range_vf"), Linear):
        raise TeguError("clip_range_vf: only a number is supported, not a schedule")
    buffer = [new.pop(name, None) for name in ("replay_buffer_class", "replay_buffer_kwargs")]
    return {**settings, **new, **hindsight_settings(*buffer)}


def build(name: str, settings: Mapping[str, Any], n_envs: int) -> Algorithm:
    """The algorithm with SB3's ``settings``. SB3 counts ``train_freq`` per environment, Tegu over all of them."""
    settings = dict(settings)
    if "train_freq" in settings:
        settings["train_freq"] *= n_envs
    return build_algorithm(name, settings)


def settings_of(algorithm: Algorithm, n_envs: int) -> dict[str, Any]:
    """The settings that ``build`` made ``algorithm`` from."""
    settings = hyper_parameters(algorithm)
    if "train_freq" in settings:
        settings["train_freq"] = max(settings["train_freq"] // n_envs, 1)
    return settings


def _agree(function: Callable[[float], float], line: Linear) -> bool:
    """Whether ``function`` of the progress remaining is ``line``, within rounding."""
    close = 1e-6 * max(abs(line.initial), abs(line.final), 1e-12)
    return all(abs(function(left) - _at(line, 1.0 - left)) <= close for left in _SAMPLES)


def _at(line: Linear, progress: float) -> float:
    """``line(progress)`` in float64."""
    return line.initial + min(progress / line.fraction, 1.0) * (line.final - line.initial)


def _net_arch(value: Any) -> tuple[int, ...]:
    if isinstance(value, Mapping):
        actor, critic = value.get("pi", []), value.get("vf", [])
        if set(value) - {"pi", "vf"} or list(actor) != list(critic):
            raise TeguError(f"net_arch: pi and vf must be equal in Tegu, got {dict(value)}")
        value = actor
    if not isinstance(value, list | tuple) or not all(isinstance(width, int) for width in value):
        raise TeguError(f"net_arch must be a list of widths or dict(pi=[...], vf=[...]), got {value!r}")
    return tuple(value)


def _activation(value: Any) -> str:
    """From a name, or from a class that is named like one, such as ``torch.nn.Tanh``."""
    name = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
    if name.lower() not in ACTIVATIONS:
        raise TeguError(f"activation_fn must be one of {', '.join(ACTIVATIONS)}, got {name}")
    return name.lower()
