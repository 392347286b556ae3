"""Batch renormalisation (Ioffe 2017): batch normalisation that computes nearly the same while it learns and afterwards.

The running statistics are leaves of the network, so they are saved, copied and followed as its weights are. No gradient
flows into them: ``descend`` leaves them as they are, and ``with_statistics`` moves them.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from tegu.nn.mlp import ACTIVATIONS, MLP

Network = TypeVar("Network")

EPS = 1e-3  #: added to variances
MOMENTUM = 0.99  #: of the running statistics that a new batch leaves
MOST_RATIO, MOST_SHIFT = 3.0, 5.0  #: r_max and d_max: how far a batch is corrected towards the running statistics
WARM_UP = 100_000  #: updates before which batches are not corrected, as in the code of CrossQ's authors


class BatchRenorm(eqx.Module):
    """Normalises each of ``n`` units over a batch ``[..., n]``. Called, it uses the running statistics."""

    scale: jax.Array  #: ``[n]``: gamma
    bias: jax.Array  #: ``[n]``: beta
    mean: jax.Array  #: ``[n]``: mu, running
    variance: jax.Array  #: ``[n]``: sigma squared, running

    def __init__(self, n: int):
        self.scale, self.bias, self.mean, self.variance = jnp.ones(n), jnp.zeros(n), jnp.zeros(n), jnp.ones(n)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._scaled((x - stop_gradient(self.mean)) / jnp.sqrt(stop_gradient(self.variance) + EPS))

    def fitted(self, x: jax.Array, corrected: jax.Array | bool) -> tuple[jax.Array, "BatchRenorm"]:
        """``x`` normalised by its own statistics, and the layer whose running ones have taken them in.

        ``corrected``: whether by r and d (algorithm 1 of the paper); else this is batch normalisation.
        """
        rows = x.reshape((-1, x.shape[-1]))
        mean, variance = rows.mean(axis=0), rows.var(axis=0)
        deviation, running = jnp.sqrt(variance + EPS), jnp.sqrt(self.variance + EPS)
        r = jnp.clip(stop_gradient(deviation / running), 1 / MOST_RATIO, MOST_RATIO)
        d = jnp.clip(stop_gradient((mean - self.mean) / running), -MOST_SHIFT, MOST_SHIFT)
        y = (x - mean) / deviation * jnp.where(corrected, r, 1.0) + jnp.where(corrected, d, 0.0)
        statistics = [
            MOMENTUM * old + (1 - MOMENTUM) * new for old, new in ((self.mean, mean), (self.variance, variance))
        ]
        return self._scaled(y), eqx.tree_at(lambda layer: (layer.mean, layer.variance), self, tuple(statistics))

    def _scaled(self, normalized: jax.Array) -> jax.Array:
        return self.scale * normalized + self.bias


class BatchNormMLP(eqx.Module):
    """A multi-layer perceptron whose inputs, and what each activation gives, are normalised over the batch (Bhatt et
    al. 2024, section 3)."""

    layers: MLP
    norms: tuple[BatchRenorm, ...]  #: of the inputs, then of each hidden layer

    def __init__(self, key: jax.Array, sizes: Sequence[int], activation: str):
        self.layers = MLP(key, sizes, activation)
        self.norms = tuple(map(BatchRenorm, sizes[:-1]))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers.of_hidden(self.hidden(x))

    def hidden(self, x: jax.Array) -> jax.Array:
        """The last hidden layer ``[..., n]`` as the outputs see it, by the running statistics."""
        return self._hidden(x, lambda norm, x: norm(x))

    def fitted(self, x: jax.Array, corrected: jax.Array | bool) -> tuple[jax.Array, "BatchNormMLP"]:
        """The outputs for a batch ``[..., n]`` by its own statistics, and the network that has taken them in."""
        norms = []

        def normalized(norm: BatchRenorm, x: jax.Array) -> jax.Array:
            y, after = norm.fitted(x, corrected)
            norms.append(after)
            return y

        outputs = self.layers.of_hidden(self._hidden(x, normalized))
        return outputs, eqx.tree_at(lambda network: network.norms, self, tuple(norms))

    def _hidden(self, x: jax.Array, normalized: Callable[[BatchRenorm, jax.Array], jax.Array]) -> jax.Array:
        x = normalized(self.norms[0], x)
        for w, b, norm in zip(self.layers.weights[:-1], self.layers.biases[:-1], self.norms[1:], strict=True):
            x = normalized(norm, ACTIVATIONS[self.layers.activation](x @ w + b))
        return x


def fitted(network: Network, corrected: jax.Array | bool, *seen: Any) -> tuple[Any, Network]:
    """What a network says of a batch by the batch's own statistics, and the network that has taken them in; one without
    batch normalisation says what it always says, and stays. ``corrected``: as of ``BatchRenorm.fitted``."""
    head: Any = network
    if not isinstance(getattr(head, "mlp", None), BatchNormMLP):
        return head(*seen), network
    outputs, mlp = head.mlp.fitted(head.embed(*seen), corrected)
    return head.read(outputs, *seen), eqx.tree_at(lambda head: head.mlp, network, mlp)


def with_statistics(network: Network, fitted: Network) -> Network:
    """``network`` with the running statistics of ``fitted``, which is of the same structure."""
    return jax.tree.map(_with_statistics, network, fitted, is_leaf=lambda part: isinstance(part, BatchRenorm))


def _with_statistics(own: Any, fitted: Any) -> Any:
    if not isinstance(own, BatchRenorm):
        return own
    return eqx.tree_at(lambda layer: (layer.mean, layer.variance), own, (fitted.mean, fitted.variance))
