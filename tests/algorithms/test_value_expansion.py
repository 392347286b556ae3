"""The targets of model-based value expansion against the paper's sums in float64, in an imagined world by hand."""

import given_noise
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

import tegu
from tegu.algorithms import value_expansion
from tegu.algorithms.soft_values import soft_targets
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.experience.base import Batch
from tegu.nn.moments import RunningMoments
from tegu.search.shooting import Outcome

BOX = EnvironmentSpec("box", spaces.Box(-9, 9, (2,)), spaces.Box(np.float32([-3]), np.float32([1])))
CHOICE = EnvironmentSpec("choice", spaces.Box(-9, 9, (2,)), spaces.Discrete(3))
KEY, B, GAMMA, ALPHA = jax.random.key(0), 8, 0.9, 0.3
MEAN, VARIANCE = np.array([0.3, -0.2]), np.array([2.0, 0.5])  # of observations, where they are standardised
NOISE = np.random.default_rng(7).normal(size=(B, 1))
SMALL = {"net_arch": (8,), "model_arch": (4,), "gamma": GAMMA}
SOFT = SMALL | {"ent_coef": ALPHA}

pytestmark = pytest.mark.usefixtures("x64")


def world(x, action):
    """Rewards, ends and next observations of observations ``[..., 2]`` and actions ``[...]``, in NumPy or JAX."""
    array = jnp if isinstance(x, jax.Array) else np
    return x[..., 0] + 0.5 * action, x[..., 1] > 0.8, array.stack([x[..., 1] + action, 0.9 * x[..., 0]], axis=-1)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    def imagined(dynamics, space, key, action, observation, settings):
        number = action if isinstance(space, spaces.Discrete) else action[..., 0]
        reward, terminated, following = world(observation, number)
        return Outcome(reward, terminated), following

    monkeypatch.setattr(value_expansion, "imagined", imagined)


def learner_of(algorithm, spec=BOX):
    """A learner whose targets are not its networks."""
    learner, other = (algorithm.init(jax.random.key(seed), spec) for seed in (0, 9))
    learner = learner._replace(target_critics=other.critics)
    if isinstance(algorithm, tegu.DDPG):
        return learner._replace(target_actor=other.actor)
    if algorithm.normalize_observation:
        return learner._replace(observation_moments=RunningMoments(jnp.array(MEAN), jnp.array(VARIANCE), jnp.ones(())))
    return learner


def steps(spec=BOX):
    random = np.random.default_rng(1)
    observation, following = random.normal(size=(2, B, 2))
    discrete = isinstance(spec.action_space, spaces.Discrete)
    action = random.integers(0, 3, B) if discrete else random.uniform(-3, 1, (B, 1))
    terminated = np.arange(B) == 2
    return Step(observation, action, random.normal(size=B), following, terminated, terminated & False)


def from_unit(unit):
    return -3 + 4 * (unit + 1) / 2


def to_unit(action):
    return action / 2 + 0.5


def relu(x):
    return np.maximum(x, 0)


def targets_of(rows, horizon, td_k, decide, value):
    """Observations, actions and targets, one after the other, by the sums of the paper.

    ``decide(x, b, t)``: an action in x at the t-th imagined step of row b, and what is paid for it; ``value(x, b)``:
    what follows.
    """
    found, lengths = [[] for _ in range(horizon + 1 if td_k else 1)], []
    for b in range(B):
        way, paid, rewards = [(rows.observation[b], rows.action[b])], [0.0], [rows.reward[b]]
        x, ended = rows.next_observation[b], rows.terminated[b]
        while not ended and len(way) <= horizon:
            action, bonus = decide(x, b, len(way) - 1)
            way.append((x, action))
            paid.append(bonus)
            reward, ended, x = world(x, np.ravel(action)[0])
            rewards.append(reward)
        n = len(way)
        lengths.append(n)
        beyond = 0.0 if ended else value(x, b)
        sums = [
            sum(GAMMA ** (k - t) * rewards[k] for k in range(t, n))
            + sum(GAMMA ** (k - t) * paid[k] for k in range(t + 1, n))
            + GAMMA ** (n - t) * beyond
            for t in range(n)
        ]
        for t, at in enumerate(found):
            at.append((*way[t], sums[t]) if t < n else (*way[0], sums[0]))  # after an end the real step counts again
    assert len(set(lengths)) == horizon + 1, "no episode ends on the way"
    parts = zip(*(row for at in found for row in at), strict=True)
    return [np.array([np.broadcast_to(each, np.shape(part[0])) for each in part]) for part in map(list, parts)]


