"""Noise that is added to continuous actions while exploring: DDPG, TD3, SAC."""

from typing import Any

import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.exploration import ornstein_uhlenbeck
from tegu.spaces.features import require

NORMAL, ORNSTEIN_UHLENBECK = NOISES = ("normal", "ornstein-uhlenbeck")


def check_noise(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless there is such a noise, and it can be added."""
    if algorithm.noise_type not in NOISES:
        raise TeguError(
            f"{algorithm.title}: noise_type must be one of {', '.join(NOISES)}, got {algorithm.noise_type!r}"
        )
    if algorithm.action_noise is None:
        return
    require(f"{algorithm.title} with action_noise", "action", spec.action_space, spaces.Box)
    if getattr(algorithm, "use_sde", False) and algorithm.noise_type != NORMAL:
        raise TeguError(
            f"{algorithm.title}: with use_sde, noise_type must be {NORMAL}: both noises remember something, there is "
            "room for one"
        )


def first_noise(algorithm: Any, n: int, shape: tuple[int, ...]) -> PyTree:
    """The noise ``[n, *shape]`` of an Ornstein-Uhlenbeck process, which starts anew with each episode; else ()."""
    correlated = algorithm.action_noise is not None and algorithm.noise_type == ORNSTEIN_UHLENBECK
    return jnp.zeros((n, *shape)) if correlated else ()


def noisy(algorithm: Any, action: jax.Array, memory: PyTree, key: jax.Array) -> tuple[jax.Array, PyTree]:
    """Actions ``[B, *shape]`` in [-1, 1] with noise, and what ``first_noise`` has become."""
    if algorithm.action_noise is None:
        return action, memory
    noise = algorithm.action_noise * jax.random.normal(key, action.shape)
    if algorithm.noise_type == ORNSTEIN_UHLENBECK:
        memory = noise = ornstein_uhlenbeck(memory, noise, algorithm.noise_theta)
    return jnp.clip(action + noise, -1, 1), memory
