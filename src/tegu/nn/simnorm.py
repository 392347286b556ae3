"""Simplicial normalisation (Lavoie et al. 2023): vectors as several discrete distributions side by side."""

import jax


def simnorm(x: jax.Array, size: int) -> jax.Array:
    """Vectors ``[..., n]`` with a softmax over each group of ``size`` neighbours (Hansen et al. 2024, equation 4).

    Each group is then positive and sums to 1; ``n`` must be a multiple of ``size``.
    """
    groups = x.reshape((*x.shape[:-1], x.shape[-1] // size, size))
    return jax.nn.softmax(groups).reshape(x.shape)