def agree(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)  # networks see observations in float32


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("td_k", [True, False])
def test_ddpgs_targets_are_the_sums_of_the_paper(horizon, td_k):
    algorithm = tegu.DDPG(**SMALL, model_steps=horizon, td_k=td_k)
    learner, rows = learner_of(algorithm), steps()

    def act(x):
        return np.asarray(learner.target_actor(x[None]))[0]

    def value(x, b):
        return float(learner.target_critics[0](x[None], act(x)[None])[0])

    expected = targets_of(rows, horizon, td_k, lambda x, b, t: (from_unit(act(x)), 0.0), value)
    agree(algorithm.targets(learner, jax.tree.map(jnp.asarray, rows), KEY), expected)


@pytest.mark.slow
@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("td_k", [True, False])
@pytest.mark.parametrize("kind", ["sac", "standardised", "quantiles"])
def test_soft_targets_count_the_entropy_of_all_states_after_the_real_one(monkeypatch, numerics, horizon, td_k, kind):
    options = {"standardised": {"normalize_observation": True}, "quantiles": {"n_quantiles": 4}}.get(kind, {})
    algorithm = tegu.SAC(**SOFT, model_steps=horizon, td_k=td_k, top_quantiles_to_drop_per_net=1, **options)
    learner, rows = learner_of(algorithm), steps()
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.array(NOISE))  # the same at every step

    def seen(x):
        return (x - MEAN) / np.sqrt(VARIANCE) if kind == "standardised" else x

    def drawn(x, b):
        """The action, scaled, and alpha times minus its log-density."""
        mean, log_std = np.split(numerics.mlp(learner.actor.mlp, seen(x)[None], relu)[0], 2)
        normal = mean + np.exp(log_std) * NOISE[b]
        log_prob = stats.norm.logpdf(normal, mean, np.exp(log_std)) - np.log(1 - np.tanh(normal) ** 2)
        return np.tanh(normal), -ALPHA * log_prob.sum()

    def decide(x, b, t):
        action, bonus = drawn(x, b)
        return from_unit(action), bonus

    def value(x, b):
        action, bonus = drawn(x, b)
        joint = np.concatenate([seen(x), action])[None]
        found = np.array([numerics.mlp(critic.mlp, joint, relu)[0] for critic in learner.target_critics])
        return bonus + (np.sort(found.ravel())[:6] if kind == "quantiles" else found.min())

    expected = targets_of(rows, horizon, td_k, decide, value)
    agree(soft_targets(algorithm, learner, jax.tree.map(jnp.asarray, rows), ALPHA, KEY), expected)


@pytest.mark.slow
def test_discrete_actions_are_drawn_and_their_entropy_is_exact(numerics):
    """Values are expectations over them, so that what is drawn can be read from what is returned."""
    algorithm = tegu.SAC(**SOFT, model_steps=3)
    learner, rows = learner_of(algorithm, CHOICE), steps(CHOICE)
    found = soft_targets(algorithm, learner, jax.tree.map(jnp.asarray, rows), ALPHA, KEY)
    actions = np.asarray(found[1]).reshape(4, B)

    def policy(x):
        logits = numerics.mlp(learner.actor.mlp, x[None], relu)[0]
        probability = np.exp(logits) / np.exp(logits).sum()
        return probability, -ALPHA * (probability * np.log(probability)).sum()

    def value(x, b):
        probability, bonus = policy(x)
        critics = [numerics.mlp(critic.mlp, x[None], relu)[0] for critic in learner.target_critics]
        return bonus + (probability * np.min(critics, axis=0)).sum()

    agree(found, targets_of(rows, 3, True, lambda x, b, t: (actions[t + 1, b], policy(x)[1]), value))
    real_alone = tegu.SAC(**SOFT, model_steps=3, td_k=False)
    real = soft_targets(real_alone, learner, jax.tree.map(jnp.asarray, rows), ALPHA, KEY)
    agree(real, [part[:B] for part in found])


