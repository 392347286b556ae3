"""Random steps with action masks, and learners to learn from them, for tests of algorithms with discrete actions."""

import jax
import numpy as np
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY = jax.random.key(0)
N, A, START = 8, 3, 1  #: steps of a batch, actions, the first action
SPEC = EnvironmentSpec(
    "test",
    spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "action_mask": spaces.MultiBinary(A)}),
    spaces.Discrete(A, start=START),
)


def observations(rng, n=N):
    """Random observations; every row has at least one legal action."""
    mask = rng.random((n, A)) < 0.6
    mask[np.arange(n), rng.integers(A, size=n)] = True
    return {"x": rng.normal(size=(n, 2)).astype(np.float32), "action_mask": mask.astype(np.int8)}


def batches(seed=0, terminated=None):
    """Batches without end, of steps after which the task goes on, terminated, or was truncated."""
    rng = np.random.default_rng(seed)
    while True:
        ends = rng.integers(3, size=N)  # goes on, terminated, truncated
        yield Step(
            observations(rng),
            rng.integers(START, START + A, N).astype(np.int32),
            rng.normal(0, 1, N).astype(np.float32),
            observations(rng),
            ends == 1 if terminated is None else np.full(N, terminated),
            ends == 2 if terminated is None else np.full(N, not terminated),
        )


def learner_of(algorithm, seed=1):
    """A learner whose target network is not its online network."""
    learner = algorithm.init(KEY, SPEC)
    return learner._replace(target=algorithm.init(jax.random.key(seed), SPEC).online)


def long_steps(window, gamma):
    """Steps ``[n, N]`` as one long step each, and the discount of what follows it, in a plain loop."""
    n, reward, last = len(window.reward), np.zeros(N), np.zeros(N, int)
    for b in range(N):
        for k in range(n):
            reward[b], last[b] = reward[b] + gamma**k * window.reward[k, b], k
            if window.terminated[k, b] or window.truncated[k, b]:
                break
    ends = jax.tree.map(lambda leaf: leaf[last, np.arange(N)], (window.next_observation, window.terminated))
    first = jax.tree.map(lambda leaf: leaf[0], window)
    return first._replace(reward=reward, next_observation=ends[0], terminated=ends[1]), gamma ** (last + 1.0)
