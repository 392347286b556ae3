"""Model-predictive control with given and learned models: what particles play, what is learned, what is refused."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.learned_dynamics import (
    Settings,
    imagined,
    learned,
    model_metrics,
    new_dynamics,
    with_moments,
)
from tegu.algorithms.mpc import learned_model
from tegu.algorithms.registry import algorithm
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.nn.moments import RunningMoments
from tegu.search.shooting import discounted_return
from tegu.spaces.relaxed import action_features

ACTIONS = spaces.Box(-1, 1, (1,))
SPEC = EnvironmentSpec("test", spaces.Box(-10, 10, (2,)), ACTIONS)
KEY = jax.random.key(0)


def settings(**changes):
    usual = {"members": 2, "net_arch": (), "activation": "relu", "learning_rate": 3e-3, "weight_decay": 0.0}
    return Settings(**usual | {"probabilistic": False, "nll_beta": 1.0, "learns_end": True} | changes)


@pytest.fixture
def by_hand():
    """Two linear networks, without standardisation: the first moves by the action, the second by twice as much; both
    pay the first number observed, and end where the second is above 3.5."""
    dynamics = new_dynamics(KEY, SPEC, settings())
    weight = np.zeros((2, 3, 7), np.float32)  # [network, observation and action, change, reward, variances and end]
    weight[0, 2, :2], weight[1, 2, :2] = 1, 2
    weight[:, 0, 2] = 1
    weight[:, 1, 6] = 1
    bias = np.zeros((2, 1, 7), np.float32)
    bias[..., 6] = -3.5
    ensemble = dynamics.ensemble
    ensemble = jax.tree.unflatten(
        jax.tree.structure(ensemble), [jnp.asarray(weight), jnp.asarray(bias), *jax.tree.leaves(ensemble)[2:]]
    )
    one = RunningMoments(jnp.zeros(3), jnp.ones(3) - 1e-8, jnp.ones(()))
    return dynamics._replace(ensemble=ensemble, inputs=one, outputs=one)


def by_network(step, start, actions):
    """The return of one sequence by a network that moves by ``step`` times the action."""
    total, (x, y) = 0.0, start
    for action in actions:
        total += x
        if y > 3.5:
            break
        x, y = x + step * action, y + step * action
    return total


def test_particles_keep_their_network(by_hand):
    """Trajectory sampling with one network each, against a hand-made case."""
    model = learned_model(ACTIONS, settings(), "tsinf")
    sequences = np.array([[0.5, 1.0, -1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [-1.0, 0.0, 0.5, 0.5]])
    particles = jnp.broadcast_to(jnp.array([1.0, 2.0]), (4, 3, 2))
    found = discounted_return(model, by_hand, KEY, particles, jnp.asarray(sequences.T[..., None], jnp.float32), 1.0)
    expected = [np.mean([by_network(step, (1.0, 2.0), row) for step in (1, 2)]) for row in sequences]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_particles_change_networks_at_every_step(by_hand):
    """Of many particles nearly all shares of networks occur: after three steps of 1 they have come 3, 4, 5 or 6 far,
    binomially often."""
    model, observation = learned_model(ACTIONS, settings(learns_end=False), "ts1"), jnp.zeros((4000, 1, 2))
    for key in jax.random.split(KEY, 3):
        _, observation = model(by_hand, key, jnp.ones((1, 1)), observation)
    come, times = np.unique(np.rint(observation[:, 0, 0]), return_counts=True)
    assert come.tolist() == [3, 4, 5, 6]
    np.testing.assert_allclose(times / 4000, [1 / 8, 3 / 8, 3 / 8, 1 / 8], atol=0.04)


@pytest.mark.parametrize(("sampling", "expected"), [("ts1", 2.0), ("tsinf", 5.5)])
def test_an_end_belongs_to_the_particle_and_not_to_the_network(by_hand, sampling, expected):
    """One network always ends and the other never does, each step pays 1: with a network drawn anew at each step, half
    of those alive end at each; with one network each, half of them play all ten steps."""
    ensemble = by_hand.ensemble
    weight, bias = jnp.zeros_like(ensemble.weights[0]), jnp.zeros_like(ensemble.biases[0])
    bias = bias.at[:, 0, 2].set(1.0).at[:, 0, 6].set(jnp.array([1.0, -1.0]))
    made = jax.tree.unflatten(jax.tree.structure(ensemble), [weight, bias, *jax.tree.leaves(ensemble)[2:]])
    model, particles = learned_model(ACTIONS, settings(), sampling), jnp.zeros((4000, 1, 2))
    found = discounted_return(model, by_hand._replace(ensemble=made), KEY, particles, jnp.zeros((10, 1, 1)), 1.0)
    assert float(found[0]) == pytest.approx(expected, abs=0.1)


@pytest.mark.slow
def test_a_rare_large_reward_is_learned():
    """What is predicted is not clipped: one reward in a thousand is 100."""
    given, reward = settings(net_arch=(16,)), np.zeros(1000, np.float32)
    reward[:1] = 100
    observation = np.zeros((1000, 2), np.float32)
    observation[:1] = 3
    nothing = np.zeros(1000, bool)
    steps = Step(observation, np.zeros((1000, 1), np.float32), reward, observation, nothing, nothing, ())
    steps = jax.tree.map(jnp.asarray, steps)
    dynamics = with_moments(new_dynamics(KEY, SPEC, given), ACTIONS, steps)

    @jax.jit
    def fit(dynamics):
        def descend(dynamics, key):
            return learned(dynamics, ACTIONS, steps, key, given)

        return jax.lax.scan(descend, dynamics, jax.random.split(KEY, 500))[0]

    rare = jnp.full((2, 1, 2), 3.0)
    outcome, _ = imagined(fit(dynamics), ACTIONS, KEY, jnp.zeros((2, 1, 1)), rare, given)
    np.testing.assert_allclose(outcome.reward, 100, rtol=0.1)


@pytest.mark.slow
def test_an_agent_that_plans_in_its_environment_asks_for_it(tmp_path):
    agent = tegu.train("FrozenLake-v1", "mpc", steps=20, folder=None, horizon=2, n_candidates=8, n_elite=2)
    agent.save(tmp_path / "agent")
    assert tegu.load(tmp_path / "agent").predict(0)[0] in range(4)
    with pytest.raises(TeguError, match=r"^MPC: it plans in FrozenLake-v1 itself: pass an environment in JAX"):
        tegu.load(tmp_path / "agent", environment=gymnasium.make("FrozenLake-v1")).predict(0)


def test_probabilistic_networks_draw_what_they_predict(by_hand):
    """The standard deviation of what is imagined is the one predicted."""
    given = settings(probabilistic=True)
    rows = 20_000
    _, following = imagined(by_hand, ACTIONS, KEY, jnp.zeros((2, rows, 1)), jnp.zeros((2, rows, 2)), given)
    log_variance = by_hand.ensemble(jnp.zeros((2, 1, 3))).log_variance[0, 0, 0]
    assert float(following.std()) == pytest.approx(float(jnp.exp(0.5 * log_variance)), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("probabilistic", [False, True])
def test_a_linear_world_is_learned(probabilistic):
    """The error of what is predicted falls below a hundredth of what varies, and what ends an episode is found."""
    random, given = np.random.default_rng(0), settings(net_arch=(32,), probabilistic=probabilistic)
    observation = random.normal(size=(2000, 2)).astype(np.float32)
    action = random.uniform(-1, 1, (2000, 1)).astype(np.float32)
    following = observation + np.float32([0.1, -0.3]) * action + 0.05 * observation[:, ::-1]
    reward = observation[:, 0] - action[:, 0]
    ended = following[:, 0] > 1
    steps = Step(observation, action, reward, following, ended, np.zeros(2000, bool), ())
    steps = jax.tree.map(jnp.asarray, steps)
    dynamics = with_moments(new_dynamics(KEY, SPEC, given), ACTIONS, steps)

    @jax.jit
    def fit(dynamics):
        def descend(dynamics, key):
            return learned(dynamics, ACTIONS, jax.tree.map(lambda x: x[:256], steps), key, given)

        return jax.lax.scan(descend, dynamics, jax.random.split(KEY, 600))

    dynamics, metrics = fit(dynamics)
    assert float(model_metrics(dynamics, ACTIONS, steps, given)["model_error_ratio"]) < 0.01
    assert float(metrics["model_end_loss"][-1]) < 0.2 * float(metrics["model_end_loss"][0])
    outcome, _ = imagined(
        dynamics, ACTIONS, KEY, jnp.stack([steps.action] * 2), jnp.stack([steps.observation] * 2), given
    )
    assert float((outcome.terminated == steps.terminated).mean()) > 0.97


def test_discrete_actions_are_seen_one_hot():
    found = action_features(spaces.Discrete(3, start=2), np.array([2, 4]))
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("environment", "name", "given", "says"),
    [
        ("CartPole-v1", "mpc", {"planner": "best"}, "MPC: planner must be one of random, cem, mppi, got 'best'"),
        ("CartPole-v1", "mpc", {"n_elite": 500}, "MPC: n_elite must be at most n_candidates, got 500 of 400"),
        ("CartPole-v1", "pets", {"n_particles": 7}, "PETS: n_particles must be a multiple of ensemble_size"),
        ("CartPole-v1", "pets", {"trajectory_sampling": "ts2"}, "PETS: trajectory_sampling must be one of ts1, tsinf"),
        (
            "FrozenLake-v1",
            "pets",
            {},
            "PETS: a model is learned of observations that are vectors of floats (float32 or float64), the",
        ),
        ("TMaze-v0", "mpc", {}, "MPC: model='given' cannot be: TMaze-v0: its observations do not tell its state"),
    ],
)
def test_what_does_not_fit_is_refused(environment, name, given, says):
    world = tegu.make(environment)
    spec = EnvironmentSpec(environment, world.observation_space, world.action_space, model=world)
    with pytest.raises(TeguError) as caught:
        algorithm(name, given).validate(spec)
    assert str(caught.value).startswith(says)


def test_an_environment_of_the_host_is_no_model():
    with pytest.raises(
        TeguError, match=r"^MPC: model='given' needs an environment in JAX, test is none; set model='learned'"
    ):
        algorithm("mpc", {}).validate(SPEC)
