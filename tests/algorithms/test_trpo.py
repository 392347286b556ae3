"""TRPO and the natural policy gradient against dense linear algebra in NumPy float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from policies_by_hand import (
    ACTIONS,
    BOX,
    B,
    T,
    learner_for,
    learner_of,
    log_prob_and_entropy,
    log_softmax,
    numpy_sample,
    rollout,
    spec_of,
)

from tegu.algorithms.actor_critic import Sample
from tegu.algorithms.trpo import TRPO, backtrack
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])
SMALL = {"net_arch": (3,), "n_steps": T, "batch_size": T * B, "n_critic_updates": 1, "cg_max_steps": 100}
SMALL |= {"gamma": 0.9, "gae_lambda": 0.8, "learning_rate": 1e-2, "cg_damping": 0.02}

pytestmark = pytest.mark.usefixtures("x64")


# The step, from its definition


def divergence(kind, old, new):
    """Of ``new`` from ``old``, each outputs ``[N, n]`` and log standard deviations, mean over the steps."""
    (one, one_std), (other, other_std) = old, new
    if kind == "discrete":
        p, q = log_softmax(one), log_softmax(other)
        return (np.exp(p) * np.where(np.isfinite(p), p - q, 0)).sum(-1).mean()
    ratio = np.exp(2 * (one_std - other_std))
    apart = ((one - other) / np.exp(other_std)) ** 2
    return (other_std - one_std + (ratio + apart - 1) / 2).sum(-1).mean()


def fisher(numerics, kind, network, outputs):
    """The mean over the steps of J' M J: J are the derivatives of the outputs, M is the Fisher matrix of these."""

    def both(net):  # [N, n + k]
        found = outputs(net)
        return np.concatenate([found, np.broadcast_to(net.log_std, (len(found), net.log_std.size))], -1)

    n, k = both(network).shape
    jacobian = np.stack(
        [numerics.gradient(lambda net, i=i, j=j: both(net)[i, j], network) for i in range(n) for j in range(k)]
    ).reshape(n, k, -1)
    if kind == "discrete":
        p = np.exp(log_softmax(both(network)))
        of_outputs = np.stack([np.diag(each) - np.outer(each, each) for each in p])
    else:
        precision = np.exp(-2 * np.asarray(network.log_std))
        of_outputs = np.broadcast_to(np.diag([*precision, 2, 2]), (n, k, k))
    return np.einsum("nai,nab,nbj->ij", jacobian, of_outputs, jacobian) / n


def numpy_improvement(numerics, kind, algorithm, network, sample):
    """The policy's parameters after the step, and what is reported of it."""

    def outputs(net):
        found = numerics.mlp(net.actor, sample.x, np.tanh)
        return found if sample.mask is None else np.where(sample.mask, found, -1e9)

    def objective(net):
        new, old = (
            log_prob_and_entropy(kind, numerics.mlp(n.actor, sample.x, np.tanh), n.log_std, sample.action, sample.mask)
            for n in (net, network)
        )
        return (np.exp(new[0] - old[0]) * advantage).mean()

    def kl(net):
        return divergence(kind, (outputs(network), network.log_std), (outputs(net), net.log_std))

    advantage = (sample.advantage - sample.advantage.mean()) / (sample.advantage.std() + 1e-8)
    gradient = numerics.gradient(objective, network)
    matrix = fisher(numerics, kind, network, outputs) + algorithm.cg_damping * np.eye(gradient.size)
    direction = np.linalg.solve(matrix, gradient)
    step = np.sqrt(2 * algorithm.target_kl / (direction @ matrix @ direction)) * direction
    for tries in range(10 if algorithm.line_search else 1):
        candidate = numerics.unflat(
            numerics.flat(network) + algorithm.line_search_shrinking_factor**tries * step, network
        )
        fits = kl(candidate) <= algorithm.target_kl and objective(candidate) > objective(network)
        if fits or not algorithm.line_search:
            return candidate, tries, objective(candidate), kl(candidate)
    return network, 10, objective(network), 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "trust"),
    [("discrete", ((0.3, 0.7), (300.0, 0.7), (1e4, 0.7))), ("box", ((0.01, 0.7), (0.3, 0.7), (0.3, 0.999)))],
)
def test_an_update_is_numpys(numerics, kind, trust):
    """The step by a dense Fisher matrix and its solution; then one of the critic, by finite differences and Adam.

    Where the quadratic model fails, the line search shortens the step or, if that does not help, refuses it.
    """
    tried = []
    for target_kl, shrinking in trust:
        algorithm = TRPO(target_kl=target_kl, line_search_shrinking_factor=shrinking, **SMALL)
        learner, batch = learner_of(algorithm, kind), rollout(kind)
        sample = numpy_sample(numerics, algorithm, kind, learner, batch._replace(extras=np.zeros((T, B))), batch.reward)
        expected, tries, objective, kl = numpy_improvement(numerics, kind, algorithm, learner.network, sample)

        def value_loss(net, sample=sample):
            return ((numerics.mlp(net.critic, sample.x, np.tanh)[..., 0] - sample.target) ** 2).mean()

        gradient = numerics.gradient(value_loss, expected)
        expected = numerics.Adam(np.inf, 1e-5).step(expected, gradient, 1e-2)
        updated, metrics = UPDATE(algorithm, learner, batch)
        np.testing.assert_allclose(numerics.flat(updated.network), numerics.flat(expected), rtol=0, atol=1e-3)
        np.testing.assert_allclose(metrics["policy_objective"], objective, rtol=0, atol=1e-3)
        np.testing.assert_allclose(metrics["kl_divergence_loss"], kl, rtol=0, atol=1e-3)
        moved = numerics.flat(updated.network) - numerics.flat(learner.network)
        assert tries == 10 or abs(moved).max() > 0.1  # before the tolerance above means something
        np.testing.assert_allclose(metrics["value_loss"], value_loss(learner.network), rtol=1e-6)
        assert metrics["is_line_search_success"] == (tries < 10)
        assert metrics["kl_divergence_loss"] <= target_kl
        assert updated.updates == metrics["n_updates"] == 1
        tried.append(tries)
    assert tried[0] < tried[1] < tried[2] == 10


