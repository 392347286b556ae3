"""Algorithms that train in stages: each is a phase of the run, which is resumed in any of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from metronome import FIRST, Metronome, Only
from run_contents import assert_same, everything
from training.conftest import SMALL

import tegu
from tegu.algorithms.base import Algorithm, Stage, Update, named
from tegu.core.step import Decision
from tegu.experience.base import Rollout
from tegu.training.trainer import Progress

MADE: list[int] = []  #: the longest episodes of the environments that stages have asked for


class Halves(Algorithm):
    """Counts its updates by ones, and in a second stage by hundreds, in an environment of its own."""

    name: str = named("halves")
    unit: int = eqx.field(static=True, default=1)  #: what an update counts

    experience = Rollout(5)

    def stages(self, spec, steps):
        def doubled(before, fresh):
            return Only(before.updates * 2)

        later = replace(self, unit=100), steps - steps // 2
        return (
            Stage(self, steps // 2, lambda: MADE.append(100) or Metronome()),
            Stage(*later, lambda: MADE.append(2) or Metronome(max_episode_steps=2), doubled),
        )

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jax.random.randint(key, (len(observation),), FIRST, FIRST + 2))

    def update(self, learner, batch, key):
        longest = 1 + (~(batch.terminated | batch.truncated))[:2].all(axis=0).max()
        return Update(Only(learner.updates + self.unit), {"longest": longest.astype(jnp.float32)})


def test_a_stage_is_a_phase_with_an_algorithm_and_an_environment_of_its_own() -> None:
    seen: dict[int, float] = {}

    def listen(progress: Progress) -> None:
        seen.update((progress.steps, metrics["train/longest"]) for metrics in progress.metrics)

    settings: dict[str, Any] = {"steps": 200, "n_envs": 2, "folder": None, "log_interval": 10}
    agent = tegu.train(Metronome(), Halves(), callbacks=listen, **settings)
    assert agent.learners.updates.tolist() == [2 * 10 + 10 * 100]
    assert agent.steps == agent.total == 200
    assert isinstance(agent.algorithm, Halves)
    assert agent.algorithm.unit == 1, "what is kept is the algorithm as it was given"
    assert max(value for steps, value in seen.items() if steps <= 100) == 2
    assert max(value for steps, value in seen.items() if steps > 100) == 1, "episodes of two steps"


def test_a_phase_may_have_stages_too() -> None:
    settings: dict[str, Any] = {"steps": 100, "n_envs": 2, "folder": None}
    then = tegu.Phase(Metronome(), Halves(), 200, lambda before, fresh: Only(before.updates + 1_000_000))
    agent = tegu.train(Metronome(), Halves(), then=then, **settings)
    assert agent.learners.updates.tolist() == [2 * (2 * 5 + 5 * 100 + 1_000_000 + 10) + 10 * 100]


class Twice(Algorithm):
    """Draws actions, and says what it saw and did, in two stages that are the same."""

    name: str = named("twice")

    experience = Rollout(5)

    def stages(self, spec, steps):
        return Stage(self, steps // 2), Stage(self, steps // 2)

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jax.random.uniform(key, (len(observation), 1)))

    def update(self, learner, batch, key):
        return Update(Only(learner.updates + 1), {"seen": batch.observation.mean(), "done": batch.action.mean()})


@pytest.mark.parametrize("backend", ["jax", "gymnasium"])
def test_every_stage_draws_other_random_numbers(backend: str) -> None:
    found: dict[int, tuple[float, float]] = {}

    def listen(progress: Progress) -> None:
        for metrics in progress.metrics:
            found.setdefault(progress.steps, (metrics["train/seen"], metrics["train/done"]))

    tegu.train(
        "Pendulum-v1", Twice(), steps=20, n_envs=2, folder=None, log_interval=10, backend=backend, callbacks=listen
    )
    assert sorted(found) == [10, 20]
    for first, second in zip(found[10], found[20], strict=True):
        assert abs(first - second) > 1e-4


def resumed(folder: Path, train: Callable[..., Any], stop: Callable[[Progress], Any], **again: Any) -> None:
    """A run that stops early and is resumed is the same as one that never stopped."""
    whole = train(folder=folder / "whole")
    try:
        run = train(folder=folder / "stopped", callbacks=stop).run
    except KilledError:
        run = tegu.runs.Run.open("last", folder / "stopped")
    before = tegu.runs.checkpoint.steps(run.checkpoints)[-1]
    assert before < whole.steps
    again_agent = tegu.resume(run, **again)
    assert again_agent.steps == whole.steps
    assert_same(everything(run), everything(whole.run))


class KilledError(Exception):
    """Ends a training between two stages."""


def killed_between(progress: Progress) -> None:
    if progress.state == "finished":
        raise KilledError


@pytest.mark.parametrize("where", [50, 150, "between"])
def test_a_run_is_resumed_in_any_stage(tmp_path: Path, where: Any) -> None:
    def train(**more: Any) -> Any:
        return tegu.train(Metronome(), Halves(), steps=200, n_envs=2, log_interval=10, **more)

    stop = killed_between if where == "between" else lambda progress: progress.steps < where
    resumed(tmp_path, train, stop, environment=Metronome(), algorithm=Halves)


def test_what_a_stage_needs_is_not_made_for_a_run_that_is_past_it(tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 200, "n_envs": 2, "log_interval": 10, "folder": tmp_path}
    run = tegu.train(Metronome(), Halves(), callbacks=lambda progress: progress.steps < 150, **given).run
    assert MADE[-2:] == [100, 2]
    MADE.clear()
    assert tegu.resume(run, environment=Metronome(), algorithm=Halves).steps == 200
    assert MADE == [2]


def test_steps_of_all_stages_can_be_changed_in_the_first(tmp_path: Path) -> None:
    given: dict[str, Any] = {"steps": 200, "n_envs": 2, "log_interval": 10, "folder": tmp_path}
    again: dict[str, Any] = {"environment": Metronome(), "algorithm": Halves}
    run = tegu.train(Metronome(), Halves(), callbacks=lambda progress: progress.steps < 50, **given).run
    stopped = tegu.resume(run, steps=400, callbacks=lambda progress: progress.steps < 100, **again)
    assert stopped.steps == 100
    assert tegu.resume(run, **again).steps == 400, "they stay changed"
    run = tegu.train(Metronome(), Halves(), callbacks=lambda progress: progress.steps < 150, **given).run
    with pytest.raises(tegu.TeguError, match="steps can be given in the first phase of a run"):
        tegu.resume(run, steps=400, **again)


def test_a_sweep_trains_in_stages_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tegu.algorithms.catalogue.ALGORITHMS, "halves", tegu.algorithms.catalogue.Entry(PATH, "Halves"))
    settings: dict[str, Any] = {"steps": 100, "n_envs": 2, "folder": tmp_path}
    one, two = tegu.sweep("lizard", "halves", values={"unit": [1, 2]}, **settings)
    assert one.learners.updates.tolist() == [2 * 5 + 5 * 100]
    assert two.learners.updates.tolist() == [2 * 10 + 5 * 100]


PATH = f"{__name__}:Halves"


@pytest.mark.long
@pytest.mark.parametrize("where", [100, 300, 520, "between"])
@pytest.mark.parametrize("name", ["alphago", "mbmf", "world-models"])
def test_an_algorithm_is_resumed_in_any_of_its_stages(tmp_path: Path, name: str, where: Any) -> None:
    environment, settings, _ = SMALL[name]

    def train(**more: Any) -> Any:
        return tegu.train(environment, name, **settings, **more)

    stop = killed_between if where == "between" else lambda progress: progress.steps < where
    resumed(tmp_path, train, stop)
