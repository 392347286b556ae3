"""Exact values of a finite environment by dynamic programming (Sutton & Barto 2018, chapter 4), in float64.

The time limit ``max_episode_steps`` is ignored: values are those of the task without a clock. A transition that
terminates has no future. ``S`` is the number of states and ``A`` of actions.
"""

from typing import NamedTuple

import numpy as np

from tegu.environments.grids.finite import FiniteEnvironment

_MAX_SWEEPS = 1_000_000


class Solution(NamedTuple):
    """Optimal values."""

    values: np.ndarray  #: ``[S]``, v*(s)
    action_values: np.ndarray  #: ``[S, A]``, q*(s, a)


def value_iteration(environment: FiniteEnvironment, gamma: float, tolerance: float = 1e-10) -> Solution:
    """Optimal values by value iteration (Sutton & Barto, equation 4.10), starting from zero.

    Repeats ``v(s) <- max_a sum_k p(k | s, a) [r + gamma v(s')]`` over all states at once until no value changes by more
    than ``tolerance``. For gamma < 1 the backup is a contraction, so the error is at most
    ``tolerance * gamma / (1 - gamma)``; with gamma = 1 values settle only where every reward earned can end.
    """
    values = np.zeros(environment.probability.shape[0])
    for _ in range(_MAX_SWEEPS):
        updated = _action_values(environment, values, gamma).max(axis=1)
        change = np.abs(updated - values).max()
        values = updated
        if change <= tolerance:
            return Solution(values, _action_values(environment, values, gamma))
    raise ArithmeticError(f"{environment.id}: the values do not settle within {_MAX_SWEEPS} sweeps at gamma {gamma}")


def policy_value(environment: FiniteEnvironment, policy: np.ndarray, gamma: float) -> np.ndarray:
    """The values ``[S]`` of a policy: the solution of Bellman's equation for it (Sutton & Barto, equation 4.4).

    ``policy`` is one action per state, int ``[S]``, or the probabilities of the actions, ``[S, A]``. The equation is
    linear, ``(I - gamma P) v = r``, with ``P[s, s']`` the probability of going on to s' without terminating and ``r``
    the expected reward. With gamma = 1 it has a solution only if the policy ends every episode from every state.
    """
    states, actions, _ = environment.probability.shape
    policy = np.asarray(policy)
    if policy.ndim == 1:
        policy = np.eye(actions)[policy]
    weight = policy[:, :, None] * environment.probability  # [S, A, K]
    rewards = (weight * environment.reward).sum(axis=(1, 2))
    onward = np.zeros((states, states))
    here = np.broadcast_to(np.arange(states)[:, None, None], weight.shape)
    np.add.at(onward, (here, environment.next_state), weight * ~environment.terminated)
    return np.linalg.solve(np.eye(states) - gamma * onward, rewards)


def start_value(environment: FiniteEnvironment, values: np.ndarray) -> float:
    """The expected value of the first state: ``values`` ``[S]`` averaged over the initial distribution."""
    return float(environment.initial @ values)


def _action_values(environment: FiniteEnvironment, values: np.ndarray, gamma: float) -> np.ndarray:
    """``[S, A]``: one step ahead of ``values`` ``[S]``."""
    future = np.where(environment.terminated, 0.0, values[environment.next_state])
    return (environment.probability * (environment.reward + gamma * future)).sum(axis=-1)
