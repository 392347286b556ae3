"""Models as single files: a zip of what ``Agent.save`` writes, in which there is no pickle."""

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tegu.agents.agent import Agent
from tegu.agents.agent import load as load_agent
from tegu.agents.packed import pack, unpacked
from tegu.core.errors import TeguError
from tegu.core.paths import path_of

ENDING = ".zip"


ARGUMENTS = "sb3/arguments.json"  #: in the zip of a model: arguments of its constructor that are no hyper-parameters


def write(save: Callable[[Path], Any], path: Any) -> Any:
    """Let ``save`` write a folder, and make a file of it: ``path``, which gets the ending ``.zip`` if it has none.

    ``path`` may be a binary file that is open for writing; it stays open.
    """
    if hasattr(path, "write"):
        with TemporaryDirectory(prefix="tegu-") as folder, write(save, Path(folder) / "file").open("rb") as made:
            shutil.copyfileobj(made, path)
        return path
    file = path_of(path, "path", "a file to write")
    file = file if file.suffix else file.with_name(file.name + ENDING)
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=file.parent, prefix=".tegu-") as folder:
        save(Path(folder) / "model")
        pack(Path(folder) / "model", file)
    return file


@contextmanager
def existing(path: Any) -> Iterator[Path]:
    """The file, or the folder of ``Agent.save``, that ``path`` means, until this ends.

    ``path`` may be a binary file that is open for reading; it is read from its beginning, and stays open.
    """
    if hasattr(path, "read"):
        with TemporaryDirectory(prefix="tegu-") as folder:
            copy = Path(folder) / "file"
            try:
                path.seek(0)
                copy.write_bytes(path.read())
            except (TypeError, ValueError, io.UnsupportedOperation) as error:
                raise TeguError(f"path: expected a binary file that is open for reading: {error}") from error
            yield copy
        return
    yield _found(path)


def _found(path: str | Path) -> Path:
    path = path_of(path, "path", "a file to read")
    for found in (path, path.with_name(path.name + ENDING), path.with_name(path.name.removesuffix(ENDING))):
        if found.exists():
            return found
    raise TeguError(f"there is no saved model {path}")


def read(path: Any, name: str | None = None) -> Agent:
    """The agent that a model, of Tegu's algorithm ``name``, was saved as."""
    with existing(path) as file:
        agent = load_agent(file)
    if name is not None and agent.algorithm.name != name:
        raise TeguError(f"{path} holds a model of {agent.algorithm.name}, not of {name}")
    return agent


def write_arguments(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Put plain ``arguments`` beside a model that was written into ``folder``."""
    file = folder / ARGUMENTS
    file.parent.mkdir()
    file.write_text(json.dumps(arguments))


def read_arguments(path: Any) -> dict[str, Any]:
    """What ``write_arguments`` wrote into a model; empty where there is none."""
    with existing(path) as file:
        if file.is_dir():
            return {}
        with unpacked(file) as folder:
            found = folder / ARGUMENTS
            try:
                arguments = json.loads(found.read_text()) if found.exists() else {}
            except ValueError as error:
                raise TeguError(f"{path} is damaged: {error}") from error
    if not isinstance(arguments, dict):
        raise TeguError(f"{path} is damaged: {ARGUMENTS} holds no arguments")
    return arguments
