"""Stable-Baselines3's action noise, as far as Tegu's hyper-parameter ``action_noise`` stands for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tegu.core.errors import TeguError


class ActionNoise:
    """What is added to the actions of a deterministic policy, scaled to [-1, 1], while it explores."""

    def reset(self) -> None:
        """At the end of an episode."""

    def __call__(self) -> np.ndarray:
        raise NotImplementedError


class NormalActionNoise(ActionNoise):
    """Normal numbers with ``mean`` and standard deviation ``sigma``, ``[k]`` each, drawn from NumPy's generator."""

    def __init__(self, mean: Any, sigma: Any, dtype: Any = np.float32):
        self._mu, self._sigma, self._dtype = mean, sigma, dtype

    def __call__(self) -> np.ndarray:
        return np.random.normal(self._mu, self._sigma).astype(self._dtype)

    def __repr__(self) -> str:
        return f"NormalActionNoise(mean={self._mu}, sigma={self._sigma})"


def deviation(noise: Any) -> float:
    """The standard deviation that ``action_noise`` stands for; ``None`` is no noise.

    Tegu's noise is the same in all dimensions and has mean 0, and so must this be. Both are in units of half the range
    of the actions.
    """
    noises: Sequence[Any] = getattr(noise, "noises", [noise])
    if noise is None:
        return 0.0
    if not all(type(each) is NormalActionNoise for each in noises):
        raise TeguError(f"action_noise must be NormalActionNoise of tegu.sb3 or None, got {type(noise).__name__}")
    means, sigmas = (np.array([getattr(each, name) for each in noises], float) for name in ("_mu", "_sigma"))
    if means.any() or not sigmas.size or (sigmas != sigmas.flat[0]).any() or sigmas.flat[0] < 0:
        raise TeguError(f"action_noise must have mean 0 and the same sigma in all dimensions, got {noise!r}")
    return float(sigmas.flat[0])
