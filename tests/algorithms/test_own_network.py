"""Networks of a person's own: they learn as ours do, and files know their names alone."""

import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from duet import ACTIONS, AGENTS, OBSERVATIONS
from gymnasium import spaces

import tegu
from tegu.algorithms.hyper_parameters import hyper_parameters
from tegu.algorithms.maddpg import MADDPG
from tegu.algorithms.multi_agent import critic_spec, critic_view
from tegu.cli import main
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Step
from tegu.core.trees import to_arrays
from tegu.experience.base import Batch
from tegu.nn.custom import CustomNetwork, NamedNetwork, custom_networks
from tegu.nn.description import describe
from tegu.nn.heads import ActionValue, ActorCritic, QNetwork
from tegu.nn.mlp import MLP
from tegu.nn.residual import ResidualMLP
from tegu.runs import Run
from tegu.spaces.features import features, n_features
from tegu.training.plan import make_plan

# The same networks as those that follow from the spaces, written as a person would


def q_network(key, spec):
    return QNetwork(key, spec, (16,), "relu")


class Shared(eqx.Module):
    """An actor and a critic in one module."""

    both: ActorCritic

    def __call__(self, observation):
        x = features(self.both.spaces.observation, observation)
        return self.both.actor(self.both.embed(x)[0]), self.both.critic(x)[..., 0]


def actor_critic(key, spec):
    both = ActorCritic(key, spec, (16,), "tanh", 0.0)
    return Shared(eqx.tree_at(lambda both: both.log_std, both, jnp.zeros(0)))  # that is the algorithm's


class OnFeatures(eqx.Module):
    """One network on the features of a space."""

    mlp: MLP
    space: Spaces = eqx.field(static=True)

    def __call__(self, observation):
        y = self.mlp(features(self.space.observation, observation))
        return y[..., 0] if self.space.action is None else y


def apart(key, spec):
    """An actor and a critic."""
    both = ActorCritic(key, spec, (16,), "tanh", 0.0)
    seen = spec.observation_space
    return OnFeatures(both.actor, Spaces(seen, spec.action_space)), OnFeatures(both.critic, Spaces(seen, None))


def pair(key, spec):
    """For a central critic: what the agent sees is ``own``, the first of the critic's features."""
    both = ActorCritic(key, spec, (16,), "tanh", 0.0, spec.observation_space["own"])
    own, seen = spec.observation_space["own"], spec.observation_space
    return OnFeatures(both.actor, Spaces(own, spec.action_space)), OnFeatures(both.critic, Spaces(seen, None))


def actor_and_critic(key, spec):
    actor_key, critic_key = jax.random.split(key)
    sizes = (n_features(spec.observation_space), 16, n_features(spec.action_space))
    return OnFeatures(MLP(actor_key, sizes, "relu"), spec.spaces), ActionValue(critic_key, spec, (16,), "relu")


class OnBoth(eqx.Module):
    """One network on what its agent, or all of them, observe and do."""

    mlp: MLP
    spaces: Spaces = eqx.field(static=True)

    def __call__(self, observation, action):
        if isinstance(action, dict):  # as in the spec: "own", and what all agents observe and do
            observation, action = observation["state"], action["joint"]
        seen, done = features(self.spaces.observation, observation), features(self.spaces.action, action)
        return self.mlp(jnp.concatenate([seen, done], axis=-1))[..., 0]


def actor_and_critic_of_agent(key, spec):
    own = every = spec.spaces
    if isinstance(own.action, spaces.Dict):
        own = Spaces(own.observation["own"], own.action["own"])
        every = Spaces(every.observation["state"], every.action["joint"])
    actor = MLP(key, (n_features(own.observation), 16, own.action.shape[0]), "relu")
    critic = MLP(key, (n_features(every.observation) + n_features(every.action), 16, 1), "relu")
    return OnFeatures(actor, own), OnBoth(critic, every)


def residual(key, spec):
    return ResidualMLP(key, spec.observation_space.shape, int(spec.action_space.n), 16, 1)


