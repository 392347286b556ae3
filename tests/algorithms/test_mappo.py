"""IPPO and MAPPO against PPO, and in a game whose best score is known."""

import jax
import numpy as np
import pytest
from duet import Duet, ParallelDuet
from gymnasium import spaces

import tegu
from tegu.algorithms.actor_critic import inputs
from tegu.algorithms.mappo import IPPO
from tegu.algorithms.ppo import PPO
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
MAPPO = tegu.MAPPO
T, B = 4, 2  # of a rollout
SMALL = {"net_arch": (5,), "n_steps": T, "batch_size": T * B, "n_epochs": 2, "learning_rate": 0.01}
NOTES = spaces.Dict(x=spaces.Box(-9, 9, (3,)), action_mask=spaces.MultiBinary(4))
PLACE = spaces.Box(-9, 9, (2,))
ACTIONS = {"alto": spaces.Discrete(4), "bass": spaces.Box(-1, 1, (2,)), "soprano": spaces.Discrete(4)}
SEEN = {"alto": NOTES, "bass": PLACE, "soprano": NOTES}  # alto and soprano are of one kind
UPDATE = jax.jit(lambda algorithm, learner, batch, key: algorithm.update(learner, batch, key)[:2])
ACT = jax.jit(lambda algorithm, *given, explore: algorithm.act(*given, explore=explore), static_argnames="explore")


def spec_for(*agents):
    seen, actions = (spaces.Dict({agent: table[agent] for agent in agents}) for table in (SEEN, ACTIONS))
    return EnvironmentSpec("test", seen, actions, n_envs=B, agents=agents)


ALONE, DUO, TRIO = spec_for("alto"), spec_for("alto", "bass"), spec_for("alto", "bass", "soprano")


def rollout(algorithm, learner, spec, seed=0):
    """A random rollout ``[T, B]`` in which agents end on their own; its log-probabilities are the policy's."""
    rng = np.random.default_rng(seed)

    def observations():
        seen = {}
        for agent in spec.agents:
            x = rng.normal(size=(T, B, *(PLACE.shape if agent == "bass" else (3,)))).astype(np.float32)
            mask = rng.random((T, B, 4)) < 0.6
            mask[..., 1] = True
            seen[agent] = x if agent == "bass" else {"x": x, "action_mask": mask.astype(np.int8)}
        return seen

    observation, keys = observations(), jax.random.split(jax.random.key(seed), T)
    played = [
        ACT(algorithm, learner, jax.tree.map(lambda leaf, t=t: leaf[t], observation), (), keys[t], explore=True)
        for t in range(T)
    ]
    action, _, extras = jax.tree.map(lambda *steps: np.stack(steps), *played)
    reward = {agent: rng.normal(size=(T, B)).astype(np.float32) for agent in spec.agents}
    ends = {agent: rng.integers(4, size=(T, B)) for agent in spec.agents}
    terminated, truncated = ({agent: end == kind for agent, end in ends.items()} for kind in (1, 2))
    return Step(observation, action, reward, observations(), terminated, truncated, extras)


def prepared(algorithm, spec):
    """A fresh learner and a rollout of its own."""
    learner = algorithm.init(KEY, spec)
    return learner, rollout(algorithm, learner, spec)


PAIR = ("alto", "soprano")  # those of one kind


def of(batch, agent):
    """What one agent lived through."""
    return Step(*(part[agent] for part in batch))


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(one), jax.tree.leaves(other))


NORMALIZED = {"normalize_observation": True, "normalize_reward": True}


@pytest.mark.slow
def test_one_agent_alone_learns_as_with_ppo_to_the_bit():
    """The first of as many keys as there are policies is PPO's key, in ``init``, ``act`` and ``update``."""
    ours, plain = IPPO(**SMALL, **NORMALIZED), PPO(**SMALL, **NORMALIZED)
    (key,) = jax.random.split(KEY, 1)
    learner, batch = prepared(ours, ALONE)
    its = plain.init(key, ALONE.of_agent("alto"))
    same(learner.policies[("alto",)], its)
    mine = of(batch, "alto")
    for explore in (True, False):
        both = ACT(ours, learner, batch.observation, (), KEY, explore=explore)
        alone = ACT(plain, its, mine.observation, (), key, explore=explore)
        same((both.action["alto"], both.extras["alto"]), (alone.action, alone.extras))
    learner, metrics = UPDATE(ours, learner, batch, KEY)
    its, expected = UPDATE(plain, its, mine, key)
    same(learner.policies[("alto",)], its)
    same(metrics, expected)


