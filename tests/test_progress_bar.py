"""Training from Python shows how it goes where somebody watches, and nowhere else unless told to."""

import inspect
import io
import re
import sys

import pytest

import tegu
from tegu.core.errors import TeguError

SMALL = {"steps": 200, "log_interval": 100}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """What a training writes on a stderr of some kind."""

    def train(stream, **options):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        agent = tegu.train("FrozenLake-v1", **SMALL | options)
        assert agent.steps == 200
        return stream.getvalue()

    return train


def test_nothing_is_written_into_a_file(shown, tmp_path):
    assert shown(io.StringIO(), folder=tmp_path) == ""
    assert shown(Terminal(), folder=tmp_path, progress_bar=False) == ""


def test_a_terminal_has_the_panel(shown, tmp_path):
    written = shown(Terminal(), folder=tmp_path)
    for text in ("FrozenLake-v1 with q-learning", "done", "200 of 200 steps", "preset: [q-learning] of"):
        assert text in written


@pytest.mark.parametrize("folder", [True, False])
def test_lines_where_they_are_asked_for(shown, tmp_path, folder):
    """With a run and without one."""
    written = shown(io.StringIO(), folder=tmp_path if folder else None, progress_bar=True).splitlines()
    assert written[0].startswith("FrozenLake-v1 with q-learning, 200 steps: ")
    assert folder or "not saved to disk; environment: Tegu's JAX implementation" in written[0]
    assert written[1].startswith("preset: [q-learning] of tegu/presets/FrozenLake-v1.toml")
    assert re.match(r"done after \d+ s: 200 of 200 steps", written[-1])


def test_notebooks_have_lines(shown, tmp_path):
    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    assert "done after" in shown(notebook(), folder=tmp_path)


def test_resume_and_sweep_show_it_too(tmp_path, capsys):
    agents = tegu.sweep(
        "FrozenLake-v1", "q-learning", values={"gamma": [0.9, 1.0]}, folder=tmp_path, progress_bar=True, **SMALL
    )
    tegu.resume(agents[0], steps=300, stretch_schedules=True, progress_bar=True)
    assert capsys.readouterr().err.count("done after") == 2


def test_the_signature_is_that_of_training():
    for function in (tegu.train, tegu.resume, tegu.sweep):
        parameters = inspect.signature(function).parameters
        assert {"progress_bar", "callbacks", "folder", "log"} <= parameters.keys()
        assert "progress_bar" in function.__doc__


def test_what_is_no_answer_is_one_line():
    with pytest.raises(TeguError, match="progress_bar must be True, False or None, got 'yes'"):
        tegu.train("FrozenLake-v1", progress_bar="yes")
