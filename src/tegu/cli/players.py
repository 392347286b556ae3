"""Board games and their players by name."""

import argparse
import difflib
from collections.abc import Sequence
from typing import NamedTuple

from tegu.agents.agent import BEST, Agent
from tegu.arena.base import Player
from tegu.arena.players import AgentPlayer, MCTSPlayer, MinimaxPlayer, RandomPlayer
from tegu.cli.common import UsageError, whole
from tegu.cli.loading import allowing
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game
from tegu.environments.make import NATIVE, find
from tegu.runs.run import RunError

GAMES = [name for name, path in NATIVE.items() if path.startswith("tegu.environments.games.")]
_WORDS = ("random", "minimax", "mcts:1000")


class NoPlayer(TeguError):
    """Nobody is called that."""


class Entrant(NamedTuple):
    """A player of whom one does not know yet what will be played."""

    name: str
    agent: Agent | None = None
    rollouts: int | None = None
    simulations: int | None = None


def entrant(word: str, game: Game | None, args: argparse.Namespace) -> Entrant:
    """``random``, ``minimax``, ``mcts:1000``, or a run, which is loaded; with ``@64`` it searches as long as that.

    Raises ``NoPlayer`` if there is no such run.
    """
    kind, _, text = word.partition(":")
    if word in ("random", "minimax"):
        return Entrant(word)
    if kind == "mcts":
        return Entrant(word, rollouts=_count(text or "1000", f"{word}: expected rollouts as in mcts:1000"))
    selector, at, text = word.partition("@")
    if text.partition("@")[0] == "best":
        selector, (_, at, text) = selector + BEST, text.partition("@")
    simulations = _count(text, f"{word}: expected simulations as in {selector}@64") if at else None
    try:
        agent = allowing(selector, game, args)
    except RunError as error:
        raise NoPlayer(_nobody(word, str(error))) from error
    name = agent.run.name + BEST * selector.endswith(BEST) if agent.run is not None else selector
    return Entrant(f"{name}{at}{text}", agent, simulations=simulations)


def game_named(name: str) -> Game:
    """A board game by its name or as ``module:Class``."""
    if name not in GAMES and ":" not in name:
        near = difflib.get_close_matches(name, GAMES, n=1)
        raise UsageError(f"there is no game {name!r}: " + (f"did you mean {near[0]}?" if near else _choice()))
    return _as_game(find(name).native, name)


def game_of(entrants: Sequence[Entrant], given: Game | None) -> Game:
    """The game that is meant: the one given, or that of the first run."""
    if given is not None:
        return given
    for agent in (entrant.agent for entrant in entrants if entrant.agent is not None):
        if agent.source is None:
            raise TeguError(f"{agent.spec.id} is code to import: name the game with --game")
        return _as_game(agent.source.native, agent.spec.id)
    raise UsageError(f"name the game with --game: {_choice()}")


def seated(entrant: Entrant, game: Game, args: argparse.Namespace) -> Player:
    """The player, ready for ``game``."""
    if entrant.agent is not None:
        return AgentPlayer(entrant.agent, game, entrant.name, index=args.seed_index, simulations=entrant.simulations)
    if entrant.rollouts is not None:
        return MCTSPlayer(game, entrant.rollouts)
    return MinimaxPlayer(game) if entrant.name == "minimax" else RandomPlayer()


def _nobody(word: str, otherwise: str) -> str:
    """What to say of a word that names neither a player nor a run."""
    if word in GAMES:
        return f"{word} is a game, not a player: name it with --game {word}"
    near = difflib.get_close_matches(word, _WORDS, n=1)
    return f"there is no player {word!r}: did you mean {near[0]}?" if near else otherwise


def _as_game(environment: object, name: str) -> Game:
    if not isinstance(environment, Game):
        raise TeguError(f"{name} is no board game: {_choice()}")
    return environment


def _choice() -> str:
    return f"expected {' or '.join(GAMES)}, or a game of your own as module:Class"


def _count(text: str, expected: str) -> int:
    try:
        value = whole(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{expected}, got {text!r}") from error
    if value < 1:
        raise UsageError(f"{expected}, got {text!r}")
    return value
