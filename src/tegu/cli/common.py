"""What the commands share: flags, numbers as people type them, errors on one line, one JSON object."""

import argparse
import difflib
import json
import math
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from rich.console import Console
from rich.text import Text

from tegu.cli.terminal import ascii_where_needed, tell
from tegu.core import numbers
from tegu.core.errors import TeguError
from tegu.core.text import printable, printable_lines


class Outcome(NamedTuple):
    """The result of a command."""

    data: Mapping[str, Any]  #: what ``--json`` prints
    status: int = 0  #: the exit status


class UsageError(TeguError):
    """A command that makes no sense as it was typed."""


def call(command: ModuleType, words: Sequence[str]) -> int:
    """Run the module of a command: ``run(arguments(words), console)`` gives an ``Outcome``. Returns the exit status."""
    ascii_where_needed(sys.stdout, sys.stderr)
    try:
        args = command.arguments(words)
        out = console(sys.stdout, quiet=args.quiet or args.json)
        with _plain_warnings(), redirect_stdout(sys.stderr) if args.json else nullcontext():
            outcome = command.run(args, out)
    except SystemExit as end:  # argparse has shown its help
        return int(end.code or 0)
    except TeguError as error:
        if "--debug" in words:
            raise
        tell(f"tegu: {error}")
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        tell("tegu: stopped")
        return 130
    if args.json:
        print(json.dumps(_plain(outcome.data), allow_nan=False))
    return outcome.status


class Parser(argparse.ArgumentParser):
    """Flags with dashes or underscores; one line with the nearest match for one that does not exist."""

    aliases: Mapping[str, str] = {}  #: flags of other libraries, and Tegu's
    proposed: Collection[str] | None = None  #: the flags that hints may name, if not all

    def __init__(self, command: str, usage: str, description: str):
        super().__init__(
            prog=f"tegu {command}",
            usage=f"tegu {command} {usage}".rstrip(),
            description=description,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=118),
        )
        output = self.add_argument_group("output")
        output.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
        output.add_argument("--quiet", action="store_true", help="print only errors (and the JSON object of --json)")
        output.add_argument("--debug", action="store_true", help="show the Python traceback of an error")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        return self.parse_args([self._known(word) for word in words])

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def _known(self, word: str) -> str:
        """A word with its flag spelled with dashes. Done before parsing, which would take a stray value for a name."""
        flag, equals, value = word.partition("=")
        if not flag.startswith("--"):
            return word
        flag = flag.replace("_", "-")
        flags = self._option_string_actions
        if flag not in flags:
            proposed = flags if self.proposed is None else self.proposed
            other = self.aliases.get(flag)
            near = [other] if other in proposed else difflib.get_close_matches(flag, proposed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see {self.prog} --help"
            raise UsageError(f"there is no flag {flag}: {hint}")
        return flag + equals + value


def add_code(parser: Parser) -> None:
    """``--algorithm`` and ``--network``, for runs of a user's own code."""
    parser.add_argument(
        "--algorithm", type=code, metavar="MODULE:CLASS", help="the run's algorithm, if it is your own code"
    )
    parser.add_argument(
        "--network", type=code, metavar="MODULE:FUNCTION", help="the run's network, if it is your own code"
    )


def add_run(parser: Parser) -> None:
    """``RUN`` and ``--runs``."""
    parser.add_argument(
        "selector", metavar="RUN", nargs="?", default="last", help="a run's name or folder (default: last)"
    )
    add_runs(parser)


def add_runs(parser: Parser) -> None:
    parser.add_argument("--runs", metavar="FOLDER", default="runs", help="folder of the runs (runs)")


def number(text: str) -> float:
    """``1e6``, ``1_000_000``, ``100k`` or ``1M``."""
    with _as_argument_error():
        return numbers.number(text)


def whole(text: str) -> int:
    """A whole number, typed as ``number`` allows."""
    with _as_argument_error():
        return numbers.whole(text)


@contextmanager
def _as_argument_error() -> Iterator[None]:
    """What is wrong with a number, as argparse shows it."""
    try:
        yield
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(text: str) -> int:
    """A whole number that is not negative."""
    value = whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number that is not negative, got {text!r}")
    return value


def code(text: str) -> str:
    """A name. One that names code (``module:Class``) may be code in the current folder."""
    if ":" in text and "" not in sys.path:
        sys.path.append("")
    return text


environment = code  #: an environment's name


def option(text: str) -> tuple[str, Any]:
    """``key=value`` for an environment: numbers, true, false and none are parsed, anything else is text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"expected key=value, got {text!r}")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return key, words[value.lower()]
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def seconds(text: str) -> float:
    """A time that is not zero."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected more than 0 seconds, got {text!r}")
    return value


def add_timeout(parser: Parser) -> None:
    """``--timeout``, for players of ``gtp:COMMAND``."""
    parser.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", default=300.0, help="how long a gtp program may think (300)"
    )


def add_opponents(parser: Parser) -> None:
    """``--opponents``, and ``--timeout`` for those that are programs."""
    parser.add_argument(
        "--opponents",
        nargs="+",
        metavar="PLAYER",
        default=[],
        help="in a board game: players as of tegu arena, which the agent meets at every evaluation (none)",
    )
    add_timeout(parser)


class _Console(Console):
    """Prints text that may come from a file of somebody else's as characters, which the terminal does not obey."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)


def console(stream: Any, *, quiet: bool = False) -> Console:
    """A console that takes text as it is. Into a file or a pipe lines may be long: nothing is cut off there."""
    return _Console(
        file=stream, quiet=quiet, markup=False, highlight=False, width=None if stream.isatty() else 200, emoji=False
    )


@contextmanager
def working(args: argparse.Namespace, what: str) -> Iterator[None]:
    """Say on the terminal what is being waited for."""
    screen = console(sys.stderr)
    with screen.status(what, spinner_style="dim") if screen.is_interactive and not args.quiet else nullcontext():
        yield


def shown(run: Any, root: str) -> str:
    """How to name a run in the next command."""
    return shlex.quote(run.name if root == "runs" else str(run.path))


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Each warning as one plain line."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = printable(" ".join(re.sub(r"\x1b\[\d*m", "", str(message)).removeprefix("WARN:").split()))
        tell(f"warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


def _plain(value: Any) -> Any:
    """Data for JSON, which has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plotted(draw: Callable[[Path], object], asked: Path | None, usual: str, out: Console) -> str | None:
    """Draw a plot into the file ``asked`` for, or a ``usual`` one, and say where it is: its name.

    None where a plot that nobody asked for cannot be drawn, which is said.
    """
    path = asked or Path(usual)
    try:
        draw(path)
    except TeguError as error:
        if asked:
            raise
        out.print(f"no plot: {error}", style="dim", soft_wrap=True)
        return None
    out.print(str(path), soft_wrap=True)
    return str(path)
