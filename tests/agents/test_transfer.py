"""A training that begins with what another agent has learned."""

import re
import warnings
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import pytest

import tegu
from tegu.agents.transfer import fitting, origin_of, taken_over
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.trees import to_arrays
from tegu.runs import checkpoint
from tegu.training.plan import spec_of

SMALL: dict[str, Any] = {"n_envs": 4, "n_steps": 8, "batch_size": 16, "n_epochs": 1, "net_arch": (8,)}


def trained(environment: str, folder: Path, **options: Any) -> tegu.Agent:
    return tegu.train(environment, "ppo", steps=64, folder=folder, checkpoint_every=0, **SMALL | options)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tegu.Agent:
    return trained("CartPole-v1", tmp_path_factory.mktemp("origin"), seeds=2)


def arrays_at(agent: tegu.Agent, step: int) -> dict[str, np.ndarray]:
    assert agent.run is not None
    return checkpoint.load_step(agent.run.checkpoints, step).blobs["learner"]


def stopped_at_once(environment: str, origin: tegu.Agent, folder: Path, **options: Any) -> dict[str, np.ndarray]:
    """What a training begins with."""
    assert origin.run is not None
    agent = trained(environment, folder, start_from=origin.run.path, callbacks=lambda _: False, **options)
    return arrays_at(agent, 0)


