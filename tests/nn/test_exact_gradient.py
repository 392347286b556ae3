"""The expected gradient of PPO and REINFORCE over all episodes of a tiny task is that of the exact expected return.

Three states, two actions, at most three steps, random rewards, no discount. With lambda = 1 and a probability ratio of
1 the estimate has no bias, whatever the critic says: the two agree to 1e-10, which is rounding in float64.
"""

from itertools import product
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces
from jax.flatten_util import ravel_pytree

from tegu.algorithms.actor_critic import Sample
from tegu.algorithms.ppo import PPO
from tegu.algorithms.reinforce import REINFORCE
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.returns import gae

pytestmark = pytest.mark.usefixtures("x64")

S, A, HORIZON = 3, 2, 3
KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])
PLAIN = {"gamma": 1.0, "gae_lambda": 1.0, "vf_coef": 0.0, "normalize_advantage": False, "net_arch": ()}


class Task(NamedTuple):
    start: np.ndarray  # [S]
    transition: np.ndarray  # [S, A, S]
    reward: np.ndarray  # [S, A, S]
    ends: np.ndarray  # [S]: whether entering the state ends the episode; the third step always does


def exact_return(task, policy):
    """The expected return of a policy ``[S, A]``, by carrying the distribution over states forward."""
    here, total = jnp.asarray(task.start), 0.0
    for _ in range(HORIZON):
        moves = here[:, None, None] * policy[:, :, None] * task.transition
        total += (moves * task.reward).sum()
        here = moves.sum((0, 1)) * ~task.ends
    return total


def episodes(task, state, t=0):
    """Every way to go on from ``state``: the probability of chance's part, and steps (s, a, r, s', last)."""
    for action, after in product(range(A), range(S)):
        probability = task.transition[state, action, after]
        if probability > 0:
            last = task.ends[after] or t == HORIZON - 1
            step = (state, action, task.reward[state, action, after], after, last)
            for chance, rest in [(1.0, [])] if last else episodes(task, after, t + 1):
                yield probability * chance, [step, *rest]


def spec_of(n_envs=1):
    return EnvironmentSpec("test", spaces.Discrete(S), spaces.Discrete(A), n_envs)


@jax.jit
def exact_gradient(task, network):
    return jax.grad(lambda n: exact_return(task, jax.nn.softmax(n.actor(jnp.eye(S)))))(network)


