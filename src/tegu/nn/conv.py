"""Convolutions over images ``[..., H, W, C]``, of any batch shape."""

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.mlp import orthogonal

GAIN = 2**0.5  #: of weights before a ReLU


class Conv(eqx.Module):
    """A convolution of images ``[..., H, W, inputs]``, 3x3 and without change of their size unless told otherwise."""

    weight: jax.Array  #: ``[size, size, inputs, outputs]``
    bias: jax.Array
    stride: int = eqx.field(static=True)
    padding: str = eqx.field(static=True)

    def __init__(
        self,
        key: jax.Array,
        inputs: int,
        outputs: int,
        gain: float | None = GAIN,
        *,
        size: int = 3,
        stride: int = 1,
        padding: str = "SAME",
    ):
        """Orthogonal weights scaled by ``gain`` and a zero bias (Saxe et al. 2014), or, with None, weights and bias
        uniform in +-1/sqrt(inputs of one output), PyTorch's default. ``padding`` is SAME or VALID."""
        shape, fan_in = (size, size, inputs, outputs), size * size * inputs
        if gain is not None:
            self.weight = gain * orthogonal(jax.random.normal(key, (fan_in, outputs))).reshape(shape)
            self.bias = jnp.zeros(outputs)
        else:  # the bias is one row more of the weights, as in an MLP
            drawn = jax.random.uniform(key, (fan_in + 1, outputs), minval=-1.0) * fan_in**-0.5
            self.weight, self.bias = drawn[:-1].reshape(shape), drawn[-1]
        self.stride, self.padding = stride, padding

    def __call__(self, x: jax.Array) -> jax.Array:
        images, strides = x.reshape((-1, *x.shape[-3:])), (self.stride, self.stride)
        out = jax.lax.conv_general_dilated(
            images, self.weight, strides, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return (out + self.bias).reshape((*x.shape[:-3], *out.shape[1:]))
