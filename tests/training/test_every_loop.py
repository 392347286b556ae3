"""What holds of algorithms in every loop: each may stop at any time, and seeds know nothing of each other."""

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
from training.conftest import SHORT, SMALL, STOPPED, TOGETHER, Case, cases

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.core.runtime import cores
from tegu.runs import Run, checkpoint
from tegu.training.fused import FusedLoop
from tegu.training.loops import make_loop
from tegu.training.plan import make_plan
from tegu.training.split import SplitLoop
from tegu.training.trainer import Progress

pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")


def test_there_are_settings_for_every_algorithm() -> None:
    assert set(SMALL) | TOGETHER == set(ALGORITHMS)


def test_a_case_runs_in_the_loop_that_it_is_named_after(case: Case) -> None:
    loop = make_loop(make_plan(case.environment, case.algorithm, **case.settings))
    kind = case.name.rpartition(" ")[2]
    split = kind == "host" or (kind == "multicore" and cores() > 1)
    assert isinstance(loop, SplitLoop if split else FusedLoop)
    if isinstance(loop, SplitLoop):
        assert type(loop.each[0].collector).__name__ == f"{kind.title()}Collector"
    loop.close()


Figures = list[list[dict[str, float]]]  # of each seed, those of every report, without times


def settings_of(case: Case, seeds: int) -> dict[str, Any]:
    """Seeds 5 to 7, or 6 alone; two of the algorithms are evaluated meanwhile, which has to go on, too."""
    settings = case.settings | {"seeds": seeds, "seed": 5 if seeds == 3 else 6, "checkpoint_every": 0}
    if case.algorithm in ("q-learning", "dqn"):
        settings |= {"eval_every": case.settings["steps"] // 4, "eval_episodes": 2}
    return settings


def trained(case: Case, seeds: int, folder: Path) -> tuple[tegu.Agent, Figures]:
    figures: Figures = [[] for _ in range(seeds)]

    def note(progress: Progress) -> None:
        if progress.state == "training":
            for mine, metrics in zip(figures, progress.metrics, strict=True):
                mine.append({name: value for name, value in metrics.items() if not name.startswith("time/")})

    given = settings_of(case, seeds)
    return tegu.train(case.environment, case.algorithm, folder=folder, callbacks=(note,), **given), figures


def n_seeds(case: Case) -> int:
    """Of a run never stopped: one where several would not be collected on several cores."""
    return 1 if case.name.endswith("multicore") else 3


@pytest.fixture(scope="module")
def whole(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[tegu.Agent, Figures]:
    """A run that was never stopped, for all tests of a case."""
    return trained(case, n_seeds(case), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stopped", [each for each in cases() if each.id in STOPPED])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(stopped: Case, tmp_path: Path) -> None:
    given = settings_of(stopped, 1)
    run = trained(stopped, 1, tmp_path / "whole")[0].run
    assert run is not None
    resumed = stopped_and_resumed(stopped.environment, stopped.algorithm, folder=tmp_path / "stopped", **given)
    ours = everything(run)
    assert any(name == "eval/mean_reward" for _, _, name in ours["metrics"]) == ("eval_every" in given)
    assert any(name.startswith("train/") for _, _, name in ours["metrics"])
    assert_same(everything(resumed), ours)


def test_a_seed_among_three_is_what_it_is_alone(case: Case, whole: tuple[tegu.Agent, Figures], tmp_path: Path) -> None:
    """To the bit: what it learned, and every figure of it."""
    seeds = n_seeds(case)
    found = {seeds: whole, 4 - seeds: trained(case, 4 - seeds, tmp_path)}
    (three, our_figures), (one, (its_figures,)) = found[3], found[1]
    jax.tree.map(np.testing.assert_array_equal, three.learner(1), one.learner(0))
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
        tegu.train(environment, algorithm, folder=folder, callbacks=(half_way,), **settings)
    else:
        tegu.resume(run, callbacks=(half_way,))


@pytest.mark.long
def test_a_killed_run_ends_as_one_never_stopped(case: Case, whole: tuple[tegu.Agent, Figures], tmp_path: Path) -> None:
    """SIGKILL, without warning, then resume to the end and compare everything but times; some are killed twice."""
    random_touches, given = random.Random(case.name), (case.environment, case.algorithm, str(tmp_path))
    path = None
    for most in (TOUCHES, TOUCHES // 2) if case.name in SHORT else (TOUCHES,):
        words = json.dumps([path, *given, random_touches.randint(1, most), settings_of(case, n_seeds(case))])
        died = subprocess.run([sys.executable, "-c", KILLED, words], capture_output=True, timeout=200)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        run = Run.open("last", tmp_path)
        assert run.status.state == "interrupted"
        assert 0 < checkpoint.steps(run.checkpoints)[-1] < whole[0].steps
        path = str(run.path)
    assert tegu.resume(run.path).steps == whole[0].steps
    assert whole[0].run is not None
    assert_same(everything(run), everything(whole[0].run))