REPLAY = {"net_arch": (16,), "buffer_size": 512, "learning_starts": 64, "batch_size": 16, "train_freq": 16}
ROLLOUT = {"net_arch": (16,), "n_steps": 32, "batch_size": 32, "n_epochs": 2}
REGRESSION = {"net_arch": (16,), "n_steps": 32, "batch_size": 32, "n_critic_updates": 2}
SMALL = {"width": 16, "blocks": 1, "simulations": 2, "train_freq": 64, "batch_size": 16, "gradient_steps": 2}
CASES = {
    "dqn": (tegu.DQN, REPLAY, q_network, "CartPole-v1", "gymnasium"),
    "ppo": (tegu.PPO, ROLLOUT, actor_critic, "Pendulum-v1", "jax"),
    "trpo": (tegu.TRPO, REGRESSION, apart, "Pendulum-v1", "jax"),
    "ddpg": (tegu.DDPG, REPLAY, actor_and_critic, "Pendulum-v1", "jax"),
    "ippo": (tegu.IPPO, ROLLOUT | {"share_parameters": True}, actor_critic, "simple_spread_v3", "jax"),
    "mappo": (tegu.MAPPO, ROLLOUT, pair, "simple_spread_v3", "jax"),
    "maddpg": (tegu.MADDPG, REPLAY, actor_and_critic_of_agent, "simple_speaker_listener_v4", "jax"),
    "alphazero": (tegu.AlphaZero, SMALL, residual, "tic-tac-toe", "jax"),
}
NETWORKS = {
    tegu.DQN: lambda learner: learner.online,
    tegu.DDPG: lambda learner: (learner.actor, learner.critics),
    **dict.fromkeys((tegu.PPO, tegu.TRPO), lambda learner: learner.network),
    tegu.IPPO: lambda learner: [policy.network for policy in learner.policies.values()],
    MADDPG: lambda learner: [(agent.actor, agent.critics) for agent in learner.agents.values()],
    tegu.AlphaZero: lambda learner: learner.network.network,
}


def numbers(tree: Any) -> list[tuple[Any, ...]]:
    """The shape and two sums of every array, in an order that does not depend on what they are called."""
    arrays = [np.asarray(leaf, float) for leaf in jax.tree.leaves(tree)]
    return sorted((array.shape, float(np.abs(array).sum()), float(array.sum())) for array in arrays if array.size)


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.long] * (case != "ppo")) for case in CASES])
def test_the_same_network_learns_the_same(case: str) -> None:
    """Two seeds, in either loop: our own network, handed in, learns what it learns where it is built in."""
    make, settings, network, environment, backend = CASES[case]
    options = {"steps": 192, "n_envs": 2, "seeds": 2, "backend": backend, "folder": None}
    ours = tegu.train(environment, make(**settings), **options)
    theirs = tegu.train(environment, make(**settings, network=network), **options)
    pick = NETWORKS[type(ours.algorithm)]
    for (shape, *sums), (other_shape, *other_sums) in zip(
        numbers(pick(ours.learners)), numbers(pick(theirs.learners)), strict=True
    ):
        assert shape == other_shape
        np.testing.assert_allclose(sums, other_sums, rtol=1e-3, atol=1e-3)
    before = pick(ours.algorithm.init(jax.random.key(0), ours.spec))
    assert numbers(before) != numbers(pick(ours.learner()))  # something was learned
    assert re.fullmatch(r"[^;]*\(\w+\).*; [\d,]+ parameters", theirs.network), theirs.network


