"""Networks as pytrees of arrays. They take any batch shape ``[..., n]``, so no ``vmap`` is needed to batch them."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.distributions import Distribution, distribution, n_parameters
from tegu.errors import TeguError
from tegu.spaces import features, n_features
from tegu.step import EnvironmentSpec, PyTree

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


def check_network(activation: str, net_arch: Sequence[int]) -> None:
    """Raise ``TeguError`` in one line unless these describe a network."""
    if activation not in ACTIVATIONS:
        raise TeguError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    if any(width < 1 for width in net_arch):
        raise TeguError(f"net_arch must be widths of at least 1, got {list(net_arch)}")


class MLP(eqx.Module):
    """A multi-layer perceptron: ``sizes[0]`` inputs, an activation after every layer but the last."""

    weights: tuple[jax.Array, ...]  #: layer i maps ``[..., sizes[i]]`` to ``[..., sizes[i + 1]]``
    biases: tuple[jax.Array, ...]
    activation: str = eqx.field(static=True)

    def __init__(self, key: jax.Array, sizes: Sequence[int], activation: str, gains: Sequence[float] | None = None):
        """Orthogonal weights scaled by ``gains`` and zero biases (Saxe et al. 2014), or, without ``gains``, weights
        and biases uniform in +-1/sqrt(inputs), PyTorch's default and so Stable-Baselines3's for value networks."""
        shapes = list(pairwise(sizes))
        if gains is not None:
            drawn = pieces(jax.random.normal(key, (sum(map(math.prod, shapes)),)), shapes)
            self.weights = tuple(gain * orthogonal(normal) for gain, normal in zip(gains, drawn, strict=True))
            self.biases = tuple(jnp.zeros(outputs) for _, outputs in shapes)
        else:
            # a layer's bias is one row more of its weights: it is drawn from the same range
            with_bias = [(inputs + 1, outputs) for inputs, outputs in shapes]
            total = sum(map(math.prod, with_bias))
            drawn = pieces(jax.random.uniform(key, (total,), minval=-1.0), with_bias)
            scaled = [layer * (len(layer) - 1) ** -0.5 for layer in drawn]
            self.weights = tuple(layer[:-1] for layer in scaled)
            self.biases = tuple(layer[-1] for layer in scaled)
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for w, b in hidden:
            x = ACTIVATIONS[self.activation](x @ w + b)
        return x @ weight + bias


def pieces(numbers: jax.Array, shapes: Sequence[tuple[int, int]]) -> list[jax.Array]:
    """A long vector cut into matrices: drawing once compiles much faster than drawing for every layer."""
    cuts = list(accumulate(map(math.prod, shapes)))[:-1]
    return [piece.reshape(shape) for piece, shape in zip(jnp.split(numbers, cuts), shapes, strict=True)]


def orthogonal(normal: jax.Array) -> jax.Array:
    """An orthogonal matrix (or part of one) of the same shape from independent normal numbers (Saxe et al. 2014)."""
    tall = normal if normal.shape[0] >= normal.shape[1] else normal.T
    q, r = jnp.linalg.qr(tall)
    q = q * jnp.sign(jnp.diagonal(r))  # makes every orthogonal matrix equally likely
    return q if tall is normal else q.T


class QNetwork(eqx.Module):
    """Action values ``[..., A]`` for observations ``[..., *shape]``."""

    mlp: MLP
    spec: EnvironmentSpec = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        sizes = (n_features(spec.observation_space), *net_arch, n_parameters(spec.action_space))
        self.mlp = MLP(key, sizes, activation)
        self.spec = spec

    def __call__(self, observation: jax.Array) -> jax.Array:
        return self.mlp(features(self.spec.observation_space, observation))


class ActorCritic(eqx.Module):
    """A policy and a value function side by side, sharing nothing (Stable-Baselines3's default for PPO and A2C)."""

    actor: MLP
    critic: MLP
    log_std: jax.Array  #: ``[k]`` for Box actions of length k, else ``[0]``
    spec: EnvironmentSpec = eqx.field(static=True)
    actor_inputs: int = eqx.field(static=True)  #: how many of the features, the first ones, the actor sees

    def __init__(
        self,
        key: jax.Array,
        spec: EnvironmentSpec,
        net_arch: Sequence[int],
        activation: str,
        log_std_init: float,
        actor_inputs: int | None = None,
    ):
        """``actor_inputs``: None, the actor sees all features."""
        actor_key, critic_key = jax.random.split(key)
        inputs, outputs = n_features(spec.observation_space), n_parameters(spec.action_space)
        gains = [2**0.5] * len(net_arch)
        self.actor_inputs = inputs if actor_inputs is None else actor_inputs
        self.actor = MLP(actor_key, (self.actor_inputs, *net_arch, outputs), activation, (*gains, 0.01))
        self.critic = MLP(critic_key, (inputs, *net_arch, 1), activation, (*gains, 1.0))
        continuous = isinstance(spec.action_space, gymnasium.spaces.Box)
        self.log_std = jnp.full((outputs if continuous else 0,), log_std_init, float)
        self.spec = spec

    def policy(self, x: jax.Array, mask: jax.Array | None = None) -> Distribution:
        """The policy for features ``[..., n]``."""
        return distribution(self.spec.action_space, self.actor(x[..., : self.actor_inputs]), self.log_std, mask)

    def value(self, x: jax.Array) -> jax.Array:
        """State values ``[...]`` for features ``[..., n]``."""
        return self.critic(x)[..., 0]


class DeterministicPolicy(eqx.Module):
    """The action ``[..., *shape]``, within the bounds of a Box, for observations ``[..., *shape]``."""

    mlp: MLP
    spec: EnvironmentSpec = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        sizes = (n_features(spec.observation_space), *net_arch, math.prod(spec.action_space.shape))
        self.mlp = MLP(key, sizes, activation)
        self.spec = spec

    def __call__(self, observation: PyTree) -> jax.Array:
        box = self.spec.action_space
        unit = jnp.tanh(self.mlp(features(self.spec.observation_space, observation)))
        unit = unit.reshape((*unit.shape[:-1], *box.shape))
        return jnp.float32(box.low) + jnp.float32(box.high - box.low) * (unit + 1) / 2


class ActionValue(eqx.Module):
    """The value ``[...]`` of actions ``[..., *shape]`` of a Box in states with observations ``[..., *shape]``."""

    mlp: MLP
    spec: EnvironmentSpec = eqx.field(static=True)

    def __init__(self, key: jax.Array, spec: EnvironmentSpec, net_arch: Sequence[int], activation: str):
        inputs = n_features(spec.observation_space) + n_features(spec.action_space)
        self.mlp = MLP(key, (inputs, *net_arch, 1), activation)
        self.spec = spec

    def __call__(self, observation: PyTree, action: jax.Array) -> jax.Array:
        seen = features(self.spec.observation_space, observation), features(self.spec.action_space, action)
        return self.mlp(jnp.concatenate(seen, axis=-1))[..., 0]