def test_policies_of_one_kind_begin_and_explore_each_in_its_own_way():
    """Not with the same weights, and where the policies are equal not with the same noise."""
    seen, places = spaces.Dict(dict.fromkeys("ab", PLACE)), spaces.Dict(dict.fromkeys("ab", ACTIONS["bass"]))
    algorithm = IPPO(**SMALL)
    learner = algorithm.init(KEY, EnvironmentSpec("twins", seen, places, n_envs=B, agents=("a", "b")))
    one, other = learner.policies.values()
    assert (one.network.actor.weights[0] != other.network.actor.weights[0]).any()
    nothing = dict.fromkeys("ab", np.zeros((1000, 2), np.float32))
    equal = learner._replace(policies=dict.fromkeys(learner.policies, one))
    action = ACT(algorithm, equal, nothing, (), KEY, explore=True).action
    assert abs(np.corrcoef(action["a"][:, 0], action["b"][:, 0])[0, 1]) < 0.15


@pytest.mark.parametrize("share", [True, False])
def test_policies_are_shared_by_agents_of_one_kind_or_each_has_its_own(share):
    algorithm = IPPO(share_parameters=share, **SMALL)
    policies, specs = algorithm.init(KEY, TRIO).policies, algorithm.policies(TRIO)
    members = [("alto", "soprano"), ("bass",)] if share else [("alto",), ("bass",), ("soprano",)]
    assert list(policies) == list(specs) == members
    assert [spec.n_envs for spec in specs.values()] == [B * len(agents) for agents in members]
    for agents, policy in policies.items():
        assert policy.network.spaces == specs[agents].spaces == TRIO.of_agent(agents[0]).spaces


@pytest.mark.parametrize("share", [True, False])
def test_each_agent_acts_on_its_own_observation(share):
    """What its network says of what it sees, whatever the others see: nobody gets another's action."""
    algorithm = IPPO(share_parameters=share, **SMALL)
    learner, batch = prepared(algorithm, TRIO)
    seen = jax.tree.map(lambda leaf: leaf[0], batch.observation)
    action = ACT(algorithm, learner, seen, (), KEY, explore=False).action
    for members, policy in learner.policies.items():
        for agent in members:
            alone = ACT(PPO(**SMALL), policy, seen[agent], (), KEY, explore=False).action
            np.testing.assert_allclose(action[agent], alone, rtol=1e-6)


