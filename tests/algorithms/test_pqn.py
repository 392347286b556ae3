"""PQN against plain loops in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.pqn import PQN
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY = jax.random.key(0)
T, B, A, START = 5, 3, 3, 1
SPEC = EnvironmentSpec(
    "test",
    spaces.Dict({"x": spaces.Box(-9, 9, (2,)), "action_mask": spaces.MultiBinary(A)}),
    spaces.Discrete(A, start=START),
    n_envs=B,
)
SMALL = {"net_arch": (6,), "n_steps": T, "batch_size": T * B, "n_epochs": 1}
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])

exact = pytest.mark.usefixtures("x64")


def observations(rng):
    """Random observations ``[T, B]``; each has at least one legal action."""
    mask = rng.random((T, B, A)) < 0.6
    mask[..., 0] |= ~mask.any(-1)
    return {"x": rng.normal(size=(T, B, 2)).astype(np.float32), "action_mask": mask.astype(np.int8)}


def rollout(seed=0):
    """One that ends in both ways. Where an episode goes on, the next observation is that of the next step."""
    rng = np.random.default_rng(seed)
    seen, following = observations(rng), observations(rng)
    ends = rng.integers(4, size=(T, B))
    for part in seen:
        goes_on = (ends[:-1] > 1)[..., None]
        following[part][:-1] = np.where(goes_on, seen[part][1:], following[part][:-1])
    actions = rng.integers(START, START + A, (T, B)).astype(np.int32)
    rewards = rng.normal(size=(T, B)).astype(np.float32)
    assert set(ends.ravel()) == {0, 1, 2, 3}
    return Step(seen, actions, rewards, following, ends == 0, ends == 1)


def q_values(network, observation, layer_norm):
    """A hidden layer, normalised to mean 0 and variance 1, and a linear one."""
    (first, last), (bias, last_bias) = network.mlp.weights, network.mlp.biases
    hidden = observation["x"].astype(np.float64) @ np.asarray(first) + np.asarray(bias)
    if layer_norm:
        centred = hidden - hidden.mean(-1, keepdims=True)
        hidden = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.maximum(hidden, 0) @ np.asarray(last) + np.asarray(last_bias)


def returns(network, batch, gamma, q_lambda, layer_norm):
    """Backwards in time, for each environment on its own."""
    best = np.where(
        batch.next_observation["action_mask"], q_values(network, batch.next_observation, layer_norm), -np.inf
    ).max(-1)
    found = np.zeros((T, B))
    for b in range(B):
        for t in reversed(range(T)):
            goes_on = t + 1 < T and not batch.truncated[t, b]
            later = (1 - q_lambda) * best[t, b] + q_lambda * found[t + 1, b] if goes_on else best[t, b]
            found[t, b] = batch.reward[t, b] + (0 if batch.terminated[t, b] else gamma * later)
    return found


@exact
@pytest.mark.parametrize("layer_norm", [True, False])
def test_an_update_is_numpys(numerics, layer_norm):
    """Returns over ends of both kinds, squared error, gradient by finite differences and its clip.

    RAdam's first step goes down the gradient as it is.
    """
    algorithm, batch = PQN(gamma=0.9, q_lambda=0.7, max_grad_norm=0.5, layer_norm=layer_norm, **SMALL), rollout()
    algorithm = algorithm.at(Clock(0, 1000))
    learner = algorithm.init(KEY, SPEC)
    target = returns(learner.network, batch, 0.9, 0.7, layer_norm)
    np.testing.assert_allclose(jax.jit(PQN.returns)(algorithm, learner.network, batch), target, rtol=1e-6, atol=1e-8)

    def loss(network):
        chosen = np.take_along_axis(
            q_values(network, batch.observation, layer_norm), batch.action[..., None] - START, 2
        )
        return 0.5 * ((chosen[..., 0] - target) ** 2).mean()

    gradient = numerics.gradient(loss, learner.network)
    norm = np.linalg.norm(gradient)
    assert norm > 0.5
    expected = numerics.flat(learner.network) - 2.5e-4 * gradient * 0.5 / norm
    after, metrics = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(metrics["loss"], loss(learner.network), rtol=1e-6)
    values = q_values(learner.network, batch.observation, layer_norm)
    chosen = np.take_along_axis(values, batch.action[..., None] - START, 2)[..., 0]
    for name, figure in numerics.value_metrics(chosen, target, gradient).items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(numerics.flat(after.network), expected, rtol=1e-6, atol=1e-9)
    assert after.updates == metrics["n_updates"] == 1


@exact
def test_every_step_is_learned_from_once_an_epoch():
    """With a learning rate of 0 the mean over minibatches is that over the rollout, whatever their number."""
    batch, losses = rollout(), []
    for size, n_epochs in ((T * B, 1), (5, 3)):
        algorithm = PQN(learning_rate=0.0, **SMALL | {"batch_size": size, "n_epochs": n_epochs}).at(Clock(0, 1000))
        after, metrics = UPDATE(algorithm, algorithm.init(KEY, SPEC), batch)
        losses.append(metrics["loss"])
        assert after.updates == n_epochs * T * B // size
    np.testing.assert_allclose(*losses, rtol=1e-10)


def test_only_legal_actions_are_taken():
    algorithm = PQN(**SMALL).at(Clock(0, 1000))
    learner, seen = algorithm.init(KEY, SPEC), observations(np.random.default_rng(0))
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf.reshape(T * B, -1)), seen)
    for explore in (True, False):
        action = algorithm.act(learner, rows, (), KEY, explore=explore).action
        assert rows["action_mask"][np.arange(T * B), action - START].all()


def test_what_does_not_fit_is_said():
    with pytest.raises(tegu.TeguError, match="PQN needs a Discrete action space"):
        PQN().validate(EnvironmentSpec("test", spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2,)), n_envs=8))


@pytest.mark.long
def test_it_balances_the_pole():
    """Two of three seeds pass Gymnasium's threshold."""
    scores = tegu.train("CartPole-v1", "pqn", seeds=3, folder=None).evaluate(50).returns.mean(axis=-1)
    assert scores.shape == (3,)
    assert np.median(scores) >= 475
