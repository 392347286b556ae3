"""What is saved comes back bit for bit, and what could not is refused before the disk is touched."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tegu.runs import checkpoint, disk, manifest
from tegu.runs.checkpoint import CheckpointError

DTYPES = ["bool", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8", "c8"]


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = int(np.prod(shape, dtype=int)) * dtype.itemsize
    content = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)  # every NaN payload can occur
    return (content & 1 if dtype.kind == "b" else content).view(dtype).reshape(shape)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: text != "__metadata__")
blobs = st.dictionaries(
    st.from_regex(r"[a-z0-9_-]{1,10}", fullmatch=True), st.dictionaries(texts, arrays(), max_size=4), max_size=3
)
scalars = st.none() | st.booleans() | st.integers() | st.integers(2**100, 2**200) | st.text(max_size=5)
scalars |= st.floats(allow_nan=False, allow_infinity=False)
states = st.dictionaries(
    texts, st.recursive(scalars, lambda x: st.lists(x, max_size=4) | st.dictionaries(texts, x, max_size=4))
)


def bits(content):
    return {
        blob: {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in group.items()}
        for blob, group in content.items()
    }


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(blobs=blobs, state=states, step=st.integers(0, 10**12 - 1))
def test_roundtrip_is_bit_identical(blobs, state, step):
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(folder, step, blobs, state)
        found = checkpoint.load_latest(folder)
        assert (found.step, found.path, found.skipped) == (step, path, ())
        assert bits(found.blobs) == bits(blobs)
        assert json.dumps(found.state) == json.dumps(state)
        for name, group in blobs.items():  # another reader of the format agrees
            assert bits({name: safetensors.numpy.load_file(path / f"{name}.safetensors")}) == bits({name: group})


def test_unusual_arrays_come_back(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6, 4))
    group = {
        ".online.layers[0].weight": wide.astype(np.float32),
        "transposed": wide.T,
        "strided": wide[::2, ::3],
        "big endian": wide.astype(">f8"),
        "scalar": np.float64(1.5),
        "": np.zeros((0, 3), bool),
        "é\0 / ..": np.array(7, np.uint32),
    }
    checkpoint.save(tmp_path, 1, {"learner": group}, {"rng": rng.bit_generator.state})
    found = checkpoint.load_latest(tmp_path)
    for name, array in group.items():
        loaded = found.blobs["learner"][name]
        assert loaded.dtype == np.asarray(array).dtype.newbyteorder("<")
        assert loaded.shape == np.shape(array)
        assert np.array_equal(loaded, array)
        assert loaded.flags.writeable
        assert loaded.flags.aligned
    again = np.random.default_rng(1)
    again.bit_generator.state = found.state["rng"]
    assert np.array_equal(again.normal(size=5), rng.normal(size=5))


def test_bfloat16_comes_back(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.arange(5).astype(ml_dtypes.bfloat16)
    checkpoint.save(tmp_path, 1, {"learner": {"x": array}}, {})
    loaded = checkpoint.load_latest(tmp_path).blobs["learner"]["x"]
    assert loaded.dtype == array.dtype
    assert loaded.tobytes() == array.tobytes()


def test_manifest_tells_versions_and_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some=1")
    path = checkpoint.save(tmp_path, 5, {"learner": {}}, {"a": 1})
    content = json.loads((path / "manifest.json").read_text())
    assert list(content) == ["sha256", "format", "step", "files", "state", "versions", "flags"]
    assert set(content["versions"]) == {"tegu", "python", "numpy", "jax"}
    assert "unknown" not in content["versions"].values()
    assert content["flags"] == {"XLA_FLAGS": "--xla_some=1"}


def test_the_newest_are_kept_and_the_saved_one_always(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, {}, {}, keep=2)
    assert checkpoint.steps(tmp_path) == [2, 3]
    checkpoint.save(tmp_path, 1, {}, {}, keep=1)
    assert checkpoint.steps(tmp_path) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001"]
    assert checkpoint.steps(tmp_path / "nothing yet") == []


def test_saving_a_step_again_replaces_it(tmp_path):
    for value in (1, 2, 3):
        checkpoint.save(tmp_path, 7, {"x": {}}, {"value": value})
    assert checkpoint.load_latest(tmp_path).state == {"value": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["000000000007"]


def test_a_moved_checkpoint_still_loads(tmp_path):
    path = checkpoint.save(tmp_path / "a", 7, {"x": {"y": np.arange(3)}}, {})
    moved = path.rename(tmp_path / "elsewhere")
    assert checkpoint.load(moved).step == 7


def test_foreign_files_and_living_owners_are_left_alone(tmp_path):
    checkpoint.save(tmp_path, 1, {"x": {}}, {})
    (tmp_path / "000000000001" / "notes.txt").write_text("keep me")
    foreign = [
        "000000000000",
        "000000000002.bak",
        f".tegu-{os.getppid()}-saving",
        ".tegu-notes",
        "tmp",
        ".tegu-99-other",
    ]
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.safetensors").write_text("not yours")
    (tmp_path / "000000000003").write_text("a file")
    for step in (4, 5):
        checkpoint.save(tmp_path, step, {"x": {}}, {}, keep=1)
    expected = {*foreign, "000000000001", "000000000003", "000000000005"}
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert all((tmp_path / name / "x.safetensors").read_text() == "not yours" for name in foreign)
    assert (tmp_path / "000000000001" / "notes.txt").exists()
    assert (tmp_path / "000000000001" / "manifest.json").exists()


def test_what_a_dead_process_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for kind in ("saving", "removing-000000000001"):
        left = tmp_path / f".tegu-{dead.pid}-{kind}"
        left.mkdir()
        (left / "learner.safetensors").write_text("half")
        (left / "manifest.json").write_text("half")
    checkpoint.save(tmp_path, 2, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["000000000002"]


@pytest.mark.parametrize(
    ("blobs", "state", "step", "keep"),
    [
        ({"../x": {}}, {}, 1, 2),
        ({"": {}}, {}, 1, 2),
        ({"X": {}}, {}, 1, 2),
        ({"x": {"a": np.array([object()])}}, {}, 1, 2),
        ({"x": {"a": np.array(["text"])}}, {}, 1, 2),
        ({"x": {"a": np.zeros(2, "f4,i4")}}, {}, 1, 2),
        ({"x": {"__metadata__": np.zeros(2)}}, {}, 1, 2),
        ({"x": {"\ud800": np.zeros(2)}}, {}, 1, 2),
        ({}, {"a": float("nan")}, 1, 2),
        ({}, {"a": (1, 2)}, 1, 2),
        ({}, {"a": {1: 2}}, 1, 2),
        ({}, {"a": np.int64(1)}, 1, 2),
        ({}, {}, -1, 2),
        ({}, {}, 10**12, 2),
        ({}, {}, 1, 0),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused_before_the_disk(tmp_path, blobs, state, step, keep):
    with pytest.raises(ValueError, match=r".+"):
        checkpoint.save(tmp_path / "new", step, blobs, state, keep=keep)
    assert not (tmp_path / "new").exists()


def test_a_state_too_large_to_read_again_is_refused(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, {}, {})
    monkeypatch.setattr(manifest, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="store it as arrays"):
        checkpoint.save(tmp_path, 2, {}, {"long": "x" * 2000})
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001"]


def test_no_checkpoint_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        checkpoint.load_latest(tmp_path)
    with pytest.raises(CheckpointError, match="No such file or directory"):
        checkpoint.load_latest(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="No such file or directory"):
        checkpoint.load(tmp_path / "missing")


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = disk.os.write
    monkeypatch.setattr(disk.os, "write", lambda descriptor, data: write(descriptor, data[:999]))
    array = np.arange(10_000)
    checkpoint.save(tmp_path, 1, {"x": {"y": array}}, {})
    assert np.array_equal(checkpoint.load_latest(tmp_path).blobs["x"]["y"], array)


def test_importing_runs_does_not_import_jax():
    code = "import sys, tegu.runs; print([name for name in ('jax', 'tensorboardX') if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_no_way_to_unpickle_in_the_source():
    for path in Path(checkpoint.__file__).parent.glob("*.py"):
        source = path.read_text()
        assert not any(word in source for word in ("pickle", "np.load", "eval(", "exec(", "marshal", "shelve"))
