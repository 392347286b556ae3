"""Predictions of a learned model beside what came: a model that is the world itself makes no error."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.agents.agent import Agent
from tegu.agents.open_loop import OpenLoop, open_loop
from tegu.algorithms.base import Imagined
from tegu.algorithms.learned_dynamics import imagined
from tegu.cli import watch
from tegu.cli.common import UsageError
from tegu.core.errors import TeguError
from tegu.environments.classic.pendulum import Pendulum
from tegu.training.plan import make_plan, spec_at

SMALL = {"net_arch": (4,), "model_arch": (4,), "ensemble_size": 2}


def agent(backend: str) -> Agent:
    """One that has learned nothing, on either implementation of Pendulum."""
    plan = make_plan("Pendulum-v1", tegu.MBPO(learning_rate=tegu.Linear(1e-3), **SMALL), backend=backend, steps=10)
    spec = spec_at(plan.source, 1)
    learners = jax.tree.map(lambda leaf: leaf[None], plan.algorithm.init(jax.random.key(0), spec))
    return Agent(plan.algorithm, spec, learners, (3,), 0, plan.source)


def the_world(self: Any, learner: Any, observation: jax.Array, actions: jax.Array, key: jax.Array) -> Imagined:
    """Pendulum itself as the model, and beside it one that is off by a half in the velocity, on either side."""
    world = Pendulum()

    def step(state: jax.Array, action: jax.Array) -> tuple[jax.Array, Any]:
        now = jax.vmap(world.step, in_axes=(0, 0, None))(state, action, key)
        return now.state, (now.observation, now.reward, now.terminated)

    seen, *rest = jax.lax.scan(step, jax.vmap(world.state_of)(observation), actions)[1]
    off = jnp.zeros_like(seen).at[..., 2].set(0.5)
    return Imagined(jnp.stack([seen + off, seen - off]), *(jnp.stack([leaf] * 2) for leaf in rest))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "gymnasium"])
def test_a_model_that_is_the_world_makes_no_error(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setattr(tegu.MBPO, "imagine", the_world)
    found = open_loop(agent(backend), 12, deterministic=False)
    assert found.observation.shape == (201, 3)
    assert found.imagined.observation.shape == (2, 12, 189, 3)
    errors = found.errors()
    assert errors["model"].shape == (12,)
    assert errors["model"].max() < 1e-6
    assert errors["reward"].max() < 1e-6
    assert errors["no change"].min() > 1e-3


def test_errors_are_shares_of_the_variance() -> None:
    random = np.random.default_rng(0)
    observation, reward = random.normal(size=(8, 2)).astype(np.float32), random.normal(size=7)
    observation[:, 1] = 1000.1  # which never changes, and does not count
    seen, paid = random.normal(size=(2, 3, 5, 2)), random.normal(size=(2, 3, 5))
    errors = OpenLoop(observation, reward, Imagined(seen, paid, paid > 0)).errors()
    for h in range(3):
        of_model, of_reward, of_none = list[float](), list[float](), list[float]()
        for start in range(5):
            true = observation[start + 1 + h, 0]
            of_model.append((seen[:, h, start, 0].mean() - true) ** 2 / observation[:, 0].var())
            of_none.append((observation[start, 0] - true) ** 2 / observation[:, 0].var())
            of_reward.append((paid[:, h, start].mean() - reward[start + h]) ** 2 / reward.var())
        for name, expected in (("model", of_model), ("no change", of_none), ("reward", of_reward)):
            assert errors[name][h] == pytest.approx(np.mean(expected), rel=1e-5)
    constant = OpenLoop(observation, np.ones(7), Imagined(seen, paid, paid > 0)).errors()
    assert np.isnan(constant["reward"]).all()
    np.testing.assert_array_equal(constant["model"], errors["model"])


@pytest.mark.slow
def test_networks_predict_step_by_step_with_their_means() -> None:
    made = agent("jax")
    algorithm, learner = made.algorithm, made.learner()
    assert isinstance(algorithm, tegu.MBPO)
    biases = learner.dynamics.ensemble.biases[-1].at[..., -1].set(0.01)  # some steps end and others do not
    learner = eqx.tree_at(lambda given: given.dynamics.ensemble.biases[-1], learner, biases)
    random = np.random.default_rng(0)
    observation = jnp.asarray(random.normal(size=(4, 3)), jnp.float32)
    actions = jnp.asarray(random.uniform(-2, 2, (3, 4, 1)), jnp.float32)
    found = algorithm.imagine(learner, observation, actions, jax.random.key(1))
    assert found.reward.shape == found.terminated.shape == (2, 3, 4)
    now, ended = jnp.stack([observation] * 2), jnp.zeros((2, 4), bool)
    means = algorithm.settings._replace(probabilistic=False)
    for h in range(3):
        action = jnp.stack([actions[h]] * 2)
        outcome, now = imagined(learner.dynamics, made.spec.action_space, jax.random.key(7), action, now, means)
        np.testing.assert_allclose(found.observation[:, h], now, atol=1e-5)
        np.testing.assert_allclose(found.reward[:, h], outcome.reward, atol=1e-5)
        ended |= outcome.terminated
        np.testing.assert_array_equal(found.terminated[:, h], ended)
    assert 0 < found.terminated.mean() < 1


@pytest.mark.parametrize(
    ("made", "networks"),
    [(tegu.PETS(net_arch=(4,), ensemble_size=2, n_particles=2), 2), (tegu.MVEDDPG(net_arch=(4,), model_arch=(4,)), 1)],
    ids=["pets", "mve-ddpg"],
)
def test_all_that_learn_such_a_model_can_be_asked(made: Any, networks: int) -> None:
    plan = make_plan("Pendulum-v1", made, steps=10)
    learner = made.init(jax.random.key(0), spec_at(plan.source, 1))
    found = made.imagine(learner, jnp.ones((4, 3)), jnp.zeros((3, 4, 1)), jax.random.key(1))
    assert found.observation.shape == (networks, 3, 4, 3)


@pytest.mark.slow
def test_what_cannot_be_predicted_is_said() -> None:
    with pytest.raises(TeguError, match=r"cut after 7 steps \(max_steps\): horizon must be at most that, got 8"):
        open_loop(agent("jax"), 8, max_steps=7)
    lizard = tegu.train("lizard", steps=100, folder=None)
    with pytest.raises(TeguError, match="QLearning predicts no observations of lizard: expected an algorithm with"):
        open_loop(lizard)
    with pytest.raises(TeguError, match=r"seed_index must lie in 0..0, got 1"):
        open_loop(lizard, seed_index=1)
    for wrong in ({"horizon": 0}, {"max_steps": 0}):
        with pytest.raises(TeguError, match=f"{next(iter(wrong))} must be at least 1, got 0"):
            open_loop(agent("jax"), **wrong)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--horizon", "5"], "--horizon is for --model or --dream, and must be at least 1"),
        (["--model", "--horizon", "0"], "--horizon is for --model or --dream, and must be at least 1"),
        (["--model", "--terminal"], "--model draws one picture of a RUN: leave --terminal, --format and --fps out"),
        (["--model", "--out", "x.gif"], "--out x.gif: with --model expected a folder, or a name that ends in .png"),
        (["game.sgf", "--model"], "--model draws one picture of a RUN"),
    ],
)
def test_flags_that_make_no_sense(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        watch.arguments(words)


@pytest.mark.slow
def test_a_picture_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent("jax").save(tmp_path / "agent")
    words = [str(tmp_path / "agent"), "--env", "Pendulum-v1", "--model", "--max-steps", "30", "--horizon", "4"]
    out: Any = SimpleNamespace(print=lambda *given, **_: print(*given), quiet=True)
    outcome = watch.run(watch.arguments([*words, "--quiet"]), out)
    assert outcome.data["steps"] == 30
    assert {name: len(error) for name, error in outcome.data["errors"].items()} == dict.fromkeys(
        ("model", "no change", "reward"), 4
    )
    assert Path(outcome.data["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "no change" in capsys.readouterr().out
