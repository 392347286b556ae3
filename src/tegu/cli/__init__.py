"""The command line: one file per verb, imported when it is asked for, so that help comes at once."""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

VERBS = {
    "train": "train an agent",
    "resume": "go on with a run as if it had never stopped",
    "evaluate": "play fresh episodes and report how good an agent is",
    "watch": "play one episode into an animation, or in the terminal",
    "play": "play a board game against an agent",
    "arena": "let agents and other players of a board game meet",
    "crossplay": "one side of a world played by one run, the other by another",
    "compare": "runs side by side: a table and a picture",
    "list": "environments, algorithms, presets and runs",
    "check": "try an environment and say what is wrong with it",
    "export": "a run's metrics as CSV or for TensorBoard",
}
_ALIASES = {"enjoy": "watch", "eval": "evaluate", "plot": "compare"}  # other libraries' words

_EXAMPLES = """\
  tegu train CartPole-v1                        what suits it: a preset, or a sensible choice
  tegu train CartPole-v1 dqn --seeds 5          say more; tegu train CartPole-v1 dqn --help shows it all
  tegu train lizard --show                      the first updates of Q-learning, with all numbers
  tegu watch last"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    verb, *words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_help())
        return 0
    if verb == "--version":
        from tegu import __version__

        print(f"tegu {__version__}")
        return 0
    verb = _ALIASES.get(verb, verb)
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(VERBS)}"
        print(f"tegu: there is no verb {verb!r}: {hint}", file=sys.stderr)
        return 2
    from tegu.cli.common import call

    return call(import_module(f"tegu.cli.{verb}"), words)


def _help() -> str:
    verbs = "\n".join(f"  {verb:11}{what}" for verb, what in VERBS.items())
    return (
        "tegu: reinforcement learning from the first Q-table to self-play Go\n\n"
        f"usage: tegu VERB ...\n\n{verbs}\n\n"
        "tegu VERB --help says more; every verb knows --json and --quiet.\n\n"
        f"{_EXAMPLES}"
    )