def test_everything_but_the_optimizer_is_taken_over(origin: tegu.Agent, tmp_path: Path) -> None:
    """Each seed has that of its own, and the run knows where it began."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = stopped_at_once("CartPole-v1", origin, tmp_path, seeds=2)
    given = to_arrays(origin.learners)
    assert found.keys() == given.keys()
    begun = to_arrays(
        jax.vmap(lambda key: origin.algorithm.init(key, origin.spec))(jax.random.split(jax.random.key(0), 2))
    )
    for name, array in found.items():
        anew = "optimizer" in name or name == ".updates"
        assert np.array_equal(array, begun[name] if anew else given[name]), name
        assert not anew or not np.array_equal(array, given[name]) or not array.any()
    run = tegu.load("last", folder=tmp_path).run
    assert run is not None
    assert run.config["start_from"].endswith("CartPole-v1/ppo/1/checkpoints/000000000064")


def test_one_seed_for_all(origin: tegu.Agent, tmp_path: Path) -> None:
    agent = trained("CartPole-v1", tmp_path)
    found = stopped_at_once("CartPole-v1", agent, tmp_path, seeds=3)
    given = to_arrays(agent.learners)
    for name in (name for name in found if name.startswith(".network")):
        assert np.array_equal(found[name], np.repeat(given[name], 3, axis=0))
    with pytest.raises(TeguError, match="has 2 seeds: train as many, or begin with an agent of one"):
        stopped_at_once("CartPole-v1", origin, tmp_path, seeds=3)


def test_another_environment_and_what_does_not_fit(origin: tegu.Agent, tmp_path: Path) -> None:
    """MountainCar-v0 has 2 numbers in place of 4, and 3 actions in place of 2."""
    given = to_arrays(origin.learners)
    given[".observation_moments.n"] = given[".observation_moments.n"] + 1  # not what it is anew either
    odd = {
        f".network.{name}" for name in ("actor.weights[0]", "actor.weights[1]", "actor.biases[1]", "critic.weights[0]")
    }
    odd |= {f".network.{name}.biases[0]" for name in ("actor", "critic")}
    odd |= {name for name in given if name.startswith(".observation_moments")}
    names = {name for name in given if "optimizer" not in name and name != ".updates"}
    says = (
        f"start_from: {len(names - odd)} of {len(names)} arrays are taken over, the others begin anew: .network.actor."
    )
    with pytest.warns(UserWarning, match=re.escape(says)):
        found = stopped_at_once("MountainCar-v0", origin, tmp_path, seeds=2)
    assert {name for name in names if np.array_equal(found[name], given[name])} == names - odd


def test_nothing_fits(origin: tegu.Agent, tmp_path: Path) -> None:
    assert origin.run is not None
    with pytest.raises(TeguError, match=r"nothing of what .* has learned fits what is learned here"):
        tegu.train("lizard", "q-learning", steps=100, folder=tmp_path, seeds=2, start_from=origin.run.path)
    assert not list(tmp_path.iterdir()), "no run is left behind"
    with pytest.raises(TeguError, match="there is no run 'x'"):
        tegu.train("lizard", steps=100, folder=tmp_path, start_from="x")


def test_what_was_learned_is_of_use_at_once(tmp_path: Path) -> None:
    good = tegu.train("lizard", "q-learning", steps=20_000, folder=None)
    good.save(tmp_path / "good")
    again = tegu.train("lizard", "q-learning", steps=10, folder=None, start_from=tmp_path / "good")
    assert (again.evaluate(5).mean, good.evaluate(5).mean) == (9, 9)
    assert tegu.train("lizard", "q-learning", steps=10, folder=None).evaluate(5).mean < 9


def test_a_run_is_resumed_from_its_beginning_without_the_origin(origin: tegu.Agent, tmp_path: Path) -> None:
    """Stopped before its first step, with the other run gone."""
    agent = trained("CartPole-v1", tmp_path / "origin")
    assert agent.run is not None
    options: dict[str, Any] = {"start_from": agent.run.path, "seed": 3}
    whole = trained("CartPole-v1", tmp_path / "whole", **options)
    part = trained("CartPole-v1", tmp_path / "part", **options, callbacks=lambda _: False)
    assert part.run is not None
    assert checkpoint.steps(part.run.checkpoints) == [0]
    (tmp_path / "origin").rename(tmp_path / "away")
    found, expected = to_arrays(tegu.resume(part.run).learners), to_arrays(whole.learners)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_only_what_has_the_same_name_shape_and_type(origin: tegu.Agent) -> None:
    assert origin.run is not None
    saved = origin_of(checkpoint.load_latest(origin.run.checkpoints), None)
    shapes = jax.eval_shape(lambda: origin.algorithm.init(jax.random.key(0), origin.spec))
    names = fitting(shapes, saved, 2)
    arrays = cast(dict[str, np.ndarray], saved.arrays)
    first, second, third = last = [name for name in names if "biases" in name][:3]
    arrays[first] = arrays[first].astype(np.float64)
    arrays[second] = arrays[second][..., None]
    arrays["renamed"] = arrays.pop(third)
    with pytest.warns(UserWarning, match=f"{len(names) - 3} of {len(names)} arrays"):
        left = fitting(shapes, saved, 2)
    assert left == [name for name in names if name not in last]
    learners = jax.tree.map(np.asarray, origin.learners)
    assert jax.tree.structure(taken_over(learners, saved, left)) == jax.tree.structure(learners)


@pytest.mark.parametrize("shared", [False, True])
def test_one_of_several_agents(shared: bool, tmp_path: Path) -> None:
    """The policy of one agent of IPPO, its own or one that it shares, for PPO in a world of one agent."""
    world = tegu.make("simple_spread_v3", N=2)
    several, one = tegu.IPPO(net_arch=(8,), share_parameters=shared), tegu.PPO(net_arch=(8,))
    spec = spec_of(world.id, world, 4)
    pair = jax.jit(lambda: jax.vmap(lambda key: several.init(key, spec))(jax.random.split(jax.random.key(0), 1)))()
    saved = checkpoint.load_latest(tegu.Agent(several, spec, pair, (0,), 0).save(tmp_path / "pair"))
    name = "agent_1"
    alone = EnvironmentSpec("alone", spec.observation_space[name], spec.action_space[name], 4)
    fresh = jax.jit(lambda: jax.vmap(lambda key: one.init(key, alone))(jax.random.split(jax.random.key(1), 2)))()
    shapes = jax.eval_shape(lambda: one.init(jax.random.key(0), alone))
    origin = origin_of(saved, name)
    found = taken_over(fresh, origin, fitting(shapes, origin, 2))
    given = pair.policies[("agent_0", name) if shared else (name,)]
    for ours, theirs in zip(jax.tree.leaves(found.network), jax.tree.leaves(given.network), strict=True):
        assert np.array_equal(ours, np.repeat(theirs, 2, axis=0))
    with pytest.raises(TeguError, match="no policy of agent_2: it is of agent_0, agent_1"):
        origin_of(saved, "agent_2")
    with pytest.raises(TeguError, match=r"start_agent .* is one of start_from"):
        tegu.train("lizard", start_agent=name, folder=None)


def test_what_was_never_saved_is_not_resumed_as_if_it_had_been_new(origin: tegu.Agent, tmp_path: Path) -> None:
    assert origin.run is not None
    run = trained("CartPole-v1", tmp_path, seeds=2, start_from=origin.run.path, callbacks=lambda _: False).run
    assert run is not None
    run.checkpoints.rename(tmp_path / "gone")
    with pytest.raises(TeguError, match="was stopped before it had saved what it begins with"):
        tegu.resume(run)


def test_statistics_and_single_numbers_alone_are_nothing_learned(origin: tegu.Agent, tmp_path: Path) -> None:
    assert origin.run is not None
    with pytest.raises(TeguError, match="nothing of what"):
        trained("Acrobot-v1", tmp_path, seeds=2, start_from=origin.run.path, net_arch=(5,))
