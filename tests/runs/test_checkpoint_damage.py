"""Damaged and hostile checkpoints are refused in one line, nothing in them runs, and the previous one is found."""

import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest

from tegu.runs import checkpoint, disk, manifest, tensors
from tegu.runs.checkpoint import CheckpointError

OLD, NEW = "000000000001", "000000000002"


@pytest.fixture
def folder(tmp_path):
    for step in (1, 2):
        rng = np.random.default_rng(step)
        blobs = {"learner": {"w": rng.normal(size=4)}, "experience": {"done": np.array([True, step == 1])}}
        checkpoint.save(tmp_path, step, blobs, {"key": 2**70 + step, "note": "x"})
    return tmp_path


def refused(path):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"cannot read checkpoint {path}: ")
    assert "\n" not in message
    assert len(message) < 500
    return message


def previous_is_found(folder):
    found = checkpoint.load_latest(folder)
    assert found.step == 1
    assert len(found.skipped) == 1
    assert NEW in found.skipped[0]


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(folder, monkeypatch):
    """Its digests are right: somebody made it on purpose, or on a larger machine."""
    big = {"w": np.zeros(2**17)}
    checkpoint.save(folder, 2, {"learner": big, "experience": {"done": np.array([True])}}, {"key": 1}, keep=2)
    size = (folder / NEW / "learner.safetensors").stat().st_size
    read = []
    monkeypatch.setattr(disk, "read", lambda path, limit, real=disk.read: read.append(path.name) or real(path, limit))
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 2 * size)
    says = refused(folder / NEW)
    assert "its largest file, learner.safetensors, has 0.0 GiB" in says
    assert read == ["manifest.json"]
    with pytest.raises(checkpoint.MemoryCheckpointError):  # the previous one would take the place of a good one
        checkpoint.load_latest(folder)
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 2 * size + 10_000)
    assert checkpoint.load(folder / NEW).step == 2


def test_a_size_that_is_not_the_files_own_is_damage(folder, monkeypatch):
    """However little memory is free."""
    (folder / NEW / "learner.safetensors").write_bytes(b"short")
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 1)
    assert "learner.safetensors' does not have the size that the manifest gives" in refused(folder / NEW)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder / NEW)
    assert type(caught.value) is CheckpointError


