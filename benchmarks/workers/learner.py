"""How fast the machine multiplies in float32: matrices with XLA, or whole updates of DQN with the Nature CNN.

An update counts as the products and sums of its matrices and convolutions: those of the online and of the target
network, and twice as many on the way back, where the images need no gradient. All else (Adam, activations) is not
counted.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from meter import Meter, report, settings

import tegu
from tegu.core.runtime import configure_jax
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch

ACTIONS = 4
#: of the Nature CNN: positions of an output image, weights that each multiplies
LAYERS = (
    (20 * 20, 8 * 8 * 4 * 32),
    (9 * 9, 4 * 4 * 32 * 64),
    (7 * 7, 3 * 3 * 64 * 64),
    (1, 3136 * 512),
    (1, 512 * ACTIONS),
)


def flops(batch_size: int) -> float:
    """Of one update."""
    forward = [2.0 * prod(layer) for layer in LAYERS]
    return batch_size * (4 * sum(forward) - forward[0])


def update(batch_size: int) -> tuple[Callable[..., Any], Any, Any, float]:
    """An update of a learner, the learner to begin with, a batch, and the update's FLOPs."""
    frames = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    spec = EnvironmentSpec("frames", frames, spaces.Discrete(ACTIONS), 1)
    algorithm = tegu.DQN(batch_size=batch_size, net_arch=(512,))
    random, n = np.random.default_rng(0), (batch_size,)
    seen, following = (random.integers(0, 256, (*n, *frames.shape), np.uint8) for _ in range(2))
    no = np.zeros(n, bool)
    rows = Step(seen, random.integers(0, ACTIONS, n), random.normal(size=n).astype(np.float32), following, no, no, ())
    batch = jax.tree.map(jnp.asarray, Batch(rows, np.ones(n, np.float32)))
    begin = jax.jit(lambda: algorithm.init(jax.random.key(0), spec))  # its leaves are buffers apart, to be used up

    def step(learner: Any, batch: Any) -> Any:
        return algorithm.update(learner, batch, jax.random.key(0)).learner

    return step, begin(), batch, flops(batch_size)


def product(_: int) -> tuple[Callable[..., Any], Any, Any, float]:
    """``[2048, 1024]`` times ``[1024, 1024]``, orthogonal so that the numbers neither grow nor vanish."""
    left, right = (jax.random.normal(jax.random.key(rows), (rows, 1024)) for rows in (2048, 1024))
    orthogonal, _ = jnp.linalg.qr(right)
    return lambda x, matrix: x @ matrix, left, orthogonal, 2.0 * 2048 * 1024 * 1024


def main() -> None:
    configure_jax()
    given, meter = settings(), Meter()
    step, state, constant, each = {"update": update, "product": product}[given["work"]](given["batch_size"])
    compiled = jax.jit(step, donate_argnums=0)
    warm_up = max(given["steps"] // 10, 1)
    for i in range(warm_up + given["steps"]):
        if i == warm_up:
            meter.mark(i)
        state = jax.block_until_ready(compiled(state, constant))
    result = meter.result(warm_up + given["steps"])
    report({**result, "rate": result["rate"] * each / 1e9, "per_second": result["rate"], "gflop": each / 1e9})


main()
