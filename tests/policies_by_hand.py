"""Policies by their definitions in NumPy float64, and rollouts for them to learn from."""

import jax
import numpy as np
from gymnasium import spaces

from tegu.algorithms.actor_critic import Sample
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY = jax.random.key(0)
T, B = 4, 2  # of a rollout
BOX = spaces.Box(-9, 9, (3,))
MASKED = spaces.Dict({"x": BOX, "action_mask": spaces.MultiBinary(4)})
ACTIONS = {
    "discrete": spaces.Discrete(4, start=2),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,)),
}


def spec_of(kind):
    """Discrete actions come with a mask of legal ones."""
    return EnvironmentSpec("test", MASKED if kind == "discrete" else BOX, ACTIONS[kind], n_envs=B)


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def choice(logits, index):
    """Log-probability of ``index`` ``[...]`` and entropy for logits ``[..., n]``; -inf is an illegal choice."""
    log_prob = log_softmax(logits)
    entropy = -(np.exp(log_prob) * np.where(np.isfinite(log_prob), log_prob, 0)).sum(-1)
    return np.take_along_axis(log_prob, index[..., None].astype(int), -1)[..., 0], entropy


def log_prob_and_entropy(kind, outputs, log_std, action, mask):
    match kind:
        case "discrete":
            return choice(np.where(mask, outputs, -np.inf), action - 2)
        case "multi-discrete":
            parts = [choice(outputs[..., :2], action[..., 0]), choice(outputs[..., 2:], action[..., 1])]
            return tuple(map(sum, zip(*parts, strict=True)))
        case "multi-binary":
            p = 1 / (1 + np.exp(-outputs))
            return np.log(np.where(action, p, 1 - p)).sum(-1), -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(-1)
    density = np.exp(-0.5 * ((action - outputs) / np.exp(log_std)) ** 2) / np.sqrt(2 * np.pi) / np.exp(log_std)
    return np.log(density).sum(-1), np.full(outputs.shape[:-1], (log_std + 0.5 * np.log(2 * np.pi * np.e)).sum())


def masks(rng, shape):
    mask = rng.random((*shape, 4)) < 0.6
    mask[..., 1] = True
    return mask


def actions(rng, kind, shape, mask):
    """Any legal action; continuous ones are often out of bounds, as a policy's choices are."""
    match kind:
        case "discrete":
            return (2 + np.where(mask, rng.random((*shape, 4)), -1).argmax(-1)).astype(np.int32)
        case "multi-discrete":
            return np.stack([rng.integers(n, size=shape) for n in (2, 3)], -1).astype(np.int32)
        case "multi-binary":
            return rng.integers(2, size=(*shape, 3)).astype(np.int8)
    return rng.normal(0, 2, (*shape, 2)).astype(np.float32)


def learner_of(algorithm, kind):
    return learner_for(algorithm, spec_of(kind))


def learner_for(algorithm, spec):
    """An untrained learner but for weights so large that every term matters: a fresh actor is almost uniform."""
    rng = np.random.default_rng(9)
    network = jax.eval_shape(lambda: algorithm.init(KEY, spec).network)
    rest = jax.device_get(jax.jit(lambda: algorithm.init(KEY, spec)._replace(network=()))())
    rest = jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, rest)
    return rest._replace(network=jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape), network))


def rollout(kind, seed=0):
    """A random rollout ``[T, B]`` with ends of both kinds inside, all but its log-probabilities."""
    rng = np.random.default_rng(seed)
    mask = masks(rng, (T, B))
    x, next_x = (2 + rng.normal(size=(T, B, 3)).astype(np.float32) for _ in range(2))
    terminated = np.array([[False, True], [False, False], [True, False], [False, False]])
    truncated = np.array([[True, False], [False, False], [False, True], [False, False]])
    goes_on = ~(terminated | truncated)[:-1]  # then what is seen next is what the next decision is made on
    next_x[:-1][goes_on] = x[1:][goes_on]
    observation, next_observation = (
        {"x": o, "action_mask": mask.astype(np.int8)} if kind == "discrete" else o for o in (x, next_x)
    )
    reward = rng.normal(0, 3, (T, B)).astype(np.float32)
    return Step(observation, actions(rng, kind, (T, B), mask), reward, next_observation, terminated, truncated)


def numpy_inputs(algorithm, learner, observation):
    x = np.asarray(observation["x"] if isinstance(observation, dict) else observation, np.float64)
    if not algorithm.normalize_observation:
        return x
    moments = learner.observation_moments
    return np.clip((x - np.asarray(moments.mean)) / np.sqrt(np.asarray(moments.variance) + 1e-8), -10, 10)


def advantages(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    result = np.zeros_like(values)
    for b in range(B):
        for t in range(T):
            for k in range(t, T):
                delta = rewards[k, b] + gamma * next_values[k, b] * (not terminated[k, b]) - values[k, b]
                result[t, b] += (gamma * gae_lambda) ** (k - t) * delta
                if terminated[k, b] or truncated[k, b]:
                    break
    return result


def numpy_sample(numerics, algorithm, kind, learner, batch, rewards):
    """The one minibatch of a rollout whose minibatches are as large as itself."""
    x, next_x = (numpy_inputs(algorithm, learner, o) for o in (batch.observation, batch.next_observation))
    values, next_values = (numerics.mlp(learner.network.critic, o, np.tanh)[..., 0] for o in (x, next_x))
    gained = advantages(
        rewards, values, next_values, batch.terminated, batch.truncated, algorithm.gamma, algorithm.gae_lambda
    )
    mask = batch.observation["action_mask"] if kind == "discrete" else None
    sample = Sample(x, mask, batch.action, batch.extras, values, gained, gained + values)
    return jax.tree.map(lambda leaf: np.reshape(leaf, (T * B, *np.shape(leaf)[2:])), sample)
