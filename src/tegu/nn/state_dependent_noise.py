"""Generalised state-dependent exploration, gSDE (Raffin et al. 2021, "Smooth exploration for robotic reinforcement
learning", arXiv:2005.05719).

In place of noise that is drawn at every step it is a linear function of the policy's features. The function's weights
stay for many steps, so that a state that comes again meets the same noise.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.nn.distributions import SquashedGaussian, n_parameters
from tegu.nn.encoder import Encoder
from tegu.nn.mlp import MLP
from tegu.spaces.features import features

CLIP_MEAN = 2.0  #: most that the mean of a squashed normal may be in size, as in Stable-Baselines3 with gSDE
EPSILON = 1e-6  #: added to variances, as in Stable-Baselines3


class SDE(NamedTuple):
    """How the weights' standard deviations are parametrised."""

    full_std: bool = True  #: one for each feature and action; else one for each feature, the same for all actions
    use_expln: bool = False  #: log(x + 1) + 1 in place of exp(x) for x above 0


class NoiseState(NamedTuple):
    """A policy's memory of the noise in each of ``B`` environments."""

    normals: jax.Array  #: ``[B, n, k]``: standard normal numbers, which times their ``std`` are the weights
    rollout: jax.Array  #: int32 ``[B]``: in which rollout they were drawn; -1 before the first
    age: jax.Array  #: int32 ``[B]``: for how many steps they have served


class StateDependentNoise(eqx.Module):
    """Noise of ``k`` actions that is a linear function of ``n`` features. Its weights are independent normals."""

    log_std: jax.Array  #: ``[n, k]``, or ``[n, 1]`` without ``full_std``
    n_actions: int = eqx.field(static=True)
    use_expln: bool = eqx.field(static=True)

    def __init__(self, shape: tuple[int, int], log_std_init: float, sde: SDE):
        """``shape``: ``n`` and ``k``."""
        n, self.n_actions = shape
        self.log_std = jnp.full((n, self.n_actions if sde.full_std else 1), log_std_init, float)
        self.use_expln = sde.use_expln

    @property
    def std(self) -> jax.Array:
        """Of the weights, ``[n, k]``."""
        std = expln(self.log_std) if self.use_expln else jnp.exp(self.log_std)
        return jnp.broadcast_to(std, (len(std), self.n_actions))

    def log_std_of(self, hidden: jax.Array) -> jax.Array:
        """The log standard deviation ``[..., k]`` of the noise at features ``[..., n]`` over all weights: its variance
        is ``hidden^2 std^2``."""
        return 0.5 * jnp.log(hidden**2 @ self.std**2 + EPSILON)

    def __call__(self, hidden: jax.Array, normals: jax.Array) -> jax.Array:
        """The noise ``[B, k]`` at features ``[B, n]`` by weights that are ``normals`` ``[B, n, k]`` times ``std``."""
        return jnp.einsum("bn,bnk->bk", hidden, normals * self.std)

    def start(self, n: int) -> NoiseState:
        """The memory with which ``n`` episodes begin: nothing is drawn yet."""
        count = jnp.zeros(n, jnp.int32)
        return NoiseState(jnp.zeros((n, len(self.log_std), self.n_actions)), count - 1, count)


def expln(x: jax.Array) -> jax.Array:
    """``exp(x)`` up to 0, from there on ``log(x + 1) + 1``: positive, smooth, and slow to grow."""
    return jnp.where(x <= 0, jnp.exp(jnp.minimum(x, 0)), jnp.log1p(jnp.maximum(x, 0)) + 1)


def renewed(state: NoiseState, rollout: Any, sample_freq: int, key: jax.Array) -> NoiseState:
    """The noise for the next step: drawn anew where another ``rollout`` has begun (an int32, -1 is none), and where it
    has served for ``sample_freq`` steps, if that is above 0."""
    due = state.rollout != rollout
    if sample_freq > 0:
        due |= state.age >= sample_freq

    def drawn() -> jax.Array:
        return jnp.where(due[:, None, None], jax.random.normal(key, state.normals.shape), state.normals)

    normals = jax.lax.cond(due.any(), drawn, lambda: state.normals)
    return NoiseState(normals, jnp.full_like(state.rollout, rollout), jnp.where(due, 0, state.age) + 1)


class StateDependentPolicy(eqx.Module):
    """SAC's policy over a Box whose noise depends on the state: squashed normals over vectors ``[..., k]``, scaled to
    [-1, 1], for observations ``[..., *shape]``."""

    encoder: Encoder
    mlp: MLP
    noise: StateDependentNoise
    spaces: Spaces = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        features_extractor: str,
        log_std_init: float,
        sde: SDE,
    ):
        self.encoder = Encoder(key, spec.observation_space, features_extractor)
        sizes = self.encoder.outputs, *net_arch, n_parameters(spec.action_space)
        self.mlp = MLP(key, sizes, activation)
        self.noise = StateDependentNoise((sizes[-2], sizes[-1]), log_std_init, sde)
        self.spaces = spec.spaces

    def __call__(self, observation: PyTree) -> SquashedGaussian:
        hidden = self.hidden(observation)
        mean = jnp.clip(self.mlp.of_hidden(hidden), -CLIP_MEAN, CLIP_MEAN)
        return SquashedGaussian(mean, self.noise.log_std_of(hidden))

    def hidden(self, observation: PyTree) -> jax.Array:
        """The activations ``[..., units]`` of the last hidden layer."""
        return self.mlp.hidden(self.encoder(features(self.spaces.observation, observation)))
