"""How the time of the split loop is divided among environments, acting, learning and waiting for it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import pytest
from metronome import HostMetronome

import tegu
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.training import split
from tegu.training.loops import host_loop
from tegu.training.plan import spec_of
from tegu.training.split import SplitLoop
from tegu.training.tally import Tally

STEP, ROUND, ITERATIONS = 2e-3, 10e-3, 10  #: seconds that a step and a round of updates take at least
N_STEPS = 4  #: per iteration


class Slow(gymnasium.Wrapper):
    def step(self, action: Any) -> Any:
        time.sleep(STEP)
        return super().step(action)


@contextmanager
def slow_loop() -> Iterator[SplitLoop]:
    """Tiny networks, compiled; environments and updates that sleep."""
    environments = GymnasiumEnvironments(lambda: Slow(HostMetronome()), [[0]])
    algorithm = tegu.DQN(learning_starts=N_STEPS, buffer_size=100, batch_size=2, train_freq=N_STEPS, net_arch=(2,))
    loop = host_loop(algorithm, spec_of("metronome", environments, 1), {0: environments})
    replay = loop.programs.replay

    def slow(*given: Any) -> Any:
        time.sleep(ROUND)
        return replay(*given)

    loop.programs.replay = slow
    try:
        yield loop
    finally:
        loop.close()


def chunk(loop: SplitLoop, state: Any, start: int) -> tuple[Any, Tally, dict[str, float], float]:
    """A chunk, the seconds of each kind of work in it, and all of its seconds."""
    before, began = dict(loop.seconds), time.perf_counter()
    state, tally = loop.chunk(state, ITERATIONS, start, 10_000)
    elapsed = time.perf_counter() - began
    return state, tally, {kind: seconds - before[kind] for kind, seconds in loop.seconds.items()}, elapsed


@pytest.mark.parametrize("in_background", [False, True])
def test_the_parts_make_up_the_whole(in_background: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeping bounds each part from below and the clock their sums from above, however slow the machine is."""
    monkeypatch.setattr(split, "THREAD_PAYS", 0.0 if in_background else float("inf"))
    with slow_loop() as loop:
        state = loop.start()
        state, tally, _, _ = chunk(loop, state, 0)  # the warm-up
        start = int(tally.iterations[0]) * N_STEPS
        state, tally, _, _ = chunk(loop, state, start)  # compiles, and finds out that a thread pays
        start += int(tally.iterations[0]) * N_STEPS
        state, tally, spent, elapsed = chunk(loop, state, start)
    assert set(spent) == {"environment", "acting", "learning", "waiting"}
    assert tally.updates[0] == tally.iterations[0] == ITERATIONS
    assert spent["environment"] >= ITERATIONS * N_STEPS * STEP
    assert spent["learning"] >= ITERATIONS * ROUND
    assert spent["acting"] > 0
    in_turn = spent["environment"] + spent["acting"] + spent["waiting"]
    if in_background:
        assert in_turn < elapsed
        assert spent["learning"] < elapsed
    else:
        assert in_turn + spent["learning"] < elapsed


def test_fractions_are_logged() -> None:
    reports: list[Any] = []
    tegu.train(
        "CartPole-v1",
        "dqn",
        backend="gymnasium",
        steps=60,
        learning_starts=8,
        train_freq=4,
        gradient_steps=1,
        net_arch=[2],
        log_interval=20,
        folder=None,
        progress_bar=False,
        callbacks=reports.append,
    )
    (last,) = reports[-1].metrics
    found = {kind: last[f"time/{kind}"] for kind in ("environment", "acting", "learning", "waiting")}
    assert found == reports[-1].time_fractions
    assert 0 < found["environment"] + found["acting"] + found["waiting"] <= 1
