"""GNU Go as the expert whose games are learned from."""

import hashlib
import shutil
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.runtime import cores, user_cache
from tegu.environments.games.base import Game
from tegu.environments.games.go import Go
from tegu.environments.games.recorded import GameRecords, game_records, legal_moves, load_records, save_records
from tegu.exploration import masked
from tegu.gtp.program import COLOURS, Program, Refused

INSTALL = "apt-get install gnugo"
_TIMEOUT = 300.0  # seconds for a move


def gnu_go() -> str | None:
    """Where GNU Go is, None if it is not installed."""
    return shutil.which("gnugo") or shutil.which("/usr/games/gnugo")


def expert_games(game: Game, file: str | Path | None, *, n: int, level: int, opening: int, seed: int) -> GameRecords:
    """The games in a ``file`` (see ``load_records``); None: those that GNU Go plays.

    These are ``n`` games against itself, each after up to ``opening`` random moves, and it thinks as its ``level``
    says. It captures what is dead, for here all stones count as alive. Games are the same for the same numbers, and
    played once: they are kept among this person's caches. Raises ``TeguError`` where GNU Go is not installed, or
    plays another game.
    """
    if file is not None:
        return load_records(Path(file).expanduser(), game)
    if not isinstance(game, Go):
        raise TeguError(f"GNU Go does not play {game.id}: give a file of games to learn from (expert_games)")
    asked = f"{game!r} {n} {level} {opening} {seed}"
    name = f"gnugo-{game.size}x{game.size}-{n}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npz"
    cache = user_cache("games")
    played = cache / name if cache is not None else None
    if played is not None and played.exists():
        return load_records(played, game)
    program = gnu_go()
    if program is None:
        raise TeguError(
            f"games of {game.id} are played by GNU Go, which is not installed ({INSTALL}): install it, or give a file "
            "of games (expert_games)"
        )
    kept = f", once: they are kept in {played}" if played is not None else ""
    print(f"GNU Go plays {n:,} games of {game.id} to learn from{kept}", file=sys.stderr, flush=True)
    command = f"{program} --mode gtp --level {level} --chinese-rules --capture-all-dead --never-resign"
    records = self_play(game, command, random_openings(game, n, opening, seed), seed)
    if played is not None:
        try:
            save_records(played, records)
        except OSError as error:
            warnings.warn(f"the games of GNU Go cannot be kept in {played}: {error.strerror or error}", stacklevel=2)
    return records


def random_openings(game: Go, n: int, most: int, seed: int) -> list[list[int]]:
    """The openings of ``n`` games: from none to ``most`` random legal moves, none of them a pass."""
    count_key, key = jax.random.split(jax.random.key(seed))
    lengths = np.asarray(jax.random.randint(count_key, (n,), 0, most + 1))

    def move(position: dict[str, jax.Array], key: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        noise = jax.random.uniform(key, position["action_mask"].shape)
        action = masked(noise, position["action_mask"].at[:, -1].set(False)).argmax(axis=-1)
        return jax.vmap(game.step, in_axes=(0, 0, None))(position, action, key).state, action

    start = jax.tree.map(lambda leaf: np.repeat(leaf[None], n, axis=0), game.first())
    _, moves = jax.lax.scan(move, start, jax.random.split(key, most))
    return [row[:length] for row, length in zip(np.asarray(moves).T.tolist(), lengths.tolist(), strict=True)]


def self_play(game: Go, command: str, openings: Sequence[Sequence[int]], seed: int) -> GameRecords:
    """A game that the program of ``command`` plays against itself after each of the ``openings``.

    These are not to be learned from, nor are passes with which it gives up. Each game has a process of its own with a
    ``--seed`` of its own, as many at a time as there are cores. A record ends where the game does, where the program
    resigns, and before a move that is illegal here.
    """
    programs = list[Program]()
    play = partial(_played, game, command, programs)
    with ThreadPoolExecutor(cores()) as pool:
        try:
            games = list(pool.map(play, openings, range(seed * len(openings), (seed + 1) * len(openings))))
        except BaseException:  # Ctrl-C, too
            pool.shutdown(wait=False, cancel_futures=True)
            for program in list(programs):
                program.close()
            raise
    moves = np.full((len(games), game.most_moves), -1, np.int16)
    for row, played in zip(moves, games, strict=True):
        row[: len(played)] = played
    legal = legal_moves(game, moves)
    moves = np.where(np.arange(game.most_moves) < legal[:, None], moves, -1)
    after = np.arange(game.most_moves) >= np.array([len(opening) for opening in openings])[:, None]
    return game_records(game, moves, after & ~given_up(game, moves))


def given_up(game: Go, moves: np.ndarray) -> np.ndarray:
    """Which ``moves`` ``[games, moves]`` are passes with which the game did not end: bool.

    So GNU Go passes again and again in a game that it holds for lost.
    """
    passes = np.pad(moves == game.points, ((0, 0), (1, 1)))
    return passes[:, 1:-1] & ~passes[:, :-2] & ~passes[:, 2:]


def _played(game: Go, command: str, programs: list[Program], opening: Sequence[int], seed: int) -> list[int]:
    program = Program(f"{command} --seed {seed % 2**31}", _TIMEOUT)
    programs.append(program)
    try:
        for question in (f"boardsize {game.size}", "clear_board", f"komi {game.komi:g}"):
            program.ask(question)
        for ply, action in enumerate(opening):
            program.ask(f"play {COLOURS[ply % 2]} {game.action_name(action)}")
        moves, passes = list(opening), 0
        while passes < 2 and len(moves) < game.most_moves:
            said = program.ask(f"genmove {COLOURS[len(moves) % 2]}")
            if said.lower() == "resign":
                break
            moves.append(game.action_of(said))
            passes = passes + 1 if moves[-1] == game.points else 0
        return moves
    except Refused as error:
        raise TeguError(f"{program.name} refuses to play {game.id}: {error}") from error
    finally:
        program.close()
        programs.remove(program)
