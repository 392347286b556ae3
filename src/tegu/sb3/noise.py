"""Stable-Baselines3's action noise, as far as Tegu's hyper-parameter ``action_noise`` stands for it."""

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


class OrnsteinUhlenbeckActionNoise(ActionNoise):
    """A process that returns to ``mean`` at the rate ``theta``, in steps of ``dt``: correlated in time."""

    def __init__(
        self,
        mean: Any,
        sigma: Any,
        theta: float = 0.15,
        dt: float = 1e-2,
        initial_noise: Any = None,
        dtype: Any = np.float32,
    ):
        self._mu, self._sigma, self._theta, self._dt, self._dtype = mean, sigma, theta, dt, dtype
        self.initial_noise = initial_noise
        self._noise: np.ndarray
        self.reset()

    def __call__(self) -> np.ndarray:
        pull = self._theta * (self._mu - self._noise) * self._dt
        self._noise = self._noise + pull + self._sigma * np.sqrt(self._dt) * np.random.normal(size=np.shape(self._mu))
        return self._noise.astype(self._dtype)

    def reset(self) -> None:
        self._noise = np.zeros_like(self._mu) if self.initial_noise is None else np.asarray(self.initial_noise)

    def __repr__(self) -> str:
        return f"OrnsteinUhlenbeckActionNoise(mean={self._mu}, sigma={self._sigma})"


def noise_settings(noise: Any) -> dict[str, Any]:
    """The hyper-parameters that ``action_noise`` stands for; ``None`` is no noise.

    Tegu's noise is the same in all dimensions, has mean 0 and begins there, and so must this be. Both are in units of
    half the range of the actions.
    """
    if noise is None:
        return {"action_noise": None}
    if type(noise) not in (NormalActionNoise, OrnsteinUhlenbeckActionNoise):
        expected = "NormalActionNoise or OrnsteinUhlenbeckActionNoise of tegu.sb3, or None"
        raise TeguError(f"action_noise must be {expected}, got {type(noise).__name__}")
    sigmas = np.ravel(noise._sigma).astype(float)
    if np.any(noise._mu) or not sigmas.size or (sigmas != sigmas[0]).any() or sigmas[0] < 0:
        raise TeguError(f"action_noise must have mean 0 and the same sigma in all dimensions, got {noise!r}")
    if isinstance(noise, NormalActionNoise):
        return {"action_noise": float(sigmas[0])}
    if np.any(noise.initial_noise is not None and noise.initial_noise):
        raise TeguError(f"action_noise must begin at 0, got initial_noise={noise.initial_noise}")
    return {
        "noise_type": "ornstein-uhlenbeck",
        "noise_theta": noise._theta * noise._dt,
        "action_noise": float(sigmas[0]) * noise._dt**0.5,
    }