@jax.jit
def expectation(algorithm, network, samples, weights):
    """Of the loss's gradient over episodes, the columns ``[:, B]`` of ``samples``, that come with probabilities
    ``weights``. The loss is a mean over ``HORIZON`` steps, the return is their sum."""
    one = jax.grad(lambda network, sample: algorithm.loss(network, sample)[0])
    gradients = jax.vmap(one, in_axes=(None, 1))(network, samples)
    return jax.tree.map(lambda gradient: jnp.tensordot(weights, gradient, 1) * HORIZON, gradients)


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["zero", "random"])
def test_the_expectation_over_all_episodes_is_the_exact_gradient(critic):
    """For a policy far from uniform, with episodes of one, two and three steps weighted by their probabilities."""
    rng = np.random.default_rng(0)
    start, ends = np.array([0.3, 0.7, 0.0]), np.array([False, False, True])
    task = Task(start, rng.dirichlet(np.ones(S), (S, A)), rng.normal(size=(S, A, S)), ends)
    algorithm = PPO(**PLAIN)
    network = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), algorithm.init(KEY, spec_of()).network)
    if critic == "zero":
        network = eqx.tree_at(lambda n: n.critic, network, replace_fn=lambda mlp: jax.tree.map(np.zeros_like, mlp))
    policy = np.asarray(jax.nn.softmax(network.actor(np.eye(S))))

    weights, padded = [], []
    nothing = (0, 0, 0.0, 0, True)  # an episode that has ended gains nothing more
    for state in np.flatnonzero(start):
        for chance, steps in episodes(task, state):
            weights.append(start[state] * chance * np.prod([policy[s, a] for s, a, *_ in steps]))
            padded.append([(*step, True) for step in steps] + [(*nothing, False)] * (HORIZON - len(steps)))
    weights = np.array(weights)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
    state, action, reward, after, last, real = (np.array(part).T for part in np.transpose(padded, (2, 0, 1)))
    state, action, after, last, real = state.astype(int), action.astype(int), after.astype(int), last > 0, real > 0

    value = np.asarray(network(np.eye(S))[1])
    values, next_values = value[state] * real, value[after] * real
    advantage = gae(reward, values, next_values, last, np.zeros_like(last), 1.0, 1.0)
    sample = Sample(np.eye(S)[state], None, action, np.log(policy)[state, action], values, advantage, values)

    ours, exact = (
        ravel_pytree(expectation(algorithm, network, sample, weights))[0],
        ravel_pytree(exact_gradient(task, network))[0],
    )
    assert abs(exact).max() > 0.05
    np.testing.assert_allclose(-ours, exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("critic", ["zero", "random"])
def test_one_update_on_every_episode_once_follows_the_exact_gradient(critic):
    """Through the whole of ``update``: a uniform policy and fair coins make all 128 episodes equally likely, so one
    rollout that holds each once is the expectation. Adam's first moment is a tenth of the gradient it was given."""
    rng = np.random.default_rng(1)
    fair = np.array([[[0.5, 0.5, 0], [0, 0.5, 0.5]], [[0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0.5, 0.5], [0.5, 0, 0.5]]])
    task = Task(np.array([0.5, 0.0, 0.5]), fair, rng.normal(size=(S, A, S)), np.zeros(S, bool))
    every = [steps for state in (0, 2) for _, steps in episodes(task, state)]
    state, action, reward, after, last = (np.array(part).T for part in np.transpose(every, (2, 0, 1)))
    assert state.shape == (HORIZON, 128)
    never, half = np.zeros(state.shape, bool), np.full(state.shape, np.log(0.5))
    batch = Step(state.astype(np.int32), action.astype(np.int32), reward, after.astype(np.int32), last > 0, never, half)

    algorithm = PPO(n_steps=HORIZON, batch_size=HORIZON * 128, n_epochs=1, max_grad_norm=1e9, **PLAIN)
    learner = algorithm.init(KEY, spec_of(n_envs=128))
    network = jax.tree.map(np.zeros_like, learner.network)  # uniform
    if critic == "random":
        network = eqx.tree_at(lambda n: n.critic.weights[0], network, rng.normal(size=(S, 1)))
    updated, _ = UPDATE(algorithm, learner._replace(network=network), batch)
    ours = optax.tree_utils.tree_get(updated.optimizer, "mu") / 0.1
    exact = ravel_pytree(exact_gradient(task, network))[0]
    assert abs(exact).max() > 0.05
    np.testing.assert_allclose(-ours * HORIZON, exact, rtol=1e-10, atol=1e-10)


def test_reinforce_follows_the_exact_gradient():
    """Without a baseline, through the whole of ``update``, with episodes of one, two and three steps.

    One of L steps has the probability of 4^(3 - L) of the 128 environments. What follows it is the beginning of
    another episode, which does not end in the rollout, and must not count whatever it pays.
    """
    rng = np.random.default_rng(2)
    fair = np.array([[[0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0.5, 0.5], [0.5, 0.5, 0]], [[0.5, 0.5, 0], [0, 0.5, 0.5]]])
    ends = np.array([False, False, True])
    task = Task(np.array([0.5, 0.5, 0.0]), fair, rng.normal(size=(S, A, S)), ends)
    rows = []
    for state in (0, 1):
        for _, steps in episodes(task, state):
            unfinished = [(0, 1, 1e3, 1, False)] * (HORIZON - len(steps))
            rows += [[*steps, *unfinished]] * 4 ** len(unfinished)
    state, action, reward, after, last = (np.array(part).T for part in np.transpose(rows, (2, 0, 1)))
    state, action, after = (part.astype(np.int32) for part in (state, action, after))
    assert state.shape == (HORIZON, 128)
    terminated = (last > 0) & ends[after]  # the third step is the time limit
    batch = Step(state, action, reward, after, terminated, (last > 0) & ~terminated)

    algorithm = REINFORCE(gamma=1.0, net_arch=(), n_steps=HORIZON)
    learner = algorithm.init(KEY, spec_of(n_envs=128))
    network = jax.tree.map(np.zeros_like, learner.network)  # uniform
    updated, _ = UPDATE(algorithm, learner._replace(network=network), batch)
    ours = optax.tree_utils.tree_get(updated.optimizer.policy, "mu") / 0.1
    exact = ravel_pytree(exact_gradient(task, network))[0]
    assert abs(exact).max() > 0.05
    np.testing.assert_allclose(-ours * HORIZON, exact, rtol=1e-10, atol=1e-10)
