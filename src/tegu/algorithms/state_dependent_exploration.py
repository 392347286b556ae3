"""What algorithms share whose noise may depend on the state (``use_sde``): PPO, A2C, SAC. See
``tegu.nn.state_dependent_noise``."""

from typing import Any

import jax
from gymnasium import spaces

from tegu.algorithms.sequences import NONE
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.nn.state_dependent_noise import NoiseState, StateDependentNoise, renewed
from tegu.spaces.features import one_line


def check_sde(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless an algorithm's noise can depend on the state, where ``use_sde`` asks for that."""
    if not getattr(algorithm, "use_sde", False):
        return
    title = algorithm.title
    if not isinstance(spec.action_space, spaces.Box):
        raise TeguError(f"{title}: use_sde needs a Box action space, got {one_line(spec.action_space)}")
    if algorithm.network is not None:
        raise TeguError(f"{title}: use_sde needs Tegu's network, it cannot be used with your own")
    if getattr(algorithm, "recurrent", NONE) != NONE:
        raise TeguError(f"{title}: use_sde cannot be used with recurrent {algorithm.recurrent}")


def explored(
    algorithm: Any, policy: Any, noise: StateDependentNoise, hidden: jax.Array, state: NoiseState, key: jax.Array
) -> tuple[jax.Array, NoiseState]:
    """The actions ``[B, ...]`` to explore with, and the noise after them.

    ``policy`` is that over normals, squashed or not, and ``hidden`` ``[B, n]`` are the features its noise is a function
    of.
    """
    state = renewed(state, algorithm.rollout, algorithm.sde_sample_freq, key)
    return policy.shifted(noise(hidden, state.normals)).mode(), state
