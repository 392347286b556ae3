"""What holds of every algorithm in every loop: it may stop at any time, and seeds know nothing of each other."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed
from training.conftest import SMALL, Case

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.core.runtime import cores
from tegu.runs import Run, checkpoint
from tegu.training.fused import FusedLoop
from tegu.training.plan import make_loop, make_plan
from tegu.training.split import SplitLoop
from tegu.training.trainer import Progress

pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")


def test_there_are_settings_for_every_algorithm() -> None:
    assert set(SMALL) == set(ALGORITHMS)


def test_a_case_runs_in_the_loop_that_it_is_named_after(case: Case) -> None:
    loop = make_loop(make_plan(case.environment, case.algorithm, **case.settings))
    kind = case.name.rpartition(" ")[2]
    split = kind == "host" or (kind == "multicore" and cores() > 1)
    assert isinstance(loop, SplitLoop if split else FusedLoop)
    if isinstance(loop, SplitLoop):
        assert type(loop.each[0].collector).__name__ == f"{kind.title()}Collector"
    loop.close()


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(case: Case, tmp_path: Path) -> None:
    """Two of the algorithms are evaluated meanwhile, which has to go on, too."""
    given, settings = (case.environment, case.algorithm), case.settings
    evaluated = case.algorithm in ("q-learning", "dqn")
    if evaluated:
        settings = settings | {"eval_every": settings["steps"] // 4, "eval_episodes": 2}
    whole = tegu.train(*given, folder=tmp_path / "whole", **settings)
    assert whole.run is not None
    resumed = stopped_and_resumed(*given, folder=tmp_path / "stopped", **settings)
    ours = everything(whole.run)
    assert any(name == "eval/mean_reward" for _, _, name in ours["metrics"]) == evaluated
    assert any(name.startswith("train/") for _, _, name in ours["metrics"])
    assert_same(everything(resumed), ours)


def test_a_seed_among_three_is_what_it_is_alone(case: Case) -> None:
    """To the bit: what it learned, and every figure of it."""
    found = []
    for seed, seeds, index in ((5, 3, 1), (6, 1, 0)):
        figures: list[list[dict[str, float]]] = [[] for _ in range(seeds)]

        def note(progress: Progress, figures: list[list[dict[str, float]]] = figures) -> None:
            if progress.state == "training":
                for mine, metrics in zip(figures, progress.metrics, strict=True):
                    mine.append({name: value for name, value in metrics.items() if not name.startswith("time/")})

        given = {"folder": None, "callbacks": (note,), "seed": seed, "seeds": seeds}
        agent = tegu.train(case.environment, case.algorithm, **given, **case.settings)
        found.append((jax.tree.map(np.asarray, agent.learner(index)), figures))
    (ours, our_figures), (alone, (its_figures,)) = found
    jax.tree.map(np.testing.assert_array_equal, ours, alone)
    assert our_figures[1] == its_figures
    assert our_figures[0] != its_figures, "another seed is another training"
    assert len(its_figures) > 3


TOUCHES = 20  # of files between two checkpoints, and a little more

KILLED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from training.test_every_loop import train_and_be_killed
train_and_be_killed(sys.argv[1])
"""


def train_and_be_killed(given: str) -> None:
    """Train or resume until this process is killed as if by somebody else: after the middle, as it touches a file.

    What a kill leaves behind is what is on the disk, so that this is every moment of a run there is; and it is the same
    one on a fast machine and a slow one.
    """
    run, environment, algorithm, folder, touches, settings = json.loads(given)

    def touch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touches
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and folder in str(arguments[0]):
            touches -= 1
            if touches == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def half_way(progress: Progress) -> None:
        nonlocal begun
        if not begun and progress.steps >= progress.total / 2:
            begun = True
            sys.addaudithook(touch)

    begun = False
    if run is None:
        tegu.train(environment, algorithm, folder=folder, callbacks=(half_way,), checkpoint_every=0, **settings)
    else:
        tegu.resume(run, callbacks=(half_way,))


@pytest.mark.long
def test_a_killed_run_ends_as_one_never_stopped(case: Case, tmp_path: Path) -> None:
    """SIGKILL, without warning, twice; then resume to the end and compare everything but times."""
    seeds = {"multicore": 1, "fused": 2, "host": 3}[case.name.rpartition(" ")[2]]
    settings: dict[str, Any] = case.settings | {"seeds": seeds}
    whole = tegu.train(case.environment, case.algorithm, folder=tmp_path / "whole", checkpoint_every=0, **settings)
    random_touches, given = random.Random(case.name), (case.environment, case.algorithm, str(tmp_path / "killed"))
    path = None
    for most in (TOUCHES, TOUCHES // 2):
        words = json.dumps([path, *given, random_touches.randint(1, most), settings])
        died = subprocess.run([sys.executable, "-c", KILLED, words], capture_output=True, timeout=200)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        run = Run.open("last", tmp_path / "killed")
        assert run.status.state == "interrupted"
        assert 0 < checkpoint.steps(run.checkpoints)[-1] < whole.steps
        path = str(run.path)
    resumed = tegu.resume(run.path)
    assert resumed.steps == whole.steps
    assert whole.run is not None
    assert_same(everything(run), everything(whole.run))
