"""Values of any size as networks predict them: on a scale of logarithms, or as distributions over bins."""

import jax
import jax.numpy as jnp


def symlog(value: jax.Array) -> jax.Array:
    """Values of any size on a scale of logarithms, and almost as they are near 0: sign(x) log(|x| + 1) (Hafner et al.
    2023, equation 9)."""
    return jnp.sign(value) * jnp.log1p(jnp.abs(value))


def symexp(value: jax.Array) -> jax.Array:
    """The inverse of ``symlog``."""
    return jnp.sign(value) * jnp.expm1(jnp.abs(value))


def symexp_bins(n: int) -> jax.Array:
    """``[n]`` values between -e^20 and e^20, the denser the nearer to 0 (Hafner et al. 2023, equation 10)."""
    return symexp(jnp.linspace(-20.0, 20.0, n))


def two_hot(bins: jax.Array, value: jax.Array) -> jax.Array:
    """Distributions ``[..., n]`` over rising ``bins`` ``[n]`` whose means are the values ``[...]``: of the two bins
    around a value, the nearer has more (Hafner et al. 2023, equation 10). What lies beyond them is the last bin."""
    value = jnp.clip(value, bins[0], bins[-1])[..., None]
    below = jnp.clip((bins <= value).sum(axis=-1) - 1, 0, len(bins) - 2)
    low, high = bins[below], bins[below + 1]
    share = ((value[..., 0] - low) / (high - low))[..., None]
    return (1 - share) * jax.nn.one_hot(below, len(bins)) + share * jax.nn.one_hot(below + 1, len(bins))


def mean_of_bins(bins: jax.Array, logits: jax.Array) -> jax.Array:
    """The means ``[...]`` of distributions over ``bins`` ``[n]``, which are symmetric around 0, by their logits
    ``[..., n]``. Bins of opposite sign are subtracted first: their sums would be large and not exact."""
    half, probability = len(bins) // 2, jax.nn.softmax(logits)
    mirrored = probability - probability[..., ::-1]
    return (mirrored[..., -half:] * bins[-half:]).sum(axis=-1)
