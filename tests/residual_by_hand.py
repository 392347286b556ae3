"""The residual networks in plain NumPy: logits ``[B, A]`` and values ``[B]`` for planes ``[B, H, W, C]``."""

import numpy as np


def relu(x):
    return np.maximum(x, 0)


def normalized(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def dense(layer, x):
    return x @ layer.weight + layer.bias


def conv(layer, planes):
    """Each cell from the 3 x 3 cells around it, zeros beyond the edge."""
    out = np.zeros((*planes.shape[:3], len(layer.bias))) + layer.bias
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(planes.shape[1]):
        for column in range(planes.shape[2]):
            around = padded[:, row : row + 3, column : column + 3]
            out[:, row, column] += np.einsum("bijc,ijco->bo", around, layer.weight)
    return out


def pooled(x):
    return np.concatenate([x.mean((1, 2)), x.max((1, 2))], axis=1)


def numpy_mlp(network, planes):
    x = dense(network.first, planes.reshape(len(planes), -1))
    for inner, outer in network.blocks:
        x = x + dense(outer, relu(dense(inner, normalized(x))))
    x = relu(normalized(x))
    return dense(network.policy, x), np.tanh(dense(network.value, x))[:, 0]


def conv_trunk(network, planes):
    x = conv(network.first, planes)
    for inner, everywhere, outer in network.blocks:
        y = conv(inner, relu(normalized(x)))
        y = y + dense(everywhere, pooled(relu(y)))[:, None, None]
        x = x + conv(outer, relu(normalized(y)))
    return relu(normalized(x))


def numpy_conv(network, planes):
    x = conv_trunk(network, planes)
    return dense(network.policy, x.reshape(len(x), -1)), np.tanh(dense(network.value, pooled(x)))[:, 0]


def numpy_fully_conv(network, planes):
    x, head = conv_trunk(network, planes), network.policy
    y = relu(dense(head.inner, x) + dense(head.everywhere, pooled(x))[:, None, None])
    logits = np.concatenate([dense(head.points, y).reshape(len(x), -1), dense(head.passing, pooled(x))], axis=1)
    return logits, np.tanh(dense(network.value, pooled(x)))[:, 0]
