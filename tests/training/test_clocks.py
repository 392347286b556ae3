"""When it is: schedules long after 32 bits of steps, and the first update exactly when it is due, in every loop."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metronome import HostMetronome, Metronome, Only

from tegu.algorithms.alphazero import AlphaZero
from tegu.algorithms.base import Algorithm, Learner, Update, derived, named
from tegu.core.schedule import Clock, Linear, Schedule
from tegu.core.step import Decision
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.experience.base import Replay, Rollout
from tegu.runs import Run, checkpoint
from tegu.training.loop import Loop
from tegu.training.loops import make_loop
from tegu.training.plan import make_plan
from tegu.training.trainer import Progress, Trainer

LARGEST = 2**31 - 1
BIG = 2**33


class Watch(Algorithm):
    """Reports what time it was when it acted, and when it learned."""

    name: str = named("watch")

    replays: bool = eqx.field(static=True, default=False)
    learning_starts: int = eqx.field(static=True, default=0)
    n_steps: int = eqx.field(static=True, default=1)
    falling: Schedule = Linear(1.0)
    left: Any = derived(0)  #: steps to the largest the clock can say

    @property
    def experience(self) -> Any:
        return Replay(40, 5, self.learning_starts, 4, 2, self.n_steps) if self.replays else Rollout(2)

    def at(self, clock: Clock) -> Self:
        return dataclasses.replace(super().at(clock), left=LARGEST - clock.steps)

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        n = len(observation)
        told = jnp.stack([jnp.full(n, self.left, jnp.float32), jnp.full(n, self.falling)], axis=-1)
        return Decision(jnp.zeros(n, jnp.int32), memory, extras=told)

    def update(self, learner: Learner, batch: Any, key: jax.Array) -> Update:
        steps = batch.rows if self.replays else batch
        left, falling = steps.extras[..., 0].mean(), steps.extras[..., 1].mean()
        metrics = {"n_updates": learner.updates + 1.0, "acted_left": left, "acted_falling": falling}
        return learner.reporting(metrics | {"left": self.left * 1.0, "falling": self.falling * 1.0})


worlds = pytest.mark.parametrize("world", [Metronome(), HostMetronome], ids=["fused", "split"])


def driven(loop: Loop, start: int, total: int, chunks: list[int], state: Any = None) -> Iterator[tuple[int, Any]]:
    """Drive a loop as the trainer does. After every chunk: the steps so far, and the tally of the first seed."""
    state, steps = loop.start() if state is None else state, start
    for iterations in chunks:
        state, tally = loop.chunk(state, iterations, steps, total)
        steps += int(tally.iterations[0]) * loop.steps_per_iteration
        yield steps, jax.tree.map(lambda leaf: leaf[0], tally)


# --- beyond 32 bits


@worlds
@pytest.mark.parametrize("seeds", [1, 3])
def test_clocks_stand_still_where_32_bits_end_and_schedules_go_on(world: Any, seeds: int) -> None:
    """Four steps an iteration; policies act by the clock before it, learning goes by the one after it."""
    start = 2**31 - 10
    loop = make_loop(make_plan(world, Watch(), steps=BIG, n_envs=2, seeds=seeds))
    assert loop.steps_per_iteration == 4
    found = list(driven(loop, start, BIG, [1, 1, 1, 1, 3]))
    assert [steps for steps, _ in found] == [start + 4 * n for n in (1, 2, 3, 4, 7)]
    acted = [float(tally.metrics["acted_left"]) / tally.updates for _, tally in found]
    learned = [float(tally.metrics["left"]) / tally.updates for _, tally in found]
    assert acted == [9, 5, 1, 0, 0]
    assert learned == [5, 1, 0, 0, 0]
    for _, tally in found:
        for name in ("falling", "acted_falling"):
            assert float(tally.metrics[name]) / tally.updates == pytest.approx(0.75, abs=1e-6)


@worlds
@pytest.mark.parametrize(("start", "total", "left"), [(2**32 - 8, 2**33, 0.5), (3 * 2**32 - 6, 2**34, 0.25)])
def test_schedules_go_on_where_the_lower_word_runs_over(world: Any, start: int, total: int, left: float) -> None:
    loop = make_loop(make_plan(world, Watch(), steps=total, n_envs=2))
    for _, tally in driven(loop, start, total, [1, 1, 1, 1]):
        assert float(tally.metrics["falling"]) == pytest.approx(left, abs=1e-6)
        assert float(tally.metrics["left"]) == 0


@worlds
def test_schedules_end_where_training_does_however_long_it_was(world: Any) -> None:
    total = 2**39
    loop = make_loop(make_plan(world, Watch(), steps=total, n_envs=2))
    for steps, tally in driven(loop, total - 8, total, [1, 1]):
        assert float(tally.metrics["falling"]) == pytest.approx(1 - steps / total, abs=1e-6)


@pytest.mark.long
def test_dealt_out_games_go_by_the_same_clock() -> None:
    small = {"simulations": 2, "train_freq": 64, "buffer_size": 512, "batch_size": 8, "gradient_steps": 1}
    algorithm = AlphaZero(**small, width=8, blocks=1, learning_rate=Linear(1e-2))
    loop = make_loop(make_plan(TicTacToe(), algorithm, steps=BIG, n_envs=64))
    (_, warm), *found = list(driven(loop, 2**31 - 100, BIG, [1, 1, 2]))
    assert warm.updates == 0
    for _, tally in found:
        assert float(tally.metrics["learning_rate"]) / tally.updates == pytest.approx(0.75e-2, rel=1e-6)


@worlds
def test_a_trainer_begins_where_it_is_told(world: Any, tmp_path: Path) -> None:
    """Metrics, progress, observers and checkpoints count on from there, and a resumed run ends as it would have."""
    start, steps = 2**31 - 10, 2**31 + 50
    plan = make_plan(world, Watch(), steps=steps, n_envs=2, seeds=2)
    contents = []
    for name, stop_at in (("whole", steps + 1), ("stopped", 2**31 + 10)):
        run = Run.create(tmp_path / name, "metronome", "watch", plan.config)
        seen: list[Progress] = []
        looked = Looking(20)

        def until(progress: Progress, seen: list[Progress] = seen, stop_at: int = stop_at) -> bool:
            seen.append(progress)
            return progress.steps < stop_at

        def trainer(run: Run = run, until: Any = until, looked: Any = looked) -> Trainer:
            given = {"steps": steps, "log_interval": 8, "checkpoint_every": 0.0, "facts": {}, "start": start}
            return Trainer(make_loop(plan), run, **given, callbacks=(until,), observers=(looked,))

        first = trainer()
        assert (first.steps, first.total) == (start, steps)
        state = first.train()
        first.loop.close()
        if first.stopped:
            assert first.steps == 2**31 + 10
            first = trainer(until=seen.append)
            state = first.train(resume=checkpoint.load_latest(run.checkpoints))
            first.loop.close()
        assert first.steps == steps
        assert not first.stopped
        trained = [progress.steps for progress in seen if progress.state == "training"]
        # two iterations are logged at a time, and no multiple of 20 is passed by more than one
        assert [now - start for now in trained] == [4, 12, 20, 24, 32, 40, 44, 52, 60]
        assert [now - start for now in looked.at] == [4, 24, 44]
        saved = checkpoint.load_latest(run.checkpoints)
        assert saved.step == steps
        with run.metrics(read_only=True) as metrics:
            at, values = metrics.read("time/total_timesteps", seed=0)
            rows = {row[:3]: row.value for row in metrics.rows() if not row.name.startswith("time/")}
        assert list(at) == trained
        np.testing.assert_array_equal(values, trained)
        contents.append((saved.blobs, saved.state["loop"], rows))
        del state
    (ours, our_loop, our_rows), (theirs, their_loop, their_rows) = contents
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert (our_loop, our_rows) == (their_loop, their_rows)


class Looking:
    """An observer that notes when it was called."""

    def __init__(self, every: int) -> None:
        self.every, self.at = every, list[int]()

    def __call__(self, progress: Progress, learners: Learner) -> None:
        self.at.append(progress.steps)


# --- warming up


@worlds
@pytest.mark.parametrize("learning_starts", [0, 8, 11, 12])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_first_update_comes_exactly_when_it_is_due(world: Any, learning_starts: int, n_steps: int) -> None:
    """In the first iteration that ends after ``learning_starts`` steps and begins with a whole window stored.

    Until then there is no update at all, from then on two in every iteration of four steps, however long the chunks
    that are asked for.
    """
    first = next(k for k in range(10) if 4 * (k + 1) > learning_starts and 4 * k >= 2 * n_steps)
    algorithm = Watch(replays=True, learning_starts=learning_starts, n_steps=n_steps)
    loop = make_loop(make_plan(world, algorithm, steps=1_000, n_envs=2))
    fresh = loop.dump(loop.start(), range(1))
    for chunks in ([1] * 6, [8, 4], [2, 8, 1]):
        before = 0
        for steps, tally in driven(loop, 0, 1_000, chunks, loop.restore(*fresh)):
            begun, done = before // 4, steps // 4
            learning = max(done - max(begun, first), 0)
            assert int(tally.updates) == learning
            assert learning in (0, done - begun), "warming up and learning in one chunk"
            if begun < first:
                assert done <= first
                assert not tally.metrics
            if learning:  # the mean of each round's two updates: 1.5, 3.5, ...
                rounds = np.arange(done - first - learning, done - first)
                assert float(tally.metrics["n_updates"]) == (2 * rounds + 1.5).sum()
            before = steps
        assert before // 4 > first
    loop.close()


@worlds
def test_a_replay_buffer_that_begins_empty_later_waits_for_a_window(world: Any) -> None:
    """As after a phase, or in another environment: long after ``learning_starts``."""
    algorithm = Watch(replays=True, learning_starts=100, n_steps=3)
    loop = make_loop(make_plan(world, algorithm, steps=1_000, n_envs=2))
    found = list(driven(loop, 200, 1_000, [5, 5]))
    assert [(steps, int(tally.updates)) for steps, tally in found] == [(208, 0), (228, 5)]
