"""Small functions of Stable-Baselines3's that scripts use."""

import platform
import random
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from tegu.check import check
from tegu.sb3.errors import ArgumentError

_PACKAGES = {"Tegu": "tegu", "JAX": "jax", "Numpy": "numpy", "Gymnasium": "gymnasium"}


def set_random_seed(seed: int, using_cuda: bool = False) -> None:
    """Seed the generators of Python and NumPy. Models draw everything from a seed of their own: give them ``seed``."""
    random.seed(seed)
    np.random.seed(seed)


def check_env(env: gymnasium.Env, warn: bool = True, skip_render_check: bool = True) -> None:
    """Raise an error if an environment breaks Gymnasium's contract, and ``warn`` of what is odd.

    The command ``tegu check`` reports everything at once.
    """
    if not isinstance(env, gymnasium.Env):
        raise ArgumentError(f"check_env: env must be a gymnasium.Env, got {type(env).__name__}")
    report = check(env)
    for finding in report.findings:
        if finding.level == "error":
            raise ArgumentError(f"check_env: {finding.line}")
        if warn:
            warnings.warn(finding.line, UserWarning, stacklevel=2)


def get_system_info(print_info: bool = True) -> tuple[dict[str, str], str]:
    """Versions that a report of a bug should name: as a dict and as text, which is printed if ``print_info``."""
    info = {"OS": platform.platform(), "Python": platform.python_version()}
    info |= {name: version(package) for name, package in _PACKAGES.items()}
    text = "".join(f"- {name}: {value}\n" for name, value in info.items())
    if print_info:
        print(text)
    return info, text


def get_latest_run_id(log_path: str = "", log_name: str = "") -> int:
    """The highest number of the folders ``<log_path>/<log_name>_<number>``; 0 where there is none."""
    found = (re.fullmatch(rf"{re.escape(log_name)}_(\d+)", path.name) for path in Path(log_path).glob("*"))
    return max((int(match[1]) for match in found if match), default=0)


def safe_mean(values: Any) -> float:
    """The mean, or NaN where there are none."""
    return float(np.mean(values)) if len(values) else float("nan")
