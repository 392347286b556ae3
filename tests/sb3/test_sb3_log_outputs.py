"""What the logger writes, output by output."""

import csv
import io
import json

import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.sb3 import (
    DEBUG,
    DISABLED,
    Figure,
    FormatUnsupportedError,
    HParam,
    HumanOutputFormat,
    Image,
    KVWriter,
    Logger,
    Video,
    configure,
    make_output_format,
)

VALUES = {"a/x": 1, "a/y": -3.14159, "b": np.array([1, 2]), "c": "two\nlines", "d": np.float32(0.5)}


def test_a_table_has_a_group_for_what_stands_before_the_slash():
    file = io.StringIO()
    HumanOutputFormat(file).write(VALUES | {"a/hidden": 2}, {"a/hidden": ("stdout",)})
    assert [[part.strip() for part in line.strip("|").split("|")] for line in file.getvalue().splitlines()[1:-1]] == [
        ["a/", ""],
        ["x", "1"],
        ["y", "-3.14"],
        ["b", "[1 2]"],
        ["c", "two lines"],
        ["d", "0.5"],
    ]


def test_long_keys_are_cut_unless_two_would_be_the_same():
    file = io.StringIO()
    output = HumanOutputFormat(file, max_length=10)
    output.write({"a" * 12: 1, "short": "b" * 12}, {})
    assert "| aaaaaaa... | 1          |" in file.getvalue()
    assert "| short      | bbbbbbb... |" in file.getvalue()
    with pytest.raises(ValueError, match="truncated to 'aaaaaaa"):
        output.write({"a" * 11: 1, "a" * 12: 2}, {})
    output.write({f"{group}/{'a' * 12}": 1 for group in ("eval", "train")}, {})  # in two groups they are not the same
    assert file.getvalue().count("|    aaaa... | 1") == 2


def test_json_and_csv_hold_what_was_recorded(tmp_path):
    outputs = [make_output_format(name, tmp_path, "_1") for name in ("json", "csv")]
    for output in outputs:
        output.write(VALUES, {"c": "csv"})
        output.write({"new": 3}, {"new": ("json",)})
    (line,) = map(json.loads, (tmp_path / "progress_1.json").read_text().splitlines())
    assert line == {"a/x": 1, "a/y": -3.14159, "b": [1, 2], "c": "two\nlines", "d": 0.5}
    with (tmp_path / "progress_1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["a/x"], row["new"], "c" in row) for row in rows] == [("1", "", False), ("", "3", False)]


@pytest.mark.parametrize("name", ["stdout", "log", "json", "csv"])
@pytest.mark.parametrize("value", [Video(None, 1), Image(None, "HWC"), Figure(None, True), HParam({}, {"x": 0})])
def test_pictures_are_for_tensorboard_alone(name, value, tmp_path):
    output = make_output_format(name, tmp_path)
    with pytest.raises(FormatUnsupportedError, match=name) as error:
        output.write({"x": value}, {})
    assert isinstance(error.value, NotImplementedError)
    output.write({"x": value}, {"x": (name,)})


def test_tensorboard_takes_all(tmp_path):
    output = make_output_format("tensorboard", tmp_path)
    hparam = HParam({"gamma": 0.9, "name": "a"}, {"a/x": 0.0})
    image = Image(np.zeros((4, 4, 3), np.uint8), "HWC")
    output.write(VALUES | {"image": image, "hparams": hparam, "hidden": 1.0}, {"hidden": ("tensorboard",)}, 7)
    output.close()
    (file,) = tmp_path.iterdir()
    written = file.read_bytes()
    for name in (b"a/x", b"image", b"gamma"):
        assert name in written
    assert b"hidden" not in written
    with pytest.raises(TeguError, match="metric_dict must name at least one"):
        HParam({}, {})


def test_levels_say_which_words_are_written():
    file = io.StringIO()
    logger = Logger("folder", [HumanOutputFormat(file), KVWriter()])
    logger.info("one", 2)
    logger.debug("not")
    logger.set_level(DEBUG)
    logger.debug("three")
    logger.set_level(DISABLED)
    logger.error("not")
    assert file.getvalue() == "one 2\nthree\n"
    logger.record("x", 1)
    logger.dump()
    assert file.getvalue() == "one 2\nthree\n"
    assert logger.get_dir() == "folder"


def test_your_own_output_gets_what_is_new_once():
    written = []

    class Kept(KVWriter):
        def write(self, key_values, key_excluded, step=0):
            written.append((key_values, dict(key_excluded), step))

    logger = Logger(None, [Kept()])
    logger.record("x", 1, exclude="stdout")
    logger.record_mean("y", 2)
    logger.record_mean("y", 4)
    logger.dump(5)
    logger.dump(6)
    logger.record_mean("y", 8)
    logger.dump(7)
    assert written == [({"x": 1, "y": 3.0}, {"x": ("stdout",), "y": ()}, 5), ({"y": 8.0}, {"y": ()}, 7)]


def test_a_variable_says_where_files_go(tmp_path, monkeypatch):
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path))
    configure(None, ["log"]).info("hello")
    assert (tmp_path / "log.txt").read_text() == "hello\n"
