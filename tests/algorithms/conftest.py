"""Oracles in NumPy float64 for the algorithms' networks, gradients and optimiser."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.core.schedule import Clock
from tegu.training.fused import Fused


def mlp(network, x, activation):
    """The output of a ``tegu.networks.MLP``, ``activation`` being a NumPy function."""
    layers = list(zip(network.weights, network.biases, strict=True))
    for weight, bias in layers[:-1]:
        x = activation(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def iterated(algorithm, world, spec):
    """The metrics of an iteration that learns, by their shapes, which leaves the types of the fused loop's state.

    So that stages can hand the learner on, and a compiled loop goes on with it.
    """
    loop, clock = Fused(algorithm, world, spec), jax.eval_shape(lambda: Clock.of(20, 100))
    state = jax.eval_shape(lambda one: loop.init(jnp.int32(0), one), algorithm)
    after, _, happened = jax.eval_shape(
        lambda *given: loop.iteration(*given, learns=True), state, algorithm, clock, clock
    )
    for part in ("learner", "buffer", "collector"):
        old, new = getattr(state, part), getattr(after, part)
        assert jax.tree.structure(new) == jax.tree.structure(old)
        for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
            assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
    return happened[2]


def flat(tree):
    """All numbers of a pytree in one float64 vector."""
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def unflat(vector, like):
    """The pytree ``like`` with the numbers of ``vector``, as NumPy arrays."""
    leaves, structure = jax.tree.flatten(like)
    pieces = np.split(vector, np.cumsum([np.size(leaf) for leaf in leaves])[:-1])
    return jax.tree.unflatten(
        structure, [piece.reshape(np.shape(leaf)) for piece, leaf in zip(pieces, leaves, strict=True)]
    )


def gradient(loss, tree, step=1e-5):
    """Central finite differences of ``loss(tree)``, as a vector; the error is of the order ``step``^2."""
    x = flat(tree)
    moved = (step * row for row in np.eye(len(x)))
    return np.array([(loss(unflat(x + d, tree)) - loss(unflat(x - d, tree))) / (2 * step) for d in moved])


def value_metrics(value, target, gradient):
    """What updates of a value function report: the percentiles lie between the two nearest of the sorted errors."""
    errors = np.sort(np.ravel(target - value))
    places = np.array([5, 25, 50, 75, 95]) / 100 * (len(errors) - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, len(errors) - 1)
    percentiles = errors[low] + (places - low) * (errors[high] - errors[low])
    names = ("td_error_p05", "td_error_p25", "td_error_p50", "td_error_p75", "td_error_p95")
    found = {"q_mean": np.mean(value), "td_error": abs(errors).mean(), "grad_norm": np.sqrt((gradient**2).sum())}
    return found | dict(zip(names, percentiles, strict=True))


class Adam:
    """Kingma & Ba 2015, algorithm 1, behind a clip of the gradient's norm."""

    def __init__(self, max_norm, eps, b1=0.9):
        self.max_norm, self.eps, self.b1, self.m, self.v, self.t = max_norm, eps, b1, 0.0, 0.0, 0

    def step(self, parameters, gradient, learning_rate):
        gradient = gradient * min(1.0, self.max_norm / np.linalg.norm(gradient))
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - self.b1**self.t), self.v / (1 - 0.999**self.t)
        return unflat(flat(parameters) - learning_rate * m / (np.sqrt(v) + self.eps), parameters)


@pytest.fixture(scope="session")
def numerics():
    return SimpleNamespace(mlp=mlp, flat=flat, unflat=unflat, gradient=gradient, Adam=Adam, value_metrics=value_metrics)
