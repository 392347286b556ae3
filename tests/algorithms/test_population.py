"""What searches over a policy's parameters share: who plays which episode, what it earned, and how it acts."""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.algorithms.population import Generation, first_returns
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.base import Timestep
from tegu.nn.mlp import MLP
from tegu.nn.moments import RunningMoments

KEY = jax.random.key(0)
BOX = spaces.Box(-9, 9, (3,))
SPEC = EnvironmentSpec("test", BOX, spaces.Box(-1, 1, (2,)))
MAKERS = [
    lambda **more: tegu.ARS(n_delta=2, zero_policy=False, **more),
    lambda **more: tegu.CEM(population_size=4, n_elite=2, **more),
    lambda **more: tegu.OpenAIES(population_size=4, **{"net_arch": (), **more}),
    lambda **more: tegu.CMAES(population_size=4, **more),
]
INIT = jax.jit(lambda algorithm, spec: algorithm.init(KEY, spec), static_argnums=1)
ACT = jax.jit(
    lambda algorithm, learner, observation, member, explore: algorithm.act(
        learner, observation, member, KEY, explore=explore
    ),
    static_argnums=4,
)
searches = pytest.mark.parametrize("make", MAKERS, ids=["ars", "cem", "openai-es", "cma-es"])


def population(algorithm, learner):
    """The parameters of every member, ``[4, P]``."""
    mean = np.asarray(learner.policy.vector)
    if isinstance(algorithm, tegu.CEM | tegu.CMAES):
        return np.asarray(learner.population)
    std = algorithm.delta_std if isinstance(algorithm, tegu.ARS) else algorithm.noise_std
    noise = np.asarray(learner.noise)
    return np.concatenate([mean + std * noise, mean - std * noise])


def test_the_first_episode_counts():
    rng = np.random.default_rng(0)
    T, B, bonus = 7, 200, 0.25
    reward, ends = rng.normal(size=(T, B)).astype(np.float32), rng.integers(6, size=(T, B))
    returns, cut = first_returns(Step(None, None, reward, None, ends == 0, ends == 1), bonus)
    for i in range(B):
        expected, goes_on = 0.0, True
        for t in range(T):
            if goes_on:
                expected += reward[t, i] + bonus
                goes_on = ends[t, i] > 1
        assert returns[i] == pytest.approx(expected, abs=1e-5)
        assert cut[i] == goes_on
    assert 0 < cut.mean() < 1


def test_nothing_of_a_second_episode_counts_even_if_it_is_not_finite():
    reward = jnp.array([[1.0], [jnp.nan]])
    ended = jnp.array([[True], [False]])
    assert first_returns(Step(None, None, reward, None, ended, ~ended))[0] == 1


@pytest.mark.parametrize("n_envs", [1, 2, 4, 5, 9])
@pytest.mark.parametrize("n_eval_episodes", [1, 3])
def test_members_play_in_turn_for_any_number_of_environments(n_envs, n_eval_episodes):
    rng, played = np.random.default_rng(n_envs), {member: [] for member in range(4)}
    generation = Generation.start(4, RunningMoments.start())
    while not generation.complete(n_eval_episodes):
        assert min(map(len, played.values())) < n_eval_episodes
        members, returns = generation.members(n_envs), rng.normal(size=n_envs).astype(np.float32)
        for member, each in zip(members.tolist(), returns, strict=True):
            played[member].append(each)
        generation = generation.add(members, returns)
        means = [np.mean(each) if each else 0 for each in played.values()]
        np.testing.assert_allclose(generation.fitness, means, atol=1e-6)
    counts = [len(each) for each in played.values()]
    assert min(counts) >= n_eval_episodes
    assert max(counts) <= min(counts) + 1


@pytest.mark.parametrize("make", MAKERS[:3])  # the last one's population is given as the second's
def test_each_row_is_decided_by_its_member(make, numerics):
    """Against NumPy, with observations that are standardised; without exploration all by the mean."""
    algorithm = make(net_arch=(5,), normalize_observation=True)
    learner = INIT(algorithm, SPEC)
    moments = RunningMoments(jnp.array([1.0, -2.0, 0.0]), jnp.array([4.0, 1.0, 0.25]), jnp.float32(9))
    policy = eqx.tree_at(lambda policy: policy.moments, learner.policy, moments)
    learner = learner._replace(policy=policy, generation=learner.generation._replace(episodes=jnp.int32(3)))
    seen = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    member = algorithm.begin(learner, KEY, 7)
    assert member.tolist() == [3, 0, 1, 2, 3, 0, 1]
    chosen, mean = (ACT(algorithm, learner, seen, member, explore) for explore in (True, False))
    x = (seen - [1, -2, 0]) / [2, 1, 0.5]
    for row in range(7):
        vector = population(algorithm, learner)[member[row]]
        network = numerics.unflat(vector, learner.policy.network)
        np.testing.assert_allclose(chosen.action[row], numerics.mlp(network, x[row], np.tanh), atol=1e-5)
        expected = numerics.mlp(learner.policy.network, x[row], np.tanh)
        np.testing.assert_allclose(mean.action[row], expected, atol=1e-5)
    np.testing.assert_array_equal(chosen.memory, member)