def test_a_central_critic_sees_its_agents_part_beside_that_of_all() -> None:
    spec = EnvironmentSpec("duet", OBSERVATIONS, ACTIONS, 1, AGENTS)
    vectors = spaces.Dict(alto=spaces.Box(-1, 1, (3,)), bass=spaces.Box(-1, 1, (1,)))
    for agent in AGENTS:
        seen = critic_spec(spec, agent, centralised=True)
        assert seen.observation_space == spaces.Dict(own=OBSERVATIONS[agent], state=OBSERVATIONS)
        assert seen.action_space == spaces.Dict(own=vectors[agent], joint=vectors)
        assert critic_spec(spec, agent, centralised=False).spaces == Spaces(OBSERVATIONS[agent], vectors[agent])
        done = {"alto": 1, "bass": 2}
        assert critic_view(done, agent, "joint", centralised=True) == {"own": done[agent], "joint": done}
        assert critic_view(done, agent, "joint", centralised=False) == done[agent]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [tegu.IndependentDDPG, partial(tegu.MATD3, policy_delay=1, ensemble=2, infer_policies=True)]
)
def test_agents_with_the_same_networks_act_and_learn_the_same(make: Any) -> None:
    """Of different kinds, one of which may not choose everything: ours, and handed in. The keys are the same, too."""
    ours, theirs = (make(net_arch=(16,), network=network) for network in (None, actor_and_critic_of_agent))
    spec, rng, n = EnvironmentSpec("duet", OBSERVATIONS, ACTIONS, 8, AGENTS), np.random.default_rng(0), 8
    theirs.validate(spec)

    def stacked(space: spaces.Space) -> Any:
        return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *(space.sample() for _ in range(n)))

    for space in (OBSERVATIONS, ACTIONS):
        space.seed(0)
    reward = {agent: jnp.asarray(rng.normal(size=n), jnp.float32) for agent in AGENTS}
    members = {agent: jnp.arange(n) % 2 for agent in AGENTS} if ours.ensemble > 1 else ()
    ended = jnp.arange(n) == 3
    seen, after = stacked(OBSERVATIONS), stacked(OBSERVATIONS)
    batch = Batch(Step(seen, stacked(ACTIONS), reward, after, ended, ended, members), jnp.ones(n))

    @jax.jit
    def use(algorithm: Any) -> Any:
        key = jax.random.key(0)
        start = algorithm.init(key, spec)
        learner, metrics, _ = algorithm.update(start, batch, key)
        return start, learner, metrics, algorithm.act(learner, seen, members, key, explore=True).action

    (*learners, metrics, action), (*their_learners, their_metrics, their_action) = use(ours), use(theirs)
    for one, other in zip(learners, their_learners, strict=True):
        for (shape, *sums), (other_shape, *other_sums) in zip(numbers(one), numbers(other), strict=True):
            assert shape == other_shape
            np.testing.assert_allclose(sums, other_sums, rtol=1e-4, atol=1e-4)
    for agent in AGENTS:
        np.testing.assert_allclose(action[agent], their_action[agent], rtol=1e-5)
        for loss in ("critic_loss", "actor_loss"):
            np.testing.assert_allclose(metrics[f"{loss}/{agent}"], their_metrics[f"{loss}/{agent}"], rtol=1e-5)


# What a person gets wrong


class Flawed(eqx.Module):
    weight: jax.Array
    to: Any = eqx.field(static=True)

    def __call__(self, *inputs):
        return self.to(inputs[0] @ self.weight)


def flawed(to, outputs=2, inputs=4):
    def network(key, spec):
        return Flawed(jnp.zeros((inputs, outputs)), to)

    network.__qualname__ = "flawed"
    return network


def flawed_critic(key, spec):
    """A critic that cannot take actions."""
    actor, _ = actor_and_critic_of_agent(key, spec)
    return actor, actor


def raises(key, spec):
    raise ValueError("no\nidea")


def as_it_is(x):
    return x


WRONG = [
    (
        "dqn",
        flawed(as_it_is, 3),
        r"must return float32\[B, 2\] for float32\[B, 4\], it returned float32\[B, 3\]",
    ),
    ("dqn", flawed(lambda x: x.astype(jnp.bfloat16)), r"float32\[B, 2\] .* it returned bfloat16\[B, 2\]"),
    ("dqn", flawed(lambda x: x[0]), r"returned float32\[2\]"),
    ("dqn", flawed(lambda x: (x, x)), r"returned \(float32\[B, 2\], float32\[B, 2\]\)"),
    ("dqn", flawed(as_it_is, 2, 5), r"DQN: the network flawed cannot take float32\[B, 4\]: TypeError: "),
    ("dqn", actor_and_critic, "DQN: the network actor_and_critic must return one module, it returned 2"),
    ("dqn", raises, "the network raises cannot be made: ValueError: no idea"),
    ("dqn", lambda key, spec: jnp.zeros(3), "must return an Equinox module to call, it returned ShapeDtypeStruct"),
    ("dqn", lambda key, spec: Flawed(jnp.zeros(3, int), as_it_is), r"parameters .weight of int32, expected float32"),
    ("dqn", lambda key, spec: Flawed(None, as_it_is), "has no parameters"),
    ("dqn", partial(q_network), "network must be a function with a name, as def gives it, got partial"),
    ("ppo", q_network, r"must return \(float32\[B, 2\], float32\[B\]\) .* it returned float32\[B, 2\]"),
    ("dqn", "no_such_module:net", "cannot import the network no_such_module:net: No module named"),
    ("dqn", "net", "network must be module:function, got 'net'"),
    ("dqn", "math:pi", "network math:pi must be a function of a key and the spec, it is float"),
    ("dqn", "./net.py:small", "names a file: name the module, the network net:small, from the file's folder"),
    ("q-learning", q_network, "q-learning has no hyper-parameter 'network'"),
]