def test_where_nothing_is_better_nothing_moves(numerics):
    """Without advantages there is no direction, and no number that is none."""
    algorithm = TRPO(target_kl=0.01, **SMALL | {"gamma": 0.0})
    learner, batch = learner_of(algorithm, "box"), rollout("box")
    nothing = jax.tree.map(np.zeros_like, learner.network.critic)
    learner = learner._replace(network=eqx.tree_at(lambda n: n.critic, learner.network, nothing))
    updated, metrics = UPDATE(algorithm, learner, batch._replace(reward=np.zeros_like(batch.reward)))
    np.testing.assert_array_equal(numerics.flat(updated.network), numerics.flat(learner.network))
    assert np.isfinite(jax.tree.leaves(metrics)).all()


def test_the_natural_gradient_of_a_bandit_is_its_advantages():
    """A softmax of one weight and one bias for each action: logits move along r - mean r, as far as the trust region
    reaches, which is sqrt(2 delta) standard deviations of r. Every action is as frequent as it is likely."""
    n, reward, delta = np.array([1, 3, 4]), np.array([1.0, -2.0, 0.5]), 0.02
    action = np.repeat(np.arange(3), n).astype(np.int32)[None]
    algorithm = TRPO(
        line_search=False,
        target_kl=delta,
        cg_damping=0.0,
        net_arch=(),
        n_steps=1,
        batch_size=8,
        normalize_advantage=False,
    )
    spec = EnvironmentSpec("bandit", spaces.Discrete(1), spaces.Discrete(3), n_envs=8)
    learner = learner_for(algorithm, spec)
    network = jax.tree.map(np.zeros_like, learner.network)
    network = eqx.tree_at(lambda net: net.actor.biases[0], network, np.log(n / 8))
    seen, ends, never = np.zeros((1, 8), np.int32), np.ones((1, 8), bool), np.zeros((1, 8), bool)
    batch = Step(seen, action, reward[action], seen, ends, never)
    updated, metrics = UPDATE(algorithm, learner._replace(network=network), batch)

    logits = updated.network.actor.weights[0][0] + updated.network.actor.biases[0]
    deviation = np.sqrt(n / 8 @ reward**2 - (n / 8 @ reward) ** 2)
    np.testing.assert_allclose(
        logits - np.log(n / 8), np.sqrt(2 * delta) / deviation * (reward - reward.mean()), rtol=1e-6
    )
    assert "is_line_search_success" not in metrics


# Its parts


@pytest.mark.parametrize(
    ("accepts", "max_iter", "expected"),
    [
        (lambda x: x < 10, 5, 1.0),
        (lambda x: x < 0.3, 5, 0.25),
        (lambda x: x < 0.3, 2, 0.0),
        (lambda x: x < 0.3, 3, 0.25),
        (lambda x: x > 2, 5, 0.0),
    ],
)
def test_the_first_step_that_is_accepted_is_taken(accepts, max_iter, expected):
    assert backtrack(accepts, jnp.zeros(()), jnp.ones(()), 0.5, max_iter) == expected


def test_the_policy_learns_from_one_step_in_so_many():
    """By chance, none twice, and whole rows."""
    row = np.arange(12.0)
    samples = Sample(row[:, None], None, row, (), row, row, row)
    for factor, n in ((1, 12), (5, 2), (3, 4)):
        chosen = TRPO(sub_sampling_factor=factor).subsample(samples, KEY)
        assert len(set(np.asarray(chosen.action).tolist())) == len(chosen.action) == n
        for part in (chosen.x[:, 0], chosen.advantage):
            np.testing.assert_array_equal(part, chosen.action)


class OneModule(eqx.Module):
    weight: jax.Array

    def __call__(self, observation):
        outputs = observation @ self.weight
        return outputs[..., :2], outputs[..., 2]


def one_module(key, spec):
    return OneModule(jnp.zeros((3, 3)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sub_sampling_factor": 5, "n_steps": 4, "batch_size": 8}, "^TRPO: sub_sampling_factor 5 leaves too few of 8"),
        ({"network": one_module}, "^TRPO: the network one_module must return a tuple of 2, it returned 1"),
        ({"target_kl": 0.0}, "^TRPO: target_kl must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, message):
    with pytest.raises(TeguError, match=message) as caught:
        TRPO(**settings).validate(EnvironmentSpec("test", BOX, ACTIONS["box"], n_envs=B))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ACTIONS)
def test_what_fits_is_accepted(kind):
    TRPO(**SMALL).validate(spec_of(kind))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0), (4.0, 1.0, 0.0)])
def test_a_singular_fisher_matrix_leaves_numbers(weights, dtype):
    """Without damping, and with a gradient where the policy does not change: a step is of ``target_kl`` or none."""
    algorithm = TRPO(target_kl=0.02, **SMALL | {"cg_damping": 0.0})
    network = {"a": jnp.zeros(3, dtype)}

    def divergence(network):
        return 0.5 * (jnp.asarray(weights, dtype) * network["a"] ** 2).sum()

    step = algorithm.natural_step(divergence, network, {"a": jnp.asarray([1.0, -2.0, 0.0], dtype)})
    assert np.isfinite(step["a"]).all()
    np.testing.assert_allclose(divergence(step), 0.02 if any(weights) else 0.0, rtol=1e-4)
