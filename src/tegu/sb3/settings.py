"""Stable-Baselines3's constructor arguments as Tegu's hyper-parameters."""

import warnings
from collections.abc import Mapping
from reprlib import repr as shorten
from typing import Any

import numpy as np

from tegu.algorithms.base import Algorithm
from tegu.algorithms.hyper_parameters import hyper_parameters, whole
from tegu.algorithms.registry import algorithm as build_algorithm
from tegu.algorithms.registry import settings as known_settings
from tegu.core.auto import Auto
from tegu.core.code import one_line
from tegu.core.errors import TeguError
from tegu.core.schedule import Linear
from tegu.runs.schema import MOST_SEED, MOST_STEPS
from tegu.sb3.her import hindsight_settings
from tegu.sb3.noise import noise_settings
from tegu.sb3.schedules import line_of

SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
OF_THE_MODEL = (
    "policy",
    "env",
    "policy_kwargs",
    "stats_window_size",
    "tensorboard_log",
    "verbose",
    "seed",
    "device",
    "_init_setup_model",
)
"""Arguments that are no hyper-parameters."""

KEPT = ("policy", "verbose", "tensorboard_log", "stats_window_size")
"""Arguments that are no hyper-parameters, and are saved with a model."""

NEVER_KEPT = {"env", "device", "_init_setup_model"}
"""Arguments that no saved model has."""

UNCLIPPED = 1e30  #: a gradient's norm that is never reached

WITHOUT_MEANING = ("sde_sample_freq", "use_sde_at_warmup")
"""Arguments that do nothing unless another one is set that Tegu refuses."""


def schedule(name: str, value: Any) -> Any:
    """A number as it is; a function of the progress remaining (from 1 to 0) as the ``Linear`` or number that it is."""
    if not callable(value) or isinstance(value, Linear):
        return value
    try:
        line = line_of(value)
    except Exception as error:
        raise TeguError(
            f"{name} must be a number, or a function of the progress remaining, from 1.0 to 0.0: {one_line(error)}"
        ) from error
    if line is None:
        raise TeguError(f"{name}: only constant and linear schedules are supported, this function is neither")
    return line


def train_freq(value: Any) -> int:
    """Steps of the vectorised environment between two rounds of updates."""
    number, unit = value if isinstance(value, tuple) and len(value) == 2 else (value, "step")
    if unit != "step":
        raise TeguError(f"train_freq: only steps are supported, got {shorten(value)}")
    if isinstance(number, str):
        raise TeguError(f"train_freq must be a whole number, got {shorten(value)}")
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


def left_out_of(exclude: Any, include: Any, known: set[str]) -> set[str]:
    """Which of ``KEPT`` a saved model does without. ``known``: the arguments that it has."""
    asked = {}
    for argument, given in (("exclude", exclude), ("include", include)):
        if isinstance(given, str):
            raise TeguError(f"save: {argument} must be a list of names, got the text {given!r}")
        asked[argument] = set(given or ())
    if always := sorted((asked["exclude"] - asked["include"]) & (known - set(KEPT) - NEVER_KEPT)):
        raise TeguError(f"save: {always[0]} is always kept; load(path, {always[0]}=...) takes another value")
    if odd := sorted(asked["include"] - known):
        raise TeguError(f"save: include has {odd[0]}, which is no setting: a model keeps its settings and networks")
    return asked["exclude"] - asked["include"]


def hyper_settings(name: str, title: str, arguments: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor that are hyper-parameters of Tegu's algorithm ``name``.

    Raises ``TeguError`` for one that Tegu does not have, unless it is ``usual``, SB3's default.
    """
    settings = translated(name, {key: value for key, value in arguments.items() if key not in OF_THE_MODEL})
    known = known_settings(name)
    for key in [key for key in settings if key not in known]:
        value = settings.pop(key)
        if key not in WITHOUT_MEANING and not (value is usual[key] or value == usual[key]):
            raise TeguError(f"{title}: Tegu does not support {key}={getattr(value, '__name__', shorten(value))}")
    return settings


def translated(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """SB3's arguments of the algorithm ``name`` with Tegu's names and values."""
    new = {key: schedule(key, value) if key in SCHEDULES else value for key, value in given.items()}
    if "train_freq" in new:
        new["train_freq"] = train_freq(new["train_freq"])
    if "action_noise" in new:
        new |= noise_settings(new["action_noise"])
    if "max_grad_norm" in new and new["max_grad_norm"] is None:
        new["max_grad_norm"] = UNCLIPPED
    if isinstance(new.get("clip_range_vf"), Linear):
        raise TeguError("clip_range_vf: only a number is supported, not a schedule")
    buffer = [new.pop(key, None) for key in ("replay_buffer_class", "replay_buffer_kwargs")]
    return {**new, **hindsight_settings(*buffer)}


def warn_of_interval(settings: Mapping[str, Any], n_envs: int) -> None:
    """Say so where DQN's target would have to follow more often than environments step."""
    interval = settings.get("target_update_interval", n_envs)
    if "exploration_fraction" in settings and n_envs > interval:
        warnings.warn(
            f"The number of environments used is greater than target_update_interval ({n_envs} and {interval}): the "
            "target follows each time that they step",
            stacklevel=5,
        )


def as_given(value: Any) -> Any:
    """A value of one of Tegu's hyper-parameters as SB3's users write it."""
    return str(value) if isinstance(value, Auto) else None if value == UNCLIPPED else value


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