@pytest.mark.slow
def test_agents_who_share_parameters_are_one_larger_batch():
    """PPO's update on the rollouts of both side by side, with as many environments as there are agents in them."""
    algorithm, settings = IPPO(share_parameters=True, **SMALL, **NORMALIZED), SMALL | NORMALIZED
    learner, batch = prepared(algorithm, TRIO)
    both = jax.tree.map(lambda *sides: np.concatenate(sides, axis=1), of(batch, "alto"), of(batch, "soprano"))
    key, _ = jax.random.split(KEY, 2)
    expected, _ = UPDATE(PPO(**settings), learner.policies[PAIR], both, key)
    learner, _ = UPDATE(algorithm, learner, batch, KEY)
    for ours, its in zip(jax.tree.leaves(learner.policies[PAIR]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_metrics_are_means_over_the_policies():
    """Those that only some policies report, over those."""
    algorithm = IPPO(**SMALL)
    learner, batch = prepared(algorithm, DUO)
    _, metrics = UPDATE(algorithm, learner, batch, KEY)
    reports = [
        UPDATE(PPO(**SMALL), policy, of(batch, agent), key)[1]
        for policy, agent, key in zip(learner.policies.values(), DUO.agents, jax.random.split(KEY, 2), strict=True)
    ]
    assert ["std" in report for report in reports] == [False, True]
    assert metrics.keys() == reports[1].keys()
    for name, figure in metrics.items():
        expected = np.mean([report[name] for report in reports if name in report])
        np.testing.assert_allclose(figure, expected, rtol=1e-4, atol=1e-6, err_msg=name)


# The central critic


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_a_mappo_actor_sees_its_own_observation_only_and_its_critic_all(share):
    """With another observation for the bass the alto does the same, but thinks otherwise of its prospects."""
    algorithm = MAPPO(share_parameters=share, **SMALL)
    learner, batch = prepared(algorithm, TRIO)
    seen = jax.tree.map(lambda leaf: leaf[0], batch.observation)
    other = seen | {"bass": seen["bass"] + 1}
    for explore in (True, False):
        one, two = (ACT(algorithm, learner, each, (), KEY, explore=explore) for each in (seen, other))
        same((one.action["alto"], one.extras["alto"]), (two.action["alto"], two.extras["alto"]))
    policy = learner.policies[PAIR if share else ("alto",)]
    values = [policy.network(inputs(algorithm.ppo, policy, algorithm.view(each, "alto")))[1] for each in (seen, other)]
    assert (values[0] != values[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sees"), [(IPPO, False), (MAPPO, True)])
def test_what_others_saw_counts_in_learning_only_with_a_central_critic(kind, sees):
    algorithm = kind(**SMALL)
    learner, batch = prepared(algorithm, DUO)
    other = batch._replace(next_observation=batch.next_observation | {"bass": batch.next_observation["bass"] + 1})
    (one, _), (two, _) = (UPDATE(algorithm, learner, each, KEY) for each in (batch, other))
    alto = [jax.tree.leaves(each.policies[("alto",)].network) for each in (one, two)]
    assert all(np.array_equal(a, b) for a, b in zip(*alto, strict=True)) != sees


@pytest.mark.parametrize("kind", [IPPO, MAPPO])
def test_illegal_actions_are_never_taken(kind):
    algorithm = kind(share_parameters=True, **SMALL)
    _, batch = prepared(algorithm, TRIO)
    for agent in ("alto", "soprano"):
        legal = np.take_along_axis(batch.observation[agent]["action_mask"], batch.action[agent][..., None], axis=-1)
        assert legal.all()


# What it is declared as


@pytest.mark.parametrize("kind", [IPPO, MAPPO])
def test_what_does_not_fit_is_refused_in_one_line(kind):
    alone = EnvironmentSpec("alone", PLACE, spaces.Discrete(2))
    for settings, spec, message in (
        (
            {},
            alone,
            f"^{kind().title} needs a multi-agent environment whose agents act in parallel, alone is not one",
        ),
        ({}, spec_of("tic-tac-toe", TicTacToe(), 1), "agents act in parallel, tic-tac-toe is not one"),
        ({"activation": "swish"}, TRIO, "swish"),
    ):
        with pytest.raises(TeguError, match=message) as caught:
            kind(**settings).validate(spec)
        assert "\n" not in str(caught.value)
    kind(**SMALL).validate(TRIO)


@pytest.mark.slow
def test_schedules_reach_the_inner_ppo():
    """Half-way both a rate and a clip range that fall to zero have the effect of half of it."""
    falling = IPPO(**SMALL | {"learning_rate": Linear(0.02), "clip_range": Linear(0.4)}).at(Clock.of(50, 100))
    half = IPPO(**SMALL | {"learning_rate": 0.01, "clip_range": 0.2})
    learner, batch = prepared(half, DUO)
    (one, metrics), (other, expected) = (UPDATE(each, learner, batch, KEY) for each in (falling, half))
    for name, figure in expected.items():
        np.testing.assert_allclose(metrics[name], figure, rtol=1e-5, atol=1e-6, err_msg=name)
    for ours, its in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, its, rtol=1e-5, atol=1e-6)


# Training

DUET = {"n_envs": 8, "n_steps": 32, "batch_size": 128, "n_epochs": 8, "learning_rate": 3e-3, "gamma": 0.5}
DUET |= {"net_arch": [16], "steps": 20_480, "log_interval": 2_048, "seed": 40}


@pytest.mark.long
def test_mappo_learns_the_duet():
    """Of a best score of 3, on average over the agents: 20 other seeds got 2.98 and more, chance gets about 0.9."""
    assert tegu.train(Duet(), "mappo", seeds=2, folder=None, **DUET).evaluate(100).returns.mean(axis=1).min() > 2.9


@pytest.mark.long
def test_ippo_learns_on_the_host():
    assert tegu.train(ParallelDuet, "ippo", folder=None, **DUET).evaluate(40).mean > 2.9
