"""Models as single files: a zip of what ``Agent.save`` writes, in which there is no pickle."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tegu.agents.agent import Agent
from tegu.agents.agent import load as load_agent
from tegu.agents.packed import pack
from tegu.core.errors import TeguError
from tegu.core.paths import path_of

ENDING = ".zip"


def write(save: Callable[[Path], Any], path: str | Path) -> Path:
    """Let ``save`` write a folder, and make a file of it: ``path``, which gets the ending ``.zip`` if it has none."""
    file = path_of(path, "path", "a file to write")
    file = file if file.suffix else file.with_name(file.name + ENDING)
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=file.parent, prefix=".tegu-") as folder:
        save(Path(folder) / "model")
        pack(Path(folder) / "model", file)
    return file


def existing(path: str | Path) -> Path:
    """The file, or the folder of ``Agent.save``, that ``path`` means."""
    path = path_of(path, "path", "a file to read")
    for found in (path, path.with_name(path.name + ENDING), path.with_name(path.name.removesuffix(ENDING))):
        if found.exists():
            return found
    raise TeguError(f"there is no saved model {path}")


def read(path: str | Path, name: str | None = None) -> Agent:
    """The agent that a model, of Tegu's algorithm ``name``, was saved as."""
    file = existing(path)
    agent = load_agent(file)
    if name is not None and agent.algorithm.name != name:
        raise TeguError(f"{file} holds a model of {agent.algorithm.name}, not of {name}")
    return agent