def test_every_imagined_step_draws_anew(monkeypatch):
    """In a world that stands still, actions differ from step to step, and as the policy says they do."""

    def still(dynamics, space, key, action, observation, settings):
        return Outcome(action[..., 0], jnp.zeros(action.shape[:2], bool)), observation

    monkeypatch.setattr(value_expansion, "imagined", still)
    algorithm, n = tegu.SAC(**SOFT, model_steps=2), 2000
    learner, row = learner_of(algorithm), jax.tree.map(lambda leaf: leaf[:1], steps())
    rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (n, *leaf.shape[1:])), row)
    _, actions, _ = soft_targets(algorithm, learner, rows, ALPHA, KEY)
    normals = np.arctanh(to_unit(np.asarray(actions).reshape(3, n)[1:]))
    policy = learner.actor(rows.next_observation[:1])
    mean, std = float(policy.mean[0, 0]), float(jnp.exp(policy.log_std[0, 0]))
    for normal in normals:
        assert stats.kstest(normal, stats.norm(mean, std).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(normals)[0, 1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("spec", [BOX, CHOICE], ids=["box", "choice"])
def test_an_update_learns_the_model_first_and_then_all_targets(numerics, spec):
    algorithm = tegu.SAC(**SOFT, model_steps=2, batch_size=B)
    learner, rows = learner_of(algorithm, spec), jax.tree.map(jnp.asarray, steps(spec))
    learner, _ = algorithm.take(learner, rows)
    assert learner.dynamics.inputs.n > B - 1
    after, metrics, _ = algorithm.update(learner, Batch(rows, jnp.ones(B)), KEY)
    assert (numerics.flat(after.dynamics.ensemble) != numerics.flat(learner.dynamics.ensemble)).any()
    assert {"model_loss", "model_error", "model_end_loss"} <= metrics.keys()
    with_model = learner._replace(dynamics=after.dynamics)
    target_key, _ = jax.random.split(KEY)
    seen, action, target = map(np.asarray, soft_targets(algorithm, with_model, rows, ALPHA, target_key))
    losses = []
    for critic in learner.critics:
        if spec is BOX:
            value = numerics.mlp(critic.mlp, np.concatenate([seen, to_unit(action)], axis=1), relu)[:, 0]
        else:
            value = numerics.mlp(critic.mlp, seen, relu)[np.arange(3 * B), action]
        losses.append(0.5 * ((value - target) ** 2).mean())
    np.testing.assert_allclose(metrics["critic_loss"], sum(losses), rtol=1e-6)


def test_without_model_steps_there_is_no_model(numerics):
    """And the options of one change nothing."""
    plain, with_options = tegu.SAC(**SOFT), tegu.SAC(**SOFT, td_k=False, model_learning_rate=1.0)
    learner, rows = learner_of(plain), steps()
    assert learner.dynamics == with_options.init(KEY, BOX).dynamics == ()
    noise = [NOISE, NOISE]
    first, second = (given_noise.update(algorithm, learner, rows, noise) for algorithm in (plain, with_options))
    np.testing.assert_array_equal(numerics.flat(first), numerics.flat(second))
    assert not any(key.startswith("model") for key in first[1])


@pytest.mark.parametrize("name", ["MVEDDPG", "SAC", "TQC"])
def test_observations_without_a_model_are_refused(name):
    spec = EnvironmentSpec("test", spaces.Discrete(3), spaces.Box(-1, 1, (1,)))
    algorithm = getattr(tegu, name)(model_steps=1)
    with pytest.raises(TeguError, match=f"^{algorithm.title}: a model is learned of observations that are vectors of"):
        algorithm.validate(spec)


@pytest.mark.parametrize("name", ["MVEDDPG", "SAC"])
def test_the_layers_of_the_model_are_checked(name):
    with pytest.raises(TeguError, match="model_arch must be widths from 1"):
        getattr(tegu, name)(model_steps=1, model_arch=(0,)).validate(BOX)


def test_critics_without_targets_are_refused():
    with pytest.raises(TeguError, match=r"^CrossQ: model_steps cannot be used with batch_norm, which has no target"):
        tegu.CrossQ(model_steps=1).validate(BOX)
