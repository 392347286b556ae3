"""The command line: one file per command, imported when it is used, so that help comes at once."""

import difflib
import errno
import sys
from collections.abc import Sequence
from importlib import import_module

from tegu.cli.terminal import drop_unwritten, open_closed_streams, tell

COMMANDS = {
    "train": "train an agent",
    "resume": "continue a run from its last checkpoint",
    "evaluate": "play fresh episodes and report the returns",
    "watch": "record one episode as an animation, or show it in the terminal",
    "play": "play a board game against an agent",
    "arena": "matches between agents and other players of a board game, with Elo ratings",
    "gtp": "let an agent play Go in a program such as Sabaki, by the Go Text Protocol",
    "crossplay": "multi-agent: one team played by one run, the other team by another run",
    "compare": "compare runs over seeds: a table and a plot",
    "timeline": "when the milestones of an environment, such as fort building, appeared in a run",
    "list": "list environments, algorithms, presets and runs",
    "check": "test an environment and report what is wrong with it",
    "import": "read a model of Stable-Baselines3, without unpickling, and write it as an agent",
    "export": "write a run's metrics as CSV or for TensorBoard, or its games of Go as records",
}
_ALIASES = {"enjoy": "watch", "eval": "evaluate", "plot": "compare"}  # other libraries' words
_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # as stdout may be

_EXAMPLES = """\
  tegu train CartPole-v1                        algorithm and hyper-parameters from the preset
  tegu train CartPole-v1 dqn --seeds 5          --help after it lists all hyper-parameters
  tegu train lizard --show                      print the first Q-learning updates with their numbers
  tegu watch last"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns the exit status: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C, and 141 where the reader of the
    output has gone, as ``head`` does.
    """
    open_closed_streams()
    try:
        status = _run(argv)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        drop_unwritten(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return 141
        tell(f"tegu: cannot write: {error.strerror}")
        return 1
    return status


def _run(argv: Sequence[str] | None) -> int:
    command, *words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help", "help"):
        print(_help())
        return 0
    if command == "--version":
        from tegu import __version__

        print(f"tegu {__version__}")
        return 0
    command = _ALIASES.get(command, command)
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        tell(f"tegu: there is no command {command!r}: {hint}")
        return 2
    from tegu.cli.common import call

    return call(import_module(f"tegu.cli.{command}"), words)


def _help() -> str:
    commands = "\n".join(f"  {command:11}{what}" for command, what in COMMANDS.items())
    return (
        "tegu: reinforcement learning from tabular Q-learning to AlphaZero\n\n"
        f"usage: tegu COMMAND ...\n\n{commands}\n\n"
        "tegu COMMAND --help lists its flags; every command takes --json and --quiet.\n\n"
        f"{_EXAMPLES}"
    )
