"""Board games and their players by name."""

import argparse
import difflib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tegu.agents.agent import Agent
from tegu.agents.selection import parted
from tegu.arena.base import Player
from tegu.arena.gtp.player import GTPPlayer
from tegu.arena.players import AgentPlayer, MCTSPlayer, MinimaxPlayer, RandomPlayer
from tegu.arena.strength import StrengthObserver
from tegu.cli.common import UsageError, whole
from tegu.cli.loading import allowing
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game
from tegu.environments.games.go import Go
from tegu.environments.make import find
from tegu.environments.native import NATIVE
from tegu.gtp.program import words_of
from tegu.runs.run import UnknownRunError
from tegu.runs.schema import MOST_AT_ONCE
from tegu.training.plan import Plan
from tegu.training.trainer import Observer

GAMES = [name for name, path in NATIVE.items() if path.startswith("tegu.environments.games.")]
_WORDS = ("random", "minimax", "mcts:1000")


class UnknownPlayer(TeguError):
    """No player has that name."""


class PlayerSpec(NamedTuple):
    """A player as a command names it, before the game is known."""

    name: str
    agent: Agent | None = None
    rollouts: int | None = None
    simulations: int | None = None
    settings: Mapping[str, str] = MappingProxyType({})  #: other values of a run's hyper-parameters
    command: str | None = None  #: that starts a program


def player_spec(word: str, game: Game | None, args: argparse.Namespace) -> PlayerSpec:
    """``random``, ``minimax``, ``mcts:1000``, ``gtp:COMMAND``, or a run; with ``@64`` it searches with 64 simulations,
    with ``@64,c_puct=2`` also with another value of a hyper-parameter. ``RUN@best@64`` and ``RUN@step=1M@64`` are
    agents that the run has kept.

    A run is loaded. Raises ``UnknownPlayer`` if there is no such run.
    """
    kind, _, text = word.partition(":")
    if word in ("random", "minimax"):
        return PlayerSpec(word)
    if kind == "mcts":
        return PlayerSpec(word, rollouts=_count(text or "1000", f"{word}: expected rollouts as in mcts:1000"))
    if kind == "gtp":
        words_of(text)
        return PlayerSpec(word, command=text)
    selector, at, text = word.partition("@")
    first, another, rest = text.partition("@")
    if which := parted(f"{at}{first}")[1]:
        selector, at, text = selector + which, another, rest
    simulations, given = None, text.split(",")
    if at and "=" not in given[0]:
        simulations = _count(given.pop(0), f"{word}: expected simulations as in {selector}@64")
    settings = dict(_setting(part, word) for part in given) if at else {}
    try:
        agent = allowing(selector, game, args)
    except UnknownRunError as error:
        raise UnknownPlayer(_unknown(word, str(error))) from error
    name = agent.run.name + parted(selector)[1] if agent.run is not None else selector
    return PlayerSpec(f"{name}{at}{text}", agent, simulations=simulations, settings=settings)


def game_named(name: str) -> Game:
    """A board game by its name or as ``module:Class``."""
    if name not in GAMES and ":" not in name:
        near = difflib.get_close_matches(name, GAMES, n=1)
        raise UsageError(f"there is no game {name!r}: " + (f"did you mean {near[0]}?" if near else _choice()))
    return _as_game(find(name).native, name)


def game_of(specs: Sequence[PlayerSpec], given: Game | None) -> Game:
    """The game that is meant: the one given, or that of the first run."""
    if given is not None:
        return given
    for agent in (spec.agent for spec in specs if spec.agent is not None):
        if agent.source is None:
            raise TeguError(f"{agent.spec.id} is your own code: name the game with --game")
        return _as_game(agent.source.native, agent.spec.id)
    raise UsageError(f"name the game with --game: {_choice()}")


def go_to_record(game: Game, folder: Path) -> Go:
    """The game, if its records can be written into ``folder``: found out before it is played."""
    if not isinstance(game, Go):
        raise UsageError(f"--sgf is for games of Go, not of {game.id}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TeguError(f"--sgf {folder}: {error.strerror}") from error
    return game


def make_player(spec: PlayerSpec, game: Game, args: argparse.Namespace) -> Player:
    """The player, ready for ``game``."""
    if spec.agent is not None:
        how: dict[str, Any] = {"simulations": spec.simulations, "settings": spec.settings}
        return AgentPlayer(spec.agent, game, spec.name, index=args.seed_index, **how)
    if spec.rollouts is not None:
        return MCTSPlayer(game, spec.rollouts)
    if spec.command is not None:
        return GTPPlayer(game, spec.command, args.timeout)
    return MinimaxPlayer(game) if spec.name == "minimax" else RandomPlayer()


@contextmanager
def seated(specs: Sequence[PlayerSpec], game: Game, args: argparse.Namespace) -> Iterator[list[Player]]:
    """The players, ready for ``game``. Programs among them are ended when it is over."""
    with ExitStack() as stack:
        players = [make_player(spec, game, args) for spec in specs]
        for player in players:
            if isinstance(player, GTPPlayer):
                stack.enter_context(player)
        yield players


@contextmanager
def meeting_opponents(args: argparse.Namespace, plan_of: Callable[[], Plan]) -> Iterator[list[Observer]]:
    """What measures the agent against the players of ``--opponents`` while it trains, if there are any."""
    if not args.opponents:
        yield []
        return
    with warnings.catch_warnings(action="ignore"):  # they are for the training
        plan = plan_of()
    if not plan.eval_every:
        raise UsageError("--opponents are met at the evaluations of tegu train --eval-every, and there are none")
    game = _as_game(plan.source.native, plan.source.id)
    whose = argparse.Namespace(runs=args.runs, timeout=args.timeout, seed_index=0, algorithm=None, network=None)
    specs = [player_spec(word, game, whose) for word in args.opponents]
    with seated(specs, game, whose) as players:
        yield [StrengthObserver(plan, players, games=plan.eval_episodes)]


def _unknown(word: str, otherwise: str) -> str:
    """The error for a word that names neither a player nor a run."""
    if word in GAMES:
        return f"there is no run of {word} yet: train one (tegu train {word}), or name another player and --game {word}"
    near = difflib.get_close_matches(word, _WORDS, n=1)
    return f"there is no player {word!r}: did you mean {near[0]}?" if near else otherwise


def _as_game(environment: object, name: str) -> Game:
    if not isinstance(environment, Game):
        raise TeguError(f"{name} is not a board game: {_choice()}")
    return environment


def _choice() -> str:
    return f"expected {' or '.join(GAMES)}, or a game of your own as module:Class"


def _setting(text: str, word: str) -> tuple[str, str]:
    """A hyper-parameter and its value."""
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f"{word}: expected NAME=VALUE after a comma, got {text!r}")
    return name.replace("-", "_"), value


def _count(text: str, expected: str) -> int:
    try:
        value = whole(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{expected}, got {text!r}") from error
    if not 1 <= value <= MOST_AT_ONCE:
        raise UsageError(f"{expected}, from 1 to {MOST_AT_ONCE:,}, got {text!r}")
    return value
