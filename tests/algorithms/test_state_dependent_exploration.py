"""gSDE: densities and noise against NumPy, when the noise is drawn anew, and what does not go with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

import tegu
from tegu.algorithms.a2c import A2C
from tegu.algorithms.ppo import PPO
from tegu.algorithms.sac import SAC
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.nn.state_dependent_noise import SDE, StateDependentNoise, StateDependentPolicy

B, UNITS, ACTIONS = 4, 5, 2
BOX = spaces.Box(-1, 1, (ACTIONS,))
SPEC = EnvironmentSpec("test", spaces.Box(-1, 1, (3,)), BOX, n_envs=B)
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
OBSERVATION = RNG.normal(size=(B, 3)).astype(np.float32)
PARAMETERS = [(full_std, use_expln) for full_std in (True, False) for use_expln in (True, False)]
KINDS = {"ppo": PPO, "a2c": A2C, "sac": SAC}


def made(kind, **settings):
    """The algorithm and a learner whose noise is not the same for all features."""
    algorithm = KINDS[kind](use_sde=True, net_arch=(UNITS,), activation="tanh", **settings)
    learner = algorithm.init(KEY, SPEC)
    network = learner.actor if kind == "sac" else learner.network
    log_std = jnp.asarray(RNG.normal(size=network.noise.log_std.shape), network.noise.log_std.dtype)
    object.__setattr__(network.noise, "log_std", log_std)  # the learner is this test's alone
    return algorithm.at(Clock.of(0, 1)), learner


def by_hand(kind, learner, observation):
    """Features ``[B, n]``, means ``[B, k]`` and standard deviations of the weights ``[n, k]``, in NumPy."""
    network = learner.actor if kind == "sac" else learner.network
    layers = network.mlp if kind == "sac" else network.actor
    first, last = (np.asarray(weight, float) for weight in layers.weights)
    first_bias, last_bias = (np.asarray(bias, float) for bias in layers.biases)
    hidden = np.tanh(observation @ first + first_bias)
    mean = hidden @ last + last_bias
    log_std = np.asarray(network.noise.log_std, float)
    if network.noise.use_expln:
        std = np.array([[np.exp(x) if x <= 0 else np.log(x + 1) + 1 for x in row] for row in log_std])
    else:
        std = np.exp(log_std)
    return hidden, np.clip(mean, -2, 2) if kind == "sac" else mean, np.repeat(std, ACTIONS // std.shape[1], axis=1)


def policy_of(kind, algorithm, learner):
    return learner.actor(OBSERVATION) if kind == "sac" else learner.network(OBSERVATION)[0]


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["ppo", "sac"])
@pytest.mark.parametrize(("full_std", "use_expln"), PARAMETERS)
def test_the_density_is_that_of_normals_with_the_variance_of_the_noise(kind, full_std, use_expln):
    """Against SciPy's normals; SAC's with the change of variables of the hyperbolic tangent."""
    algorithm, learner = made(kind, full_std=full_std, use_expln=use_expln)
    hidden, mean, std = by_hand(kind, learner, OBSERVATION)
    deviation = np.sqrt((hidden[:, :, None] ** 2 * std**2).sum(axis=1) + 1e-6)
    normal = RNG.normal(size=(B, ACTIONS))
    expected = stats.norm.logpdf(normal, mean, deviation).sum(axis=1)
    policy = policy_of(kind, algorithm, learner)
    if kind == "sac":
        found = policy.log_prob(np.tanh(normal))
        expected -= np.log(1 - np.tanh(normal) ** 2).sum(axis=1)
    else:
        found = policy.log_prob(normal)
        np.testing.assert_allclose(policy.entropy(), stats.norm.entropy(mean, deviation).sum(axis=1))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", KINDS)
def test_actions_are_means_plus_features_times_weights(kind):
    """With the weights that the memory holds; PPO keeps the log-density of what it did."""
    algorithm, learner = made(kind, **({"learning_starts": 0} if kind == "sac" else {}))
    decision = algorithm.act(learner, OBSERVATION, algorithm.begin(learner, KEY, B), KEY, explore=True)
    hidden, mean, std = by_hand(kind, learner, OBSERVATION)
    weights = np.asarray(decision.memory.normals) * std
    expected = mean + np.stack([hidden[b] @ weights[b] for b in range(B)])
    np.testing.assert_allclose(decision.action, np.tanh(expected) if kind == "sac" else expected, rtol=1e-9)
    if kind == "ppo":
        deviation = np.sqrt(hidden**2 @ std**2 + 1e-6)
        log_prob = stats.norm.logpdf(expected, mean, deviation).sum(axis=1)
        np.testing.assert_allclose(decision.extras, log_prob, rtol=1e-9)


@pytest.mark.parametrize(("full_std", "use_expln"), PARAMETERS)
def test_noise_over_many_matrices_has_the_variance_of_the_density(full_std, use_expln):
    noise = StateDependentNoise((UNITS, ACTIONS), 0.4, SDE(full_std, use_expln))
    hidden, n = RNG.normal(size=UNITS), 40_000
    found = np.asarray(noise(jnp.tile(hidden, (n, 1)), jax.random.normal(KEY, (n, UNITS, ACTIONS))))
    expected = np.exp(2 * np.asarray(noise.log_std_of(hidden)))
    # the relative standard error of a variance is sqrt(2 / n) = 0.007; of a correlation 1 / sqrt(n) = 0.005
    np.testing.assert_allclose(found.var(axis=0), expected, rtol=0.04)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.02 * np.sqrt(expected.max()))
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "freq"), [("ppo", -1), ("a2c", 3), ("sac", 0), ("sac", 3)])
def test_weights_stay_until_they_are_to_be_drawn(kind, freq):
    """For ``sde_sample_freq`` steps, at most to the end of the rollout, and in each environment others."""
    algorithm, learner = made(kind, sde_sample_freq=freq)
    act = jax.jit(lambda *given: given[0].act(*given[1:], explore=True))
    memory, seen = algorithm.begin(learner, KEY, B), []
    for t in range(16):  # rollouts of 8 steps in 4 environments
        now = algorithm.at(Clock.of(t // 8 * 8 * B, 1000))
        memory = act(now, learner, OBSERVATION, memory, jax.random.key(t)).memory
        seen.append(np.asarray(memory.normals))
    changed = [0] + [t for t in range(1, 16) if (seen[t] != seen[t - 1]).any()]
    assert changed == ([0, 8] if freq < 1 else [0, 3, 6, 8, 11, 14])
    for t in changed[1:]:
        assert (seen[t] != seen[t - 1]).all()
    assert len(np.unique(seen[0])) == seen[0].size


def test_an_episode_that_begins_gets_weights_of_its_own():
    """The others keep theirs."""
    algorithm, learner = made("a2c")
    fresh = algorithm.begin(learner, KEY, B)
    memory = algorithm.act(learner, OBSERVATION, fresh, KEY, explore=True).memory
    begins = np.array([True, False, False, True])
    mixed = jax.tree.map(lambda new, old: jnp.where(begins.reshape(-1, *[1] * (old.ndim - 1)), new, old), fresh, memory)
    after = algorithm.act(learner, OBSERVATION, mixed, jax.random.key(1), explore=True).memory
    np.testing.assert_array_equal((after.normals != memory.normals).all(axis=(1, 2)), begins)
    np.testing.assert_array_equal((after.normals == memory.normals).all(axis=(1, 2)), ~begins)


@pytest.mark.parametrize("kind", KINDS)
def test_the_deterministic_policy_has_no_noise(kind):
    algorithm, learner = made(kind)
    memory = algorithm.begin(learner, KEY, B)
    decision = algorithm.act(learner, OBSERVATION, memory, KEY, explore=False)
    _, mean, _ = by_hand(kind, learner, OBSERVATION)
    np.testing.assert_allclose(decision.action, np.tanh(mean) if kind == "sac" else mean, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, decision.memory, memory)


@pytest.mark.parametrize(("warmed_up", "random"), [(False, True), (True, False)])
def test_random_actions_before_learning_unless_the_policy_is_to_warm_up(warmed_up, random):
    algorithm, learner = made("sac", use_sde_at_warmup=warmed_up, learning_starts=100)
    decision = algorithm.act(learner, OBSERVATION, algorithm.begin(learner, KEY, B), KEY, explore=True)
    hidden, mean, std = by_hand("sac", learner, OBSERVATION)
    own = np.tanh(mean + np.einsum("bn,bnk->bk", hidden, np.asarray(decision.memory.normals) * std))
    assert np.allclose(decision.action, own, atol=1e-5) != random


def test_noise_moves_the_features_of_sac_alone():
    """As in Stable-Baselines3, where ``learn_features`` is off for PPO and A2C, and on for SAC."""

    def spread(network):
        policy = network(OBSERVATION)
        return (policy if isinstance(network, StateDependentPolicy) else policy[0]).log_std.sum()

    for kind, moves in (("ppo", False), ("sac", True)):
        _, learner = made(kind)
        network = learner.actor if kind == "sac" else learner.network
        gradient = jax.grad(spread)(network)
        layer = gradient.mlp.weights[0] if kind == "sac" else gradient.actor.weights[0]
        assert bool((layer != 0).any()) == moves
        assert (gradient.noise.log_std != 0).all()


@pytest.mark.parametrize("cls", [A2C, SAC])
def test_boxes_of_any_shape(cls):
    spec = EnvironmentSpec("test", SPEC.observation_space, spaces.Box(-1, 1, (2, 3)), n_envs=B)

    def action():
        algorithm = cls(use_sde=True, net_arch=(UNITS,))
        learner = algorithm.init(KEY, spec)
        return algorithm.act(learner, OBSERVATION, algorithm.begin(learner, KEY, B), KEY, explore=True).action

    assert jax.eval_shape(action).shape == (B, 2, 3)


@pytest.mark.slow
def test_updates_learn_how_far_the_noise_scatters():
    """And report it, as Stable-Baselines3 does."""
    figures = []
    algorithm = PPO(use_sde=True, net_arch=(UNITS,), n_steps=8, batch_size=32)
    taken = (lambda progress: figures.extend(progress.metrics),)
    agent = tegu.train("Pendulum-v1", algorithm, steps=64, n_envs=4, folder=None, log_interval=32, callbacks=taken)
    log_std = np.asarray(agent.learner().network.noise.log_std)
    assert len(np.unique(log_std)) == UNITS
    assert figures[-1]["train/std"] == pytest.approx(np.exp(log_std).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("make", "space", "message"),
    [
        (lambda: PPO(use_sde=True), spaces.Discrete(2), r"PPO: use_sde needs a Box action space, got Discrete\(2\)"),
        (lambda: SAC(use_sde=True), spaces.Discrete(2), r"SAC: use_sde needs a Box action space, got Discrete\(2\)"),
        (lambda: A2C(use_sde=True, network="a:b"), BOX, "A2C: use_sde needs Tegu's network"),
        (lambda: PPO(use_sde=True, recurrent="gru"), BOX, "PPO: use_sde cannot be used with recurrent gru"),
    ],
)
def test_what_does_not_go_with_it(make, space, message):
    with pytest.raises(TeguError, match=message):
        make().validate(EnvironmentSpec("test", SPEC.observation_space, space, n_envs=B))
    with pytest.raises(TeguError, match="sde_sample_freq must be at least -1, got -2"):
        PPO(sde_sample_freq=-2)


def test_agents_have_no_such_noise_yet():
    with pytest.raises(TeguError, match=r"^IPPO: use_sde must be off$"):
        tegu.train("simple_spread_v3", "ippo", use_sde=True, folder=None)