FILES = ["manifest.json", "learner.safetensors", "experience.safetensors"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * name.endswith("json")) for name in FILES]
)
def test_every_flipped_bit_is_refused(folder, name):
    file = folder / NEW / name
    good = file.read_bytes()
    for position in range(len(good) * 8):
        damaged = bytearray(good)
        damaged[position // 8] ^= 1 << position % 8
        file.write_bytes(damaged)
        refused(folder / NEW)
    previous_is_found(folder)
    print("cases:", len(good) * 8)


@pytest.mark.parametrize("name", FILES)
def test_every_length_is_refused(folder, name):
    file = folder / NEW / name
    good = file.read_bytes()
    damaged = [good[:length] for length in range(len(good))] + [
        good + extra for extra in (b" ", b"\n", b"\0", b"}", good)
    ]
    damaged += [b" " + good, good.replace(b" ", b"", 1) or b"", bytes(len(good))]
    for content in damaged:
        file.write_bytes(content)
        refused(folder / NEW)
    previous_is_found(folder)
    print("cases:", len(damaged))


def test_missing_extra_and_swapped_files_are_refused(folder):
    for name in FILES:
        (folder / NEW / name).rename(folder / name)
        refused(folder / NEW)
        previous_is_found(folder)
        (folder / name).rename(folder / NEW / name)
        shutil.copy(folder / OLD / name, folder / name)
    (folder / NEW / "extra.safetensors").write_bytes(b"")
    assert "extra.safetensors" in refused(folder / NEW)
    (folder / NEW / "extra.safetensors").unlink()
    shutil.copy(folder / OLD / "learner.safetensors", folder / NEW / "learner.safetensors")
    refused(folder / NEW)
    shutil.copy(folder / OLD / "manifest.json", folder / NEW / "manifest.json")
    refused(folder / NEW)
    shutil.copy(folder / OLD / "experience.safetensors", folder / NEW / "experience.safetensors")
    assert "it is one of step 1" in checkpoint.load_latest(folder).skipped[0]


def test_hidden_files_of_the_system_do_no_harm(folder):
    (folder / NEW / ".DS_Store").write_bytes(b"?")
    assert checkpoint.load_latest(folder).step == 2


def test_all_damaged_names_each(folder):
    for step in (OLD, NEW):
        (folder / step / "learner.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_latest(folder)
    assert OLD in str(caught.value)
    assert NEW in str(caught.value)


# A hostile author makes sizes and digests fit, so the content itself must be refused.


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/tegu-was-here",)


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("data.pkl", pickle.dumps(Bomb()))
    return file.getvalue()


def tensor_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def good_file():
    return tensors.encode({"a": np.zeros(2, np.float32)})


BLOBS = {
    "empty": b"",
    "short": b"\0" * 7,
    "no header": bytes(8),
    "zip": archive(),
    "npy objects": b"\x93NUMPY\x01\x00" + pickle.dumps(Bomb()),
    "huge header": tensor_file({}, length=2**63),
    "header beyond the end": tensor_file({}, length=1000),
    "header cut": tensor_file({"a": entry()}, bytes(8), length=24),
    "trailing": good_file() + b"\0",
    "polyglot": good_file() + archive(),
    "less data": good_file()[:-1],
    "list": tensor_file([]),
    "null": tensor_file(b"null"),
    "nan": tensor_file(b'{"a":NaN}'),
    "not json": tensor_file(b"{'a': 1}"),
    "deep": tensor_file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep list": tensor_file(b"[" * 1_000_000),
    "duplicate": tensor_file(
        b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}", bytes(8)
    ),
    "duplicate key": tensor_file(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "metadata": tensor_file({"__metadata__": {"class": "os.system"}, "a": entry()}, bytes(8)),
    "no metadata": tensor_file({"__metadata__": None, "a": entry()}, bytes(8)),
    "empty metadata": tensor_file({"__metadata__": {}, "a": entry()}, bytes(8)),
    "metadata like an array": tensor_file(
        {"__metadata__": {"dtype": "F32", "shape": "2", "data_offsets": "0"}, "a": entry()}, bytes(8)
    ),
    "unknown key": tensor_file({"a": entry(code="os.system")}, bytes(8)),
    "no shape": tensor_file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "no keys": tensor_file({"a": ["F32", [2], [0, 8]]}, bytes(8)),
    "spaces": tensor_file(json.dumps({"a": entry()}).encode(), bytes(8)),
    "much padding": tensor_file(json.dumps({"a": entry()}, separators=(",", ":")).encode() + b" " * 8, bytes(8)),
    "other escapes": tensor_file(
        json.dumps({"a": entry()}, separators=(",", ":")).replace("a", r"\u0061", 1).encode(), bytes(8)
    ),
    "dtype of others": tensor_file({"a": entry("F8_E4M3", offsets=(0, 2))}, bytes(2)),
    "half a byte": tensor_file({"a": entry("F4", offsets=(0, 1))}, bytes(1)),
    "object dtype": tensor_file({"a": entry("O")}, bytes(8)),
    "dtype list": tensor_file({"a": entry(["F32"])}, bytes(8)),
    "negative": tensor_file({"a": entry(shape=(-2,))}, bytes(8)),
    "negative pair": tensor_file({"a": entry(shape=(-2, -1))}, bytes(8)),
    "bool size": tensor_file({"a": entry(shape=(True, 2))}, bytes(8)),
    "float size": tensor_file({"a": entry(shape=(2.0,))}, bytes(8)),
    "text size": tensor_file({"a": entry(shape=("2",))}, bytes(8)),
    "too large": tensor_file({"a": entry(shape=(2**40,), offsets=(0, 2**42))}, bytes(8)),
    "overflow": tensor_file({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}),
    "overflow with none": tensor_file({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
    "huge number": tensor_file(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,0]}}'),
    "many dimensions": tensor_file({"a": entry(shape=(1,) * 65, offsets=(0, 4))}, bytes(4)),
    "overlap": tensor_file({"a": entry(), "b": entry()}, bytes(8)),
    "hole": tensor_file({"a": entry(), "b": entry(offsets=(16, 24))}, bytes(24)),
    "other order": tensor_file({"a": entry(offsets=(8, 16)), "b": entry()}, bytes(16)),
    "other order of keys": tensor_file({"a": dict(reversed(entry().items()))}, bytes(8)),
    "offsets wrong": tensor_file({"a": entry(offsets=(0, 4))}, bytes(4)),
    "offsets swapped": tensor_file({"a": entry(offsets=(8, 0))}, bytes(8)),
    "offsets negative": tensor_file({"a": entry(offsets=(-8, 0))}, bytes(8)),
    "neither true nor false": tensor_file({"a": entry("BOOL", (2,), (0, 2))}, b"\1\2"),
    "utf-16": tensor_file('{"a":1}'.encode("utf-16")),
} | {f"pickle {protocol}": pickle.dumps(Bomb(), protocol) for protocol in range(6)}


def forge(path, blob=None, raw=None, **changes):
    """A checkpoint of step 2 by someone who knows the format, with ``changes`` to its manifest or ``raw`` for it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    blob = good_file() if blob is None else blob
    (path / "learner.safetensors").write_bytes(blob)
    digest = hashlib.sha256(blob).hexdigest()
    file = {"name": "learner.safetensors", "size": len(blob), "sha256": digest, "version": None}
    content = manifest.build(2, [file], {})
    content.update({key: change(content[key]) if callable(change) else change for key, change in changes.items()})
    content = {key: value for key, value in content.items() if value is not ...}
    (path / "manifest.json").write_bytes(manifest.encode(content) if raw is None else raw)


def file_with(**changes):
    return lambda files: [{**files[0], **changes}]


MANIFESTS = {
    "newer format": {"format": 3},
    "older format": {"format": 1},
    "format zero": {"format": 0},
    "format true": {"format": True},
    "format text": {"format": "1"},
    "no format": {"format": ...},
    "no state": {"state": ...},
    "state list": {"state": []},
    "unknown key": {"_target_": "os.system"},
    "step negative": {"step": -1},
    "step true": {"step": True},
    "step float": {"step": 2.0},
    "step huge": {"step": 10**12},
    "files table": {"files": {}},
    "files numbers": {"files": [1]},
    "versions": {"versions": {}},
    "versions number": {"versions": lambda versions: {**versions, "jax": 1}},
    "flags": {"flags": {"PATH": "/tmp"}},
    "file twice": {"files": lambda files: files * 2},
    "no files": {"files": []},
    "other name": {"files": file_with(name="other.safetensors")},
    "up": {"files": file_with(name="../x.safetensors")},
    "absolute": {"files": file_with(name="/etc/passwd")},
    "backslash": {"files": file_with(name="..\\x.safetensors")},
    "nul": {"files": file_with(name="x\0.safetensors")},
    "newline": {"files": file_with(name="x.safetensors\n")},
    "long": {"files": file_with(name="x" * 5000 + ".safetensors")},
    "name of another kind": {"files": file_with(name="learner.pkl")},
    "name number": {"files": file_with(name=1)},
    "size": {"files": file_with(size=1)},
    "size absurd": {"files": file_with(size=2**62)},
    "size negative": {"files": file_with(size=-1)},
    "size true": {"files": file_with(size=True)},
    "digest": {"files": file_with(sha256="0" * 64)},
    "digest none": {"files": file_with(sha256=None)},
    "version text": {"files": file_with(version="1")},
    "version true": {"files": file_with(version=True)},
    "version float": {"files": file_with(version=1.0)},
    "no version": {"files": lambda files: [{key: files[0][key] for key in ("name", "size", "sha256")}]},
    "file key": {"files": file_with(loader="os.system")},
}
RAW = {
    "empty": b"",
    "pickle": pickle.dumps(Bomb()),
    "deep": b"[" * 1_000_000,
    "deep tables": b'{"a":' * 100_000,
    "nan": b'{"sha256": NaN}',
    "infinite": b'{"format": 1e999}',
    "number": b"1",
    "text": b'"manifest"',
    "long number": b'{"step": ' + b"9" * 100_000 + b"}",
    "not text": b"\xff\xfe\x00",
    "too long": b" " * (manifest.MAX_BYTES + 1),
}
FORBIDDEN = [
    "pickle.find_class",
    "exec",
    "compile",
    "marshal.loads",
    "os.system",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
]
events: list[str] | None = None


def watch(event, arguments):
    if events is not None and (
        event in FORBIDDEN or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    ):
        events.append(f"{event} {arguments}")


sys.addaudithook(watch)


@pytest.fixture(autouse=True)
def nothing_runs():
    """No audit event of code or of writing while a test of hostile content loads."""
    yield
    global events
    seen, events = events, None
    assert not seen


def test_the_watch_sees():
    global events
    events = []
    pickle.loads(pickle.dumps(hostile))
    seen, events = events, None
    assert any(event.startswith("pickle.find_class") for event in seen)


def hostile(path):
    global events
    refused(path)  # the first time may import what decoding needs
    events = []
    return refused(path)


@pytest.mark.parametrize("kind", BLOBS)
def test_hostile_blobs_are_refused(tmp_path, kind):
    forge(tmp_path / NEW, BLOBS[kind])
    assert "learner.safetensors" in hostile(tmp_path / NEW) or kind.startswith("deep")


@pytest.mark.parametrize("kind", MANIFESTS)
def test_hostile_manifests_are_refused(tmp_path, kind):
    forge(tmp_path / NEW, **MANIFESTS[kind])
    hostile(tmp_path / NEW)


@pytest.mark.parametrize("kind", RAW)
def test_foreign_manifests_are_refused(tmp_path, kind):
    forge(tmp_path / NEW, raw=RAW[kind])
    hostile(tmp_path / NEW)


def test_the_forger_could_make_a_good_one(tmp_path):
    forge(tmp_path / NEW)
    assert checkpoint.load(tmp_path / NEW).step == 2
    forge(tmp_path / NEW, files=file_with(version=2**70))
    assert checkpoint.load(tmp_path / NEW).step == 2


def test_other_formats_are_told_apart(tmp_path):
    forge(tmp_path / NEW, format=3)
    assert refused(tmp_path / NEW).endswith("it has format 3 and this Tegu reads 2: update Tegu")
    forge(tmp_path / NEW, format=1, **MANIFESTS["no version"])  # as it was written before chunks
    message = refused(tmp_path / NEW)
    assert message.endswith("it has format 1 and this Tegu reads 2: such runs cannot be resumed, train anew")


@pytest.mark.parametrize("name", ["learner.safetensors", "manifest.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "broken link"])
def test_only_regular_files_are_read(folder, name, kind):
    file = folder / NEW / name
    copy = folder / "outside"
    file.rename(copy)
    if kind == "link":
        file.symlink_to(copy)
    elif kind == "broken link":
        file.symlink_to(folder / "missing")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    hostile(folder / NEW)
    previous_is_found(folder)


def test_a_link_to_a_checkpoint_is_passed_over(folder):
    (folder / NEW).rename(folder / "elsewhere")
    (folder / NEW).symlink_to(folder / "elsewhere")
    previous_is_found(folder)
    (folder / NEW).unlink()
    (folder / NEW).write_text("a file")
    previous_is_found(folder)