@pytest.mark.parametrize(("algorithm", "network", "says"), WRONG, ids=[says for *_, says in WRONG])
def test_what_is_wrong_is_said_in_one_line_before_anything_is_compiled(
    algorithm: str, network: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)
    with pytest.raises(tegu.TeguError, match=says) as error:
        tegu.train("CartPole-v1", algorithm, network=network, steps=64, folder=None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "environment", "says"),
    [
        (partial(tegu.DDPG, network=q_network), "Pendulum-v1", "DDPG: the network q_network must return a tuple of 2"),
        (partial(tegu.MAPPO, network=actor_critic), "simple_spread_v3", "must return a tuple of 2, it returned 1"),
        (
            partial(tegu.MADDPG, network=q_network),
            "simple_spread_v3",
            "MADDPG for agent_0: the network q_network must return a tuple of 2, it returned 1",
        ),
        (
            partial(tegu.MATD3, network=pair),
            "simple_spread_v3",
            r"MATD3 for agent_0: module 0 of the network pair must return float32\[B, 5\] for float32\[B, 18\], it ",
        ),
        (
            partial(tegu.IndependentDDPG, network=flawed_critic),
            "simple_speaker_listener_v4",
            r"IndependentDDPG for speaker_0: module 1 of the network flawed_critic cannot take float32\[B, 3\] and f",
        ),
        (
            partial(tegu.MADDPG, network="no_such_module:net"),
            "simple_spread_v3",
            "cannot import the network no_such_module:net: No module named",
        ),
        (partial(tegu.PPO, network=actor_critic, normalize_observation=True), "CartPole-v1", "normalize_observation"),
        (partial(tegu.AlphaZero, network=q_network), "tic-tac-toe", r"must return \(float32\[B, 9\], float32\[B\]\)"),
        (partial(tegu.AlphaZero, network="resnet"), "tic-tac-toe", "network must be module:function, got 'resnet'"),
    ],
)
def test_other_algorithms_say_it_too(make: Any, environment: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)
    with pytest.raises(tegu.TeguError, match=says):
        tegu.train(environment, make(), steps=64, folder=None)


def test_a_network_of_ones_own_is_not_called_like_one_of_ours() -> None:
    def conv(key, spec):
        return residual(key, spec)

    conv.__qualname__ = "conv"
    with pytest.raises(tegu.TeguError, match="has a network called conv: rename yours"):
        tegu.train("tic-tac-toe", tegu.AlphaZero(network=conv), steps=10_000, folder=None)


# Inputs and structure


def test_inputs_come_as_the_environment_gives_them_in_any_batch() -> None:
    """A Dict with integers, in batches of two axes: the module sees one axis."""
    seen = []

    class Looks(eqx.Module):
        weight: jax.Array

        def __call__(self, observation):
            seen.append(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), observation))
            return observation["pixels"].reshape(-1, 12) @ self.weight

    space = spaces.Dict(pixels=spaces.Box(0, 255, (2, 2, 3), np.uint8), where=spaces.Discrete(4))
    spec = EnvironmentSpec("x", space, spaces.Discrete(2))
    (network,) = custom_networks(lambda key, spec: Looks(jnp.ones((12, 2))), jax.random.key(0), spec)
    pixels = np.arange(5 * 3 * 12, dtype=np.uint8).reshape(5, 3, 2, 2, 3)
    values = network({"pixels": jnp.asarray(pixels), "where": jnp.zeros((5, 3), jnp.int32)})
    np.testing.assert_allclose(values[..., 0], pixels.reshape(5, 3, -1).sum(-1, dtype=float))
    assert seen == [{"pixels": ((15, 2, 2, 3), "uint8"), "where": ((15,), "int32")}]