def test_choices_are_the_best_legal_ones():
    observed = spaces.Dict({"x": BOX, "action_mask": spaces.MultiBinary(3)})
    algorithm = MAKERS[0]()
    learner = INIT(algorithm, EnvironmentSpec("test", observed, spaces.Discrete(3, start=5)))
    rng = np.random.default_rng(0)
    mask = rng.random((50, 3)) < 0.5
    mask[np.arange(50), rng.integers(3, size=50)] = True
    seen = {"x": jnp.array(rng.normal(size=(50, 3)), jnp.float32), "action_mask": jnp.array(mask, jnp.int8)}
    member = algorithm.begin(learner, KEY, 50)
    chosen = np.asarray(ACT(algorithm, learner, seen, member, True).action)
    vectors = population(algorithm, learner)[member]
    bias, weights = vectors[:, 9:], vectors[:, :9].reshape(50, 3, 3)
    outputs = np.einsum("bi,bio->bo", seen["x"], weights) + bias
    np.testing.assert_array_equal(chosen, np.where(mask, outputs, -np.inf).argmax(axis=1) + 5)


class Corridor(tegu.Environment):
    """Two coordinates that actions push, from the same place: rewards near (1, -1); it ends beyond 2, or after 6."""

    id: str = eqx.field(static=True, default="corridor")
    max_episode_steps: int | None = eqx.field(static=True, default=6)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-9, 9, (2,))

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (2,))

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.ones(2) / 2, jnp.ones(2) / 2

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state = state + action
        reward = -jnp.abs(state - jnp.array([1.0, -1.0])).sum()
        return Timestep(state, state, reward, (jnp.abs(state) > 2).any())


class HostCorridor(gymnasium.Env):
    """The same on the host."""

    observation_space, action_space = spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.state = 0, np.full(2, 0.5, np.float32)
        return self.state, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps, self.state = self.steps + 1, self.state + action
        reward = -np.abs(self.state - np.array([1, -1], np.float32)).sum()
        ended = bool((np.abs(self.state) > 2).any())
        return self.state, float(reward), ended, self.steps == 6 and not ended, {}


def trained(environment, algorithm, n_envs, generations):
    """What is learned in so many ``generations`` of four members, and the last figures."""
    rollouts = generations * max(-(-4 // n_envs), 1)
    figures: list[dict[str, float]] = []
    agent = tegu.train(
        environment,
        algorithm,
        steps=rollouts * algorithm.n_steps * n_envs,
        n_envs=n_envs,
        log_interval=1,
        folder=None,
        callbacks=(lambda progress: figures.extend(progress.metrics),),
    )
    learner = agent.learner()
    assert learner.updates == generations
    return jax.tree.map(np.asarray, learner), figures


SEARCH = {"learning_rate": 0.5, "n_steps": 8, "normalize_observation": True}


@pytest.mark.parametrize("make", [MAKERS[0], *(pytest.param(make, marks=pytest.mark.long) for make in MAKERS[1:])])
def test_both_loops_learn_the_same(make):
    """The world is deterministic."""
    fused, figures = trained(Corridor(), make(**SEARCH), 4, 5)
    assert len({figure["train/fitness_mean"] for figure in figures if "train/fitness_mean" in figure}) > 3
    host, _ = trained(HostCorridor, make(**SEARCH), 4, 5)
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-4), fused, host)


@pytest.mark.long
@searches
def test_any_number_of_environments_learns_the_same(make):
    """In a deterministic world a generation is worth the same however its episodes are dealt out."""
    once, *others = (trained(Corridor(), make(**SEARCH), n_envs, 1)[0].policy for n_envs in (4, 1, 3, 8))
    for other in others:
        np.testing.assert_allclose(other.vector, once.vector, atol=1e-5)


class Own(eqx.Module):
    """A person's own network."""

    mlp: MLP

    def __call__(self, observation):
        return self.mlp(observation)


def own(key, spec):
    return Own(MLP(key, (3, 2), "tanh"))


def test_an_own_network_acts_as_ours_would():
    algorithm = MAKERS[0](network=own)
    learner = INIT(algorithm, SPEC)
    assert np.abs(learner.policy.vector).max() > 0, "it begins as it was made"
    seen = jnp.array(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    member = algorithm.begin(learner, KEY, 4)
    chosen = ACT(algorithm, learner, seen, member, True).action
    for row, vector in enumerate(population(algorithm, learner)):
        bias, weights = vector[:2], vector[2:].reshape(3, 2)  # parameters are in the order of their names
        np.testing.assert_allclose(chosen[row], seen[row] @ weights + bias, atol=1e-5)


@searches
def test_what_does_not_fit_is_said_in_one_line(make):
    with pytest.raises(tegu.TeguError, match="your own network sees raw observations, so normalize_observation must"):
        make(network=own, normalize_observation=True).validate(SPEC)
    with pytest.raises(tegu.TeguError, match=r"the network own must return float32\[B, 4\]"):
        make(network=own).validate(EnvironmentSpec("test", BOX, spaces.Discrete(4)))
    with pytest.raises(tegu.TeguError, match="needs finite action bounds"):
        make().validate(EnvironmentSpec("test", BOX, spaces.Box(-np.inf, np.inf, (2,))))
    with pytest.raises(tegu.TeguError, match="activation must be one of tanh"):
        make(activation="sine").validate(SPEC)
