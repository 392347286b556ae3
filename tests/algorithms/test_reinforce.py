"""REINFORCE against a re-implementation in NumPy float64. ``nn/test_exact_gradient.py`` tests that it has no bias."""

import jax
import numpy as np
import pytest
from policies_by_hand import (
    ACTIONS,
    BOX,
    B,
    T,
    learner_of,
    log_prob_and_entropy,
    numpy_inputs,
    numpy_sample,
    rollout,
    spec_of,
)

from tegu.algorithms.reinforce import REINFORCE
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec

KEY = jax.random.key(0)
UPDATE = jax.jit(lambda algorithm, learner, batch: algorithm.update(learner, batch, KEY)[:2])
SMALL = {"net_arch": (5,), "n_steps": T, "learning_rate": 1e-2, "gamma": 0.9}

pytestmark = pytest.mark.usefixtures("x64")


def numpy_policy_loss(numerics, kind, network, x, mask, action, advantage):
    outputs = numerics.mlp(network.actor, x, np.tanh)
    log_prob, _ = log_prob_and_entropy(kind, outputs, network.log_std, action, mask)
    return -(log_prob * advantage).mean()


@pytest.mark.parametrize("normalize", [False, True])
def test_without_a_baseline_only_the_steps_of_whole_episodes_count(numerics, normalize):
    """Each with all that its episode brought from there on; a time limit ends it as well. The critic stays."""
    algorithm = REINFORCE(normalize_advantage=normalize, **SMALL)
    learner, batch = learner_of(algorithm, "discrete"), rollout("discrete")
    returns, counts = np.zeros((T, B)), np.zeros((T, B), bool)
    for b in range(B):
        for t in range(T):
            for k in range(t, T):
                returns[t, b] += 0.9 ** (k - t) * batch.reward[k, b]
                if batch.terminated[k, b] or batch.truncated[k, b]:
                    counts[t, b] = True
                    break
    assert 0 < counts.sum() < T * B
    if normalize:
        returns = (returns - returns[counts].mean()) / (returns[counts].std() + 1e-8)
    advantage = np.where(counts, returns, 0)

    x, mask = numpy_inputs(algorithm, learner, batch.observation), batch.observation["action_mask"]

    def loss(net):
        return numpy_policy_loss(numerics, "discrete", net, x, mask, batch.action, advantage)

    expected = numerics.Adam(np.inf, 1e-5).step(learner.network, numerics.gradient(loss, learner.network), 1e-2)
    updated, metrics = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(numerics.flat(updated.network), numerics.flat(expected), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(numerics.flat(updated.network.critic), numerics.flat(learner.network.critic))
    np.testing.assert_allclose(metrics["policy_loss"], loss(learner.network), rtol=1e-6)
    np.testing.assert_allclose(metrics["finished_fraction"], counts.mean())
    assert updated.updates == metrics["n_updates"] == 1


def test_with_a_baseline_all_steps_count_and_the_baseline_learns(numerics):
    """Generalised advantages, with the value of what a cut episode would have brought; then Adam's step on the errors
    of the baseline."""
    settings = {"baseline": True, "gae_lambda": 0.8, "critic_learning_rate": 3e-2, "n_critic_updates": 1}
    algorithm = REINFORCE(**settings, batch_size=T * B, **SMALL)
    learner, batch = learner_of(algorithm, "box"), rollout("box")
    sample = numpy_sample(numerics, algorithm, "box", learner, batch._replace(extras=np.zeros((T, B))), batch.reward)

    def loss(net):
        return numpy_policy_loss(numerics, "box", net, sample.x, None, sample.action, sample.advantage)

    def value_loss(net):
        return ((numerics.mlp(net.critic, sample.x, np.tanh)[..., 0] - sample.target) ** 2).mean()

    expected = numerics.Adam(np.inf, 1e-5).step(learner.network, numerics.gradient(loss, learner.network), 1e-2)
    expected = numerics.Adam(np.inf, 1e-5).step(expected, numerics.gradient(value_loss, expected), 3e-2)
    updated, metrics = UPDATE(algorithm, learner, batch)
    np.testing.assert_allclose(numerics.flat(updated.network), numerics.flat(expected), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics["value_loss"], value_loss(learner.network), rtol=1e-6)
    assert "finished_fraction" not in metrics


def test_only_without_a_baseline_rollouts_begin_new_episodes():
    assert REINFORCE(n_steps=7).experience.whole
    assert not REINFORCE(n_steps=7, baseline=True).experience.whole
    assert REINFORCE(n_steps=7).experience.n_steps == 7


def test_the_baseline_is_no_part_of_the_network_where_it_is_not_used():
    for baseline, parts in ((False, ["actor"]), (True, ["actor", "critic"])):
        algorithm = REINFORCE(baseline=baseline, **SMALL)
        learner = jax.eval_shape(lambda algorithm=algorithm: algorithm.init(KEY, spec_of("box")))
        assert [part for part, _ in algorithm.networks(learner)] == parts


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gae_lambda": 0.9}, r"^REINFORCE: gae_lambda needs a baseline, got 0\.9 and baseline False"),
        ({"n_steps": 0}, "^REINFORCE: n_steps must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, message):
    with pytest.raises(TeguError, match=message) as caught:
        REINFORCE(**settings).validate(EnvironmentSpec("test", BOX, ACTIONS["box"], n_envs=B))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ACTIONS)
def test_what_fits_is_accepted(kind):
    REINFORCE(n_steps=5).validate(spec_of(kind))
