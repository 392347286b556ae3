"""Saving, pruning and loading with each single disk operation made to fail or to be the last of the process.

Whatever happens, what is found afterwards is exactly the old checkpoint or exactly the new one.
"""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from disk_faults import FAULTS, Fault, Killed

from tegu.runs import checkpoint, disk
from tegu.runs.checkpoint import CheckpointError, Chunk


def content(value):
    rng = np.random.default_rng(value)
    blobs = {"learner": {"w": rng.normal(size=(3, 4)), "n": np.array(value)}, "experience": {"o": rng.bytes(50)}}
    blobs["experience"]["o"] = np.frombuffer(blobs["experience"]["o"], np.uint8)
    blobs["experience-0000"] = {"o": np.arange(20)}  # the same in all
    return blobs, {"value": value, "key": 2**80 + value}


def save(folder, step, value):
    """Every save takes the chunk that never changes over from one before, where there is one."""
    blobs, state = content(value)
    unchanged = blobs["experience-0000"]
    blobs["experience-0000"] = Chunk(7, lambda: unchanged)
    base = max(Path(folder).glob("0*"), default=None)
    return checkpoint.save(folder, step, blobs, state, keep=2, base=base)


def value_of(found):
    """Which ``content`` this is; fails if it is a mix."""
    blobs, state = content(found.state["value"])
    assert found.state == state
    assert {name: set(group) for name, group in found.blobs.items()} == {name: set(blobs[name]) for name in blobs}
    for name, group in blobs.items():
        assert all(np.array_equal(found.blobs[name][key], array) for key, array in group.items())
    return state["value"]


def plain(folder):
    """Steps 1 and 2 are there, 3 is saved and 1 pruned."""
    save(folder, 1, 1)
    save(folder, 2, 2)
    return 3


def again(folder):
    """Step 2 is saved a second time."""
    plain(folder)
    return 2


def littered(folder):
    """As ``again``, after one process died while replacing step 2 and one while saving, and with too many old ones."""
    again(folder)
    shutil.copytree(folder / "000000000002", folder / "000000000002.replaced")
    for step in ("000000000000", "000000000001.replaced"):
        shutil.copytree(folder / "000000000001", folder / step)
    shutil.copytree(folder / "000000000002", folder / f".tegu-{os.getpid()}-saving")
    return 2


def interrupted(folder):
    """Step 2 was being replaced and has only its second name."""
    again(folder)
    (folder / "000000000002").rename(folder / "000000000002.replaced")
    return 2


SCENARIOS = [plain, again, littered, interrupted]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def one_line(error, part):
    assert "\n" not in str(error)
    assert part in str(error)
    return str(error)


def faulted_save(folder, step, fault):
    """Save value 100 with a fault; returns whether it was reported as saved."""
    try:
        with fault.active():
            save(folder, step, 100)
    except CheckpointError as error:
        return "is saved" in one_line(error, str(folder))
    except Killed:
        return False
    return True


def check(folder, reported):
    found = checkpoint.load_latest(folder)
    assert found.skipped == ()
    assert value_of(found) in ({100} if reported else {2, 100})


def check_recovery(folder):
    """A healthy save afterwards leaves two checkpoints and nothing else."""
    save(folder, 5, 5)
    assert value_of(checkpoint.load_latest(folder)) == 5
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2
    assert all(len(name) == 12 or name.endswith(".replaced") for name in names)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kind", FAULTS)
def test_every_operation_of_save_may_fail(tmp_path, scenario, kind):
    template = tmp_path / "template"
    step = scenario(template)
    for at in count():
        folder = tmp_path / str(at)
        shutil.copytree(template, folder)
        fault = Fault(at, **FAULTS[kind])
        reported = faulted_save(folder, step, fault)
        check(folder, reported)
        check_recovery(folder)
        if not fault.hit:
            assert reported
            break
    assert at > 20
    print("cases:", at)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_operation_of_save_may_fail_where_files_cannot_be_linked(tmp_path, monkeypatch, kind):
    def no_links(source, target):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(disk, "link", no_links)
    test_every_operation_of_save_may_fail(tmp_path, plain, kind)


@pytest.mark.parametrize("kind", FAULTS)
def test_every_operation_of_the_first_save_may_fail(tmp_path, kind):
    for at in count():
        folder = tmp_path / str(at)
        fault = Fault(at, **FAULTS[kind])
        reported = faulted_save(folder, 1, fault)
        if reported or (folder.exists() and checkpoint.steps(folder)):
            assert value_of(checkpoint.load_latest(folder)) == 100
        if not fault.hit:
            break
    assert at > 10
    print("cases:", at)