def test_functions_made_anew_at_each_call_are_one() -> None:
    """Two learners fit one another, though each call of the network makes a lambda of its own."""

    def network(key, spec):
        mlp = eqx.nn.MLP(4, 2, 8, 1, activation=lambda x: x * x, key=key)
        return Flawed(mlp.layers[0].weight, lambda x: x)

    spec = EnvironmentSpec("x", spaces.Box(-1, 1, (4,)), spaces.Discrete(8))
    one, other = (custom_networks(network, jax.random.key(seed), spec)[0] for seed in (0, 1))
    assert isinstance(one, CustomNetwork)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert list(to_arrays(one)) == [".parameters['.weight']"]


@pytest.mark.parametrize(
    ("environment", "algorithm", "says"),
    [
        ("CartPole-v1", tegu.DQN(net_arch=(64, 64), activation="tanh"), "MLP 4-64-64-2, tanh; 4,610 parameters"),
        (
            "CartPole-v1",
            tegu.PPO(),
            "actor MLP 4-64-64-2, tanh; critic MLP 4-64-64-1, tanh; 9,155 parameters",
        ),
        (
            "simple_spread_v3",
            tegu.IPPO(net_arch=(8,)),
            "3 x actor MLP 18-8-5, tanh; 3 x critic MLP 18-8-1, tanh; 1,074 parameters",
        ),
        ("lizard", tegu.QLearning(), ""),
    ],
)
def test_a_network_is_described_in_one_line(environment: str, algorithm: Any, says: str) -> None:
    world = tegu.make(environment)
    spec = EnvironmentSpec(environment, world.observation_space, world.action_space, 1, world.agents)
    learner = jax.eval_shape(lambda: algorithm.init(jax.random.key(0), spec))
    assert describe(algorithm.networks(learner)) == says


# Files

MODULE = """
import equinox as eqx, jax

class Small(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, x):
        return jax.vmap(self.mlp)(x)

def small(key, spec):
    return Small(eqx.nn.MLP(4, 2, 8, 1, key=key))

def large(key, spec):
    return Small(eqx.nn.MLP(4, 2, 16, 1, key=key))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh module with networks, to be found from here."""
    name = f"nets_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


def train(network: Any, **options: Any) -> tegu.Agent:
    algorithm = tegu.DQN(**REPLAY, network=network)
    return tegu.train("CartPole-v1", algorithm, **{"steps": 128, "n_envs": 2, "seeds": 2} | options)


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.long), "gymnasium"])
def test_a_run_names_its_network_and_wants_it_again(nets: str, backend: str) -> None:
    agent = train(f"{nets}:small", backend=backend)
    assert agent.network == f"{nets}:small (Small); 58 parameters"
    assert Run.open("last").config["hyper_parameters"]["network"] == f"{nets}:small"
    del sys.modules[nets]
    for read in (tegu.load, tegu.resume):
        with pytest.raises(tegu.TeguError, match=rf"CartPole-v1/dqn/1 was trained with the network {nets}:small,"):
            read("last")
        with pytest.raises(tegu.TeguError, match=r"was trained with the network nets\w+:small, not with nets\w+:large"):
            read("last", network=f"{nets}:large")
        sys.modules.pop(nets)
        with pytest.raises(tegu.TeguError, match=r"with the network nets\w+:small, not with q_network"):
            read("last", network=q_network)
    assert nets not in sys.modules  # nothing was imported because a file says so
    again = tegu.load("last", network=f"{nets}:small")
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    function = sys.modules[nets].small
    assert tegu.load("last", network=function).evaluate(3).returns.shape == (2, 3)
    assert hyper_parameters(again.algorithm)["network"] == f"{nets}:small"
    assert tegu.resume("last", network=function, steps=192).steps == 192


