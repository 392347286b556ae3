"""Shuffling a rollout's steps into minibatches."""

import math

import jax
import jax.numpy as jnp


def permutation(key: jax.Array, n: int) -> jax.Array:
    """A random order of the numbers below ``n``, int32 ``[n]``; on a CPU faster than ``jax.random.permutation``.

    JAX sorts the numbers by random ones, which is sorting of pairs. Here each number is packed with random bits into
    32, and those are sorted, again and again until equal random bits are as rare as in ``jax.random.permutation``.
    """
    width = (n - 1).bit_length()
    if width >= 30:
        raise ValueError(f"n must be at most 2**29, got {n}")
    rounds = math.ceil(3 * math.log(max(n, 2)) / math.log(2.0 ** (32 - width)))
    index = order = jnp.arange(n, dtype=jnp.uint32)
    for each in jax.random.split(key, rounds):
        random = jax.random.bits(each, (n,)) >> width << width
        order = order[jnp.sort(random | index) & ((1 << width) - 1)]
    return order.astype(jnp.int32)
