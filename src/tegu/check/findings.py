"""What checking an environment brings to light, and how it reads."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike

Facts = dict[str, str | float | int]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``str`` makes it a message of at most four lines."""

    level: Literal["error", "warning"]  #: error: the contract is broken; warning: it works, but maybe not as expected
    where: str  #: e.g. ``step() -> observation["speed"]``
    problem: str
    expected: str = ""
    got: str = ""
    hint: str = ""  #: how to mend it

    @property
    def line(self) -> str:
        """The same in one line, without its level."""
        details = {"expected ": self.expected, "got ": self.got}
        known = ", ".join(f"{name}{text}" for name, text in details.items() if text)
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.where}: {self.problem}{': ' * bool(known)}{known}{hint}"

    def __str__(self) -> str:
        details = {"expected": self.expected, "got": self.got, "hint": self.hint}
        lines = [f"  {name:<8}  {text}" for name, text in details.items() if text]
        return "\n".join([f"{self.level} in {self.where}: {self.problem}", *lines])


@dataclass(frozen=True)
class Report:
    """All that a check found. ``print`` it."""

    id: str
    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def ok(self) -> bool:
        """Whether there are no errors; there may be warnings."""
        return all(finding.level != "error" for finding in self.findings)

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        facts = [f"  {name.replace('_', ' '):<{width}}  {_fact(value)}" for name, value in self.facts.items()]
        return "\n\n".join(["\n".join([f"{self.id}: {self._verdict()}", *facts]), *map(str, self.findings)])

    def _verdict(self) -> str:
        counts = {level: sum(found.level == level for found in self.findings) for level in ("error", "warning")}
        parts = [f"{count} {level}{'s' * (count > 1)}" for level, count in counts.items() if count]
        return ", ".join(parts) or "no problems found"


class Halt(Exception):
    """Raised after a finding that leaves nothing to go on with."""


class Findings:
    """Collects findings. A problem that shows at every step is kept once, as it was first seen."""

    def __init__(self, explain: Callable[[Exception], str] = lambda error: ""):
        """``explain`` gives the hint to an exception that the environment raised."""
        self._found: dict[tuple[str, str], Finding] = {}
        self._explain = explain

    def error(self, where: str, problem: str, expected: str = "", got: str = "", hint: str = "") -> None:
        self._found.setdefault((where, problem), Finding("error", where, problem, expected, got, hint))

    def warning(self, where: str, problem: str, expected: str = "", got: str = "", hint: str = "") -> None:
        self._found.setdefault((where, problem), Finding("warning", where, problem, expected, got, hint))

    def all(self) -> tuple[Finding, ...]:
        """Everything found, errors first."""
        return tuple(sorted(self._found.values(), key=lambda finding: finding.level != "error"))

    @contextmanager
    def calling(self, where: str) -> Iterator[None]:
        """Turn an exception of the environment into a finding, and halt."""
        try:
            yield
        except Halt:
            raise
        except Exception as error:
            message = (str(error).strip().splitlines() or [""])[0]
            got = " at ".join(filter(None, [message, _origin(error)]))
            self.error(where, f"raised {type(error).__name__}", got=got, hint=self._explain(error))
            raise Halt from error


def episode_facts(rewards: ArrayLike, ended: ArrayLike) -> Facts:
    """How the episodes that ended went, from rewards and ends ``[T]`` or ``[T, n]``."""
    running, returns = np.zeros(1), []
    for reward, end in zip(np.atleast_2d(np.transpose(rewards)).T, np.atleast_2d(np.transpose(ended)).T, strict=True):
        running = running + reward
        returns.extend(running[end])
        running = np.where(end, 0.0, running)
    return {
        "episodes": len(returns),
        "random_policy_return": float(np.mean(returns)) if returns else "no episode ended",
    }


# Frames in here never show what the environment's author wrote.
_LIBRARIES = (
    str(Path(__file__).parent),
    *(str(Path(str(library.__file__)).parent) for library in (jax, eqx, np)),
)


def _origin(error: Exception) -> str:
    """The last line of the environment's own code that the exception passed through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_LIBRARIES)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}, `{frames[-1].line}`" if frames else ""


def _fact(value: str | float | int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}" if isinstance(value, float) else value