@pytest.mark.long
def test_a_stopped_run_goes_on_as_if_it_had_not(nets: str) -> None:
    unbroken = train(f"{nets}:small", steps=256, log_interval=64)
    tegu.train(
        "CartPole-v1",
        tegu.DQN(**REPLAY, network=f"{nets}:small"),
        steps=256,
        n_envs=2,
        seeds=2,
        log_interval=64,
        callbacks=[lambda progress: progress.steps < 128],
    )
    resumed = tegu.resume("CartPole-v1/dqn/2", network=f"{nets}:small")
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(unbroken.learners), jax.tree.leaves(resumed.learners))


@pytest.mark.slow
def test_a_saved_agent_knows_the_name_of_a_function(tmp_path: Path) -> None:
    agent = train(q_network, folder=None)
    agent.save(tmp_path / "agent")
    with pytest.raises(tegu.TeguError, match=r"the network q_network, .*--network MODULE:q_network, or network= in"):
        tegu.load(tmp_path / "agent")
    again = tegu.load(tmp_path / "agent", network=q_network)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    assert again.algorithm.network == NamedNetwork("q_network", q_network)
    observation = np.ones(4, np.float32)
    assert again.predict(observation)[0] == agent.predict(observation)[0]


@pytest.mark.slow
def test_a_network_that_is_not_wanted_is_refused(tmp_path: Path) -> None:
    agent = tegu.train("CartPole-v1", tegu.DQN(**REPLAY), steps=128, folder=None)
    agent.save(tmp_path / "agent")
    with pytest.raises(tegu.TeguError, match="without a network of one's own: it needs no network q_network"):
        tegu.load(tmp_path / "agent", network=q_network)


def test_text_alone_imports_nothing(nets: str) -> None:
    """An algorithm that holds a name, as files make it, refuses to work until a person's function is there."""
    algorithm = tegu.DQN(network=f"{nets}:small")
    spec = EnvironmentSpec("x", spaces.Box(-1, 1, (4,)), spaces.Discrete(2))
    for use in (algorithm.validate, partial(algorithm.init, jax.random.key(0))):
        with pytest.raises(tegu.TeguError, match="is only a name"):
            use(spec)
    assert nets not in sys.modules
    assert make_plan("CartPole-v1", algorithm).algorithm.network.make is sys.modules[nets].small


@pytest.mark.long
def test_a_run_of_several_agents_wants_its_network_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{__name__}:actor_and_critic_of_agent"
    words = ["--steps", "128", "--n-envs", "2", "--learning-starts", "64", "--train-freq", "16", "--episodes", "2"]
    words += ["--batch-size", "16", "--gradient-steps", "1", "--buffer-size", "512", "--log-interval", "64"]
    assert main(["train", "simple_speaker_listener_v4", "maddpg", "--network", name, *words]) == 0
    assert f"network: 2 x actor {name} (OnFeatures); 2 x critic {name} (OnBoth); " in capsys.readouterr().err
    with pytest.raises(tegu.TeguError, match=f"was trained with the network {name}, which is your own code"):
        tegu.load("last")
    agent = tegu.load("last", network=actor_and_critic_of_agent)
    agent.save(tmp_path / "agent")
    again = tegu.load(tmp_path / "agent", network=name)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    assert tegu.resume("last", network=name, steps=160).steps == 160


@pytest.mark.long
def test_the_command_line_takes_a_network(nets: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--steps", "128", "--net-arch", "16", "--n-envs", "2", "--learning-starts", "64", "--train-freq", "16"]
    words += ["--gradient-steps", "1", "--n-steps", "1", "--episodes", "2"]
    assert main(["train", "CartPole-v1", "dqn", "--network", f"{nets}:small", *words]) == 0
    printed = capsys.readouterr()
    assert f"network: {nets}:small (Small); 58 parameters\n" in printed.err
    assert f"tegu watch CartPole-v1/dqn/1 --network {nets}:small\n" in printed.out
    assert main(["evaluate", "--episodes", "2"]) == 1
    assert f"(--network {nets}:small, or network= in Python)" in capsys.readouterr().err
    assert main(["evaluate", "--episodes", "2", "--network", f"{nets}:small"]) == 0
    assert main(["resume", "--steps", "160", "--episodes", "0", "--network", f"{nets}:small"]) == 0