@pytest.mark.parametrize("scenario", [pytest.param(again, marks=pytest.mark.long), littered])
def test_a_second_fault_while_recovering_from_a_kill(tmp_path, scenario):
    template = tmp_path / "template"
    step = scenario(template)
    rng, cases = random.Random(0), 0
    for at in range(60):
        for _ in range(5):
            folder = tmp_path / f"{at}-{cases}"
            shutil.copytree(template, folder)
            faulted_save(folder, step, Fault(at, after=rng.random() < 0.5, torn=True))
            second = FAULTS[rng.choice(list(FAULTS))]
            reported = faulted_save(folder, step, Fault(rng.randrange(40), **second))
            check(folder, reported)
            check_recovery(folder)
            cases += 1
            shutil.rmtree(folder)
    print("cases:", cases)


@pytest.mark.parametrize("forever", [False, True])
def test_every_operation_of_load_may_fail(tmp_path, forever):
    plain(tmp_path)
    for at in count():
        fault = Fault(at, error=errno.EIO, forever=forever)
        try:
            with fault.active():
                found = checkpoint.load_latest(tmp_path)
        except CheckpointError as error:
            one_line(error, "Input/output error")
        else:
            assert value_of(found) == (2 if not found.skipped else 1)
            assert all("Input/output error" in line for line in found.skipped)
        if not fault.hit:
            break
    assert at > 4
    print("cases:", at)


KILLER = """
import os, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_checkpoint_faults as faults
from disk_faults import CALLS
from tegu.runs import disk

def kill_at(at, after):
    calls = 0
    def wrap(call):
        def wrapped(*arguments):
            nonlocal calls
            calls += 1
            if calls - 1 == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments)
            if calls - 1 == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return wrapped
    for name in CALLS:
        setattr(disk, name, wrap(getattr(disk, name)))

root = Path(sys.argv[2])
for after in (False, True):
    for at in range(1000):
        folder = root / f"{at}-{after}"
        shutil.copytree(root / "template", folder)
        child = os.fork()
        if not child:
            kill_at(at, after)
            faults.save(folder, 2, 100)
            os._exit(0)
        if not os.waitpid(child, 0)[1]:
            break
"""


@pytest.mark.slow
def test_sigkill_at_every_operation(tmp_path):
    again(tmp_path / "template")
    subprocess.run([sys.executable, "-c", KILLER, str(Path(__file__).parent), str(tmp_path)], check=True, timeout=60)
    folders = [path for path in tmp_path.iterdir() if path.name != "template"]
    for folder in folders:
        check(folder, reported=False)
        check_recovery(folder)
    assert len(folders) > 40
    print("cases:", len(folders))


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
import test_checkpoint_faults as faults
from itertools import count
for step in count(1):
    faults.save(sys.argv[2], step // 3, step)  # each step is replaced twice
    print(step, flush=True)
"""


@pytest.mark.slow
def test_sigkill_at_random_times(tmp_path):
    rng = random.Random(1)
    for trial in range(8):
        folder = tmp_path / str(trial)
        command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            writer.stdout.readline()
            time.sleep(rng.random() * 0.15)
            writer.send_signal(signal.SIGKILL)
            acknowledged = int((writer.stdout.read().split() or ["1"])[-1])
        found = checkpoint.load_latest(folder)
        assert found.skipped == ()
        assert value_of(found) in (acknowledged, acknowledged + 1)
    print("cases:", 8)


@pytest.fixture
def tiny_disk(tmp_path):
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk(tiny_disk):
    """A real file system at many fill levels: the save is refused, and goes on working once there is space."""
    folder, refused = tiny_disk / "checkpoints", 0
    plain(folder)
    for fill in range(0, 240, 4):
        (tiny_disk / "ballast").write_bytes(b"x" * fill * 1024)
        try:
            checkpoint.save(folder, 3, {"learner": {"w": np.ones(16_000)}}, {})
        except CheckpointError as error:
            one_line(error, "No space left on device")
            check(folder, reported=False)
            refused += 1
        assert all(path.name.isdecimal() for path in folder.iterdir())
        (tiny_disk / "ballast").unlink()
        save(folder, 2, 2)
        shutil.rmtree(folder / "000000000003", ignore_errors=True)
    assert 10 < refused < 50
