"""A chunk is written when its version is new, and shared with the checkpoint before when it is not."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from tegu.runs import checkpoint
from tegu.runs.checkpoint import CheckpointError, Chunk


class Store:
    """Chunks of which each holds its own number and version; counts how often each is asked for."""

    def __init__(self, *versions):
        self.versions = list(versions)
        self.asked = [0] * len(versions)

    def arrays(self, number):
        self.asked[number] += 1
        return {"rows": np.full(100, 1000 * number + self.versions[number])}

    def chunk(self, number):
        return Chunk(self.versions[number], lambda: self.arrays(number))

    def save(self, folder, step, base=None, **more):
        self.asked = [0] * len(self.versions)
        blobs = {f"experience-{number:04d}": self.chunk(number) for number in range(len(self.versions))}
        return checkpoint.save(folder, step, {"learner": {"n": np.array(step)}, **blobs}, {}, base=base, **more)

    def check(self, found):
        assert set(found.blobs) == {"learner", *(f"experience-{number:04d}" for number in range(len(self.versions)))}
        for number, version in enumerate(self.versions):
            assert (found.blobs[f"experience-{number:04d}"]["rows"] == 1000 * number + version).all()


def inodes(path):
    return [file.stat().st_ino for file in sorted(path.glob("experience-*"))]


def chunk_of(path, number=0):
    return path / f"experience-{number:04d}.safetensors"


def files(path):
    return {file["name"]: file for file in json.loads((path / "manifest.json").read_text())["files"]}


@pytest.fixture
def store():
    return Store(1, 1, 1)


@pytest.fixture
def first(tmp_path, store):
    return store.save(tmp_path, 1)


def test_only_what_changed_is_written(tmp_path, store, first):
    assert store.asked == [1, 1, 1]
    store.versions[1] += 1
    second = store.save(tmp_path, 2, first)
    assert store.asked == [0, 1, 0]
    same = [before == after for before, after in zip(inodes(first), inodes(second), strict=True)]
    assert same == [True, False, True]
    assert (first / "learner.safetensors").stat().st_ino != (second / "learner.safetensors").stat().st_ino
    store.check(checkpoint.load(second))
    store.versions[1] -= 1
    store.check(checkpoint.load(first))


def test_each_checkpoint_is_complete_by_itself(tmp_path, store, first):
    second = store.save(tmp_path, 2, first, keep=1)
    assert not first.exists()
    store.check(checkpoint.load(second))
    third = store.save(tmp_path, 3, second, keep=1)
    assert store.asked == [0, 0, 0]
    assert checkpoint.steps(tmp_path) == [3]
    store.check(checkpoint.load(third))
    assert [chunk_of(third, number).stat().st_nlink for number in range(3)] == [1, 1, 1]


def test_the_same_step_again_takes_over_from_itself(tmp_path, store, first):
    before = inodes(first)
    assert store.save(tmp_path, 1, first) == first
    assert store.asked == [0, 0, 0]
    assert inodes(first) == before
    store.check(checkpoint.load(first))


def test_the_base_may_lie_elsewhere(tmp_path, store, first):
    second = store.save(tmp_path / "other", 1, first)
    assert inodes(second) == inodes(first)
    shutil.rmtree(first)
    store.check(checkpoint.load(second))


def test_without_a_base_all_is_written(tmp_path, store, first):
    second = store.save(tmp_path, 2)
    assert store.asked == [1, 1, 1]
    assert not set(inodes(first)) & set(inodes(second))


def test_the_manifest_tells_versions(tmp_path, store, first):
    store.versions[2] = -5
    second = store.save(tmp_path, 2, first)
    versions = {name: file["version"] for name, file in files(second).items()}
    chunks = {f"experience-000{number}.safetensors": version for number, version in enumerate([1, 1, -5])}
    assert versions == {"learner.safetensors": None, **chunks}
    assert files(second)[chunk_of(second).name] == files(first)[chunk_of(first).name]


def test_chunks_may_come_and_go_and_be_empty(tmp_path, store, first):
    store.versions.append(1)
    second = store.save(tmp_path, 2, first)
    assert store.asked == [0, 0, 0, 1]
    store.check(checkpoint.load(second))
    empty = checkpoint.save(tmp_path, 3, {"experience-0000": Chunk(2, dict)}, {}, base=second)
    empty = checkpoint.save(tmp_path, 4, {"experience-0000": Chunk(2, pytest.fail)}, {}, base=empty)
    assert checkpoint.load(empty).blobs == {"experience-0000": {}}


def test_a_plain_blob_is_never_taken_over(tmp_path):
    first = checkpoint.save(tmp_path, 1, {"a": {"x": np.array(1)}}, {})
    second = checkpoint.save(tmp_path, 2, {"a": {"x": np.array(2)}}, {}, base=first)
    assert checkpoint.load(second).blobs["a"]["x"] == 2
    third = checkpoint.save(tmp_path, 3, {"a": Chunk(0, lambda: {"x": np.array(3)})}, {}, base=second)
    assert checkpoint.load(third).blobs["a"]["x"] == 3


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_a_copy_where_files_cannot_be_linked(tmp_path, monkeypatch, store, first, number):
    def no_links(*arguments, **more):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    second = store.save(tmp_path, 2, first)
    assert store.asked == [0, 0, 0]
    assert not set(inodes(first)) & set(inodes(second))
    store.check(checkpoint.load(second))
    chunk_of(first).write_bytes(chunk_of(first).read_bytes()[:-1] + b"?")  # no copy of what is damaged
    third = store.save(tmp_path, 3, first)
    assert store.asked == [1, 0, 0]
    store.check(checkpoint.load(third))


def missing(base):
    shutil.rmtree(base)


def file_missing(base):
    chunk_of(base).unlink()


def file_shorter(base):
    os.truncate(chunk_of(base), 100)


def file_longer(base):
    with open(chunk_of(base), "ab") as file:
        file.write(b"x")


def file_a_link(base):
    chunk_of(base).rename(base / "outside")
    chunk_of(base).symlink_to(base / "outside")


def file_a_pipe(base):
    chunk_of(base).unlink()
    os.mkfifo(chunk_of(base))


def file_a_folder(base):
    chunk_of(base).unlink()
    chunk_of(base).mkdir()


def manifest_missing(base):
    (base / "manifest.json").unlink()


def manifest_damaged(base):
    (base / "manifest.json").write_text("{")


def manifest_deep(base):
    (base / "manifest.json").write_text("[" * 1_000_000)


def manifest_of_format_1(base):
    (base / "manifest.json").write_text(json.dumps({"format": 1}))


def manifest_a_link(base):
    (base / "manifest.json").rename(base / "outside")
    (base / "manifest.json").symlink_to(base / "outside")


FILE = [file_missing, file_shorter, file_longer, file_a_link, file_a_pipe, file_a_folder]
WHOLE = [missing, manifest_missing, manifest_damaged, manifest_deep, manifest_of_format_1, manifest_a_link]


@pytest.mark.parametrize("harm", [*FILE, *WHOLE])
def test_from_a_damaged_base_only_the_good_is_taken(tmp_path, store, first, harm):
    harm(first)
    second = store.save(tmp_path, 2, first)
    assert store.asked == ([1, 0, 0] if harm in FILE else [1, 1, 1])
    assert all(file.is_file() and not file.is_symlink() for file in second.iterdir())
    store.check(checkpoint.load(second))


def test_a_damaged_chunk_is_refused_at_load(tmp_path, store, first):
    content = bytearray(chunk_of(first).read_bytes())
    content[-1] ^= 1
    chunk_of(first).write_bytes(content)
    second = store.save(tmp_path, 2, first)
    assert inodes(second) == inodes(first)  # its size is right, and more is not looked at when saving
    with pytest.raises(CheckpointError, match=r"experience-0000\.safetensors is damaged"):
        checkpoint.load(second)


@pytest.mark.parametrize("version", [True, 1.0, "1", None, np.int64(1)])
def test_a_version_is_an_int(tmp_path, version):
    with pytest.raises(ValueError, match="version"):
        checkpoint.save(tmp_path / "new", 1, {"a": Chunk(version, dict)}, {})
    assert not (tmp_path / "new").exists()


def test_a_chunk_that_cannot_be_stored_leaves_the_last_checkpoint(tmp_path, store, first):
    with pytest.raises(CheckpointError, match="has the dtype object"):
        checkpoint.save(tmp_path, 2, {"a": Chunk(1, lambda: {"x": np.array([None])})}, {}, base=first)
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    store.check(checkpoint.load_latest(tmp_path))
