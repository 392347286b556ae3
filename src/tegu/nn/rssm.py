"""The recurrent state-space model (Hafner et al. 2019), with categorical latents as in DreamerV3 (Hafner et al. 2023).

Its state has a deterministic part, a recurrent network's, and a stochastic part: several categorical variables.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.step import where
from tegu.nn.mlp import ACTIVATIONS, MLP, normalized

ACTIVATION = "silu"
UNIFORM = 0.01  #: share of the uniform distribution in that of each categorical: the paper's unimix
NOTHING = -1  #: the class of a categorical before an episode's first observation: its one-hot vector is zeros


class State(NamedTuple):
    """Of the model; ``S`` categoricals of ``C`` classes."""

    deterministic: jax.Array  #: ``[..., D]``: the paper's h
    stochastic: jax.Array  #: one-hot ``[..., S, C]``: the paper's z

    @property
    def features(self) -> jax.Array:
        """What the heads see, ``[..., D + S C]``."""
        return jnp.concatenate([self.deterministic, flat(self.stochastic)], axis=-1)


class Memory(NamedTuple):
    """What is remembered between two observations."""

    deterministic: jax.Array  #: ``[B, D]``
    classes: jax.Array  #: int32 ``[B, S]``: of the categoricals, ``NOTHING`` where an episode begins
    action: jax.Array  #: features of the last action ``[B, A]``, zeros where an episode begins


class NormalizedGRU(eqx.Module):
    """A gated recurrent unit (Cho et al. 2014) whose gates are normalised, and which rather keeps its state at first.

    The reset gate acts on the candidate alone, as in the authors' code.
    """

    weight: jax.Array  #: ``[inputs + width, 3 width]``: reset gate, candidate and update gate side by side

    def __init__(self, key: jax.Array, inputs: int, width: int):
        """Weights uniform in +-1/sqrt(inputs + width)."""
        rows = inputs + width
        self.weight = jax.random.uniform(key, (rows, 3 * width), minval=-1.0) * rows**-0.5

    def __call__(self, x: jax.Array, state: jax.Array) -> jax.Array:
        """The state ``[..., width]`` after ``x`` ``[..., inputs]``."""
        gates = normalized(jnp.concatenate([x, state], axis=-1) @ self.weight)
        reset, candidate, update = jnp.split(gates, 3, axis=-1)
        update = jax.nn.sigmoid(update - 1)
        return update * jnp.tanh(jax.nn.sigmoid(reset) * candidate) + (1 - update) * state


class RSSM(eqx.Module):
    """How states follow each other: ``h' = f(h, z, a)``, the prior of z' given h', and its posterior given h' and what
    was observed (equation 1 of DreamerV3)."""

    inputs: MLP
    cell: NormalizedGRU
    prior_head: MLP
    posterior_head: MLP
    width: int = eqx.field(static=True)  #: D
    shape: tuple[int, int] = eqx.field(static=True)  #: S and C

    def __init__(
        self,
        key: jax.Array,
        embedding: int,
        actions: int,
        width: int,
        shape: tuple[int, int],
        units: int,
    ):
        """``embedding`` and ``actions``: lengths of what is observed and done; ``units``: of hidden layers."""
        keys, (categoricals, classes) = jax.random.split(key, 4), shape
        latent = categoricals * classes
        self.inputs = MLP(keys[0], (latent + actions, units), ACTIVATION)
        self.cell = NormalizedGRU(keys[1], units, width)
        self.prior_head = MLP(keys[2], (width, units, latent), ACTIVATION, layer_norm=True)
        self.posterior_head = MLP(keys[3], (width + embedding, units, latent), ACTIVATION, layer_norm=True)
        self.width, self.shape = width, shape

    @property
    def n_features(self) -> int:
        """The length of ``State.features``."""
        return self.width + self.shape[0] * self.shape[1]

    def start(self, n: int, actions: int) -> Memory:
        """With what ``n`` episodes begin, for actions of ``actions`` features."""
        classes = jnp.full((n, self.shape[0]), NOTHING, jnp.int32)
        return Memory(jnp.zeros((n, self.width)), classes, jnp.zeros((n, actions)))

    def recalled(self, memory: Memory) -> State:
        """The state in a memory."""
        return State(memory.deterministic, jax.nn.one_hot(memory.classes, self.shape[1]))

    def memory(self, state: State, action: jax.Array) -> Memory:
        """What is remembered of a state ``[B, ...]`` and the action taken in it, as features ``[B, A]``."""
        return Memory(state.deterministic, state.stochastic.argmax(axis=-1).astype(jnp.int32), action)

    def forward(self, state: State, action: jax.Array) -> jax.Array:
        """The next deterministic part ``[..., D]``. Of an action ``[..., A]``, what lies beyond [-1, 1] is cut off."""
        action = action / jnp.maximum(1.0, jnp.abs(jax.lax.stop_gradient(action)))
        x = jnp.concatenate([flat(state.stochastic), action], axis=-1)
        return self.cell(ACTIVATIONS[ACTIVATION](normalized(self.inputs(x))), state.deterministic)

    def prior(self, deterministic: jax.Array) -> jax.Array:
        """Log-probabilities ``[..., S, C]`` of the stochastic part before anything is observed."""
        return self._mixed(self.prior_head(deterministic))

    def posterior(self, deterministic: jax.Array, embedding: jax.Array) -> jax.Array:
        """Log-probabilities ``[..., S, C]`` of the stochastic part once ``embedding`` ``[..., E]`` is observed."""
        return self._mixed(self.posterior_head(jnp.concatenate([deterministic, embedding], axis=-1)))

    def observe(
        self, before: State, action: jax.Array, embedding: jax.Array, noise: jax.Array | None
    ) -> tuple[State, jax.Array]:
        """The state after an ``action`` ``[B, A]`` and what was seen ``[B, E]``, and the posterior's log-probabilities.

        ``noise``: as for ``draw``; None, every categorical has its likeliest class.
        """
        deterministic = self.forward(before, action)
        log_prob = self.posterior(deterministic, embedding)
        return State(deterministic, likeliest(log_prob) if noise is None else draw(log_prob, noise)), log_prob

    def unroll(
        self, memory: Memory, action: jax.Array, embedding: jax.Array, first: jax.Array, noise: jax.Array
    ) -> tuple[State, jax.Array]:
        """The states ``[T, B, ...]`` of a sequence and the log-probabilities ``[T, B, S, C]`` of their posteriors.

        ``action`` ``[T, B, A]`` led to what was observed, ``embedding`` ``[T, B, E]``, and that of ``memory`` to the
        first. Where an episode begins (``first``, bool ``[T, B]``), it begins with nothing, but for the first row,
        which goes on from the memory. ``noise`` ``[T, B, S]``: as for ``draw``.
        """
        fresh = self.start(*action.shape[1:])
        nothing, first = self.recalled(fresh), first.at[0].set(False)
        action = jnp.where(first[..., None], fresh.action, action.at[0].set(memory.action))

        def forwards(state: State, given: Sequence[jax.Array]) -> tuple[State, tuple[State, jax.Array]]:
            action, embedding, first, noise = given
            state = jax.tree.map(partial(where, first), nothing, state)
            state, log_prob = self.observe(state, action, embedding, noise)
            return state, (state, log_prob)

        return jax.lax.scan(forwards, self.recalled(memory), (action, embedding, first, noise))[1]

    def imagine(self, state: State, action: jax.Array, noise: jax.Array) -> State:
        """A next state, drawn from the prior. ``noise`` ``[..., S]``: as for ``draw``."""
        deterministic = self.forward(state, action)
        return State(deterministic, draw(self.prior(deterministic), noise))

    def _mixed(self, logits: jax.Array) -> jax.Array:
        return mixed(logits.reshape((*logits.shape[:-1], *self.shape)))


def mixed(logits: jax.Array) -> jax.Array:
    """Log-probabilities ``[..., C]`` with a little of the uniform distribution, so that none is far from possible."""
    return jnp.log((1 - UNIFORM) * jax.nn.softmax(logits) + UNIFORM / logits.shape[-1])


def draw(log_prob: jax.Array, noise: jax.Array) -> jax.Array:
    """One-hot vectors ``[..., C]``, which pass gradients straight to the probabilities (Bengio et al. 2013).

    ``noise`` ``[...]``, uniform in [0, 1), falls into the share of that interval that a class has. So one random number
    is drawn for each categorical, in place of one for each class as in ``jax.random.categorical``.
    """
    probability = jnp.exp(log_prob)
    classes = probability.shape[-1]
    triangle = jnp.triu(jnp.ones((classes, classes), probability.dtype))
    sums = jnp.matmul(jax.lax.stop_gradient(probability), triangle, precision="highest")
    index = (sums[..., :-1] <= noise[..., None]).sum(axis=-1)
    return straight_through(jax.nn.one_hot(index, classes), probability)


def likeliest(log_prob: jax.Array) -> jax.Array:
    """One-hot vectors ``[..., C]`` of the likeliest classes."""
    return jax.nn.one_hot(log_prob.argmax(axis=-1), log_prob.shape[-1])


def straight_through(value: jax.Array, gradient: jax.Array) -> jax.Array:
    """``value``, whose gradient is that of ``gradient``."""
    return jax.lax.stop_gradient(value) + (gradient - jax.lax.stop_gradient(gradient))


def divergence(log_prob: jax.Array, other: jax.Array) -> jax.Array:
    """The Kullback-Leibler divergence ``[...]`` of ``other`` from ``log_prob``, both ``[..., S, C]``, in nats."""
    return (jnp.exp(log_prob) * (log_prob - other)).sum(axis=(-2, -1))


def flat(stochastic: jax.Array) -> jax.Array:
    """``[..., S, C]`` as ``[..., S C]``."""
    return stochastic.reshape((*stochastic.shape[:-2], -1))
