"""A person plays a board game."""

import argparse
import secrets

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from tegu.arena.base import RESIGNATION, ExpectsEnd, Explains, Explanation, Player, SeesMoves
from tegu.arena.positions import begin, play, take
from tegu.cli.common import working
from tegu.core.errors import TeguError
from tegu.environments.games.base import PLAYERS, Game, Position


class HumanGame:
    """One game of a person, who plays ``args.side``, and its history."""

    def __init__(self, game: Game, opponent: Player, screen: Console, args: argparse.Namespace):
        self.game, self.opponent, self.screen, self.args = game, opponent, screen, args
        self.side = PLAYERS.index(args.side)
        self.positions = [begin(game, 1)]  # batches of one
        self.moves: list[str] = []
        self._key = jax.random.key(secrets.randbelow(2**31) if args.seed is None else args.seed)

    def play(self) -> float | None:
        """Take turns until the end. Returns the person's reward, or None if they quit."""
        if self._mover() == self.side:
            self._show()
        while (action := self._next()) is not None:
            if action < 0:
                own = self._mover() == self.side
                self.screen.print("you resign" if own else f"{self.opponent.name} gives up")
                return -1.0 if own else 1.0
            timestep = play(self.game, self.positions[-1], np.array([action]))
            self.moves.append(self.game.action_name(action))
            self.positions.append(timestep.state)
            replied = self._mover() == self.side  # the turn has passed
            if replied:
                self.screen.print(f"{self.opponent.name} plays {self.moves[-1]}\n")
            if replied or timestep.terminated[0]:
                self._show()
            if timestep.terminated[0]:
                return float(timestep.reward[PLAYERS[self.side]][0])
        return None

    def _next(self) -> int | None:
        """What whoever is to move plays; None to quit."""
        if self._mover() == self.side:
            return self._ask()
        with working(self.args, f"{self.opponent.name} is thinking"):
            return self._reply(self.positions[-1], self._fresh_key())

    def _reply(self, position: Position, key: jax.Array) -> int:
        """The opponent's action; negative if it gives up."""
        if isinstance(self.opponent, SeesMoves):
            moves = np.array([[self.game.action_of(name) for name in self.moves]], np.int32)
            return int(self.opponent.act_after(moves, position, np.zeros(1, np.int32), key)[0])
        return int(self.opponent.act(position, key)[0])

    def _ask(self) -> int | None:
        """Ask the person until there is a legal move, or ``RESIGNATION``; None to quit."""
        prompt = f"your move ({self.game.stones[self.side]})> "
        while True:
            word = input("" if self.screen.quiet else prompt).strip()
            match word.lower():
                case "":
                    pass
                case "quit" | "q" | "exit":
                    return None
                case "resign":
                    return RESIGNATION
                case "undo" | "u":
                    self._undo()
                case "hint" | "h" | "?":
                    self._hint()
                case "score":
                    self._score()
                case _:
                    try:
                        return self._legal(word)
                    except TeguError as error:
                        self.screen.print(str(error))

    def _legal(self, word: str) -> int:
        action = self.game.action_of(word)
        mask = self.positions[-1]["action_mask"][0]
        if not mask[action]:
            free = ", ".join(self.game.action_name(legal) for legal in mask.nonzero()[0])
            raise TeguError(f"{word} is not legal now: expected one of {free}")
        return action

    def _undo(self) -> None:
        """Take back the person's last move and what followed."""
        own = len(self.moves) - 2
        if own < 0:
            self.screen.print("you have made no move to take back")
            return
        del self.moves[own:], self.positions[own + 1 :]
        self._show()

    def _hint(self) -> None:
        """Show what the opponent thinks of the person's moves."""
        hint, position = None, take(self.positions[-1], 0)
        if isinstance(self.opponent, Explains):
            hint = self.opponent.explain(position, self._fresh_key())
        if hint is None:
            self.screen.print(f"{self.opponent.name} cannot explain its moves")
        else:
            self.screen.print(hint_table(self.game, position, hint))
            self.screen.print(f"value: -1 you lose, 1 you win; this position: {_signed(hint.value)}\n")

    def _score(self) -> None:
        """Show the score if the game ended here, then what the opponent expects of its end, and of each point."""
        if type(self.game).score is Game.score:
            self.screen.print(f"{self.game.id} is not about points")
            return
        position = take(self.positions[-1], 0)
        self.screen.print(f"if the game ended here: {self._lead(float(self.game.score(position)))}")
        if not isinstance(self.opponent, ExpectsEnd):
            return
        score, ownership = self.opponent.expected_end(position)
        own = 1 if self._mover() == 0 else -1
        if score is not None:
            self.screen.print(f"{self.opponent.name} expects: {self._lead(own * score)}")
        if ownership is not None:
            owners = np.where(np.abs(ownership) < 0.5, 0, np.sign(own * ownership)).astype(np.int8)
            self.screen.print(f"{self.opponent.name} expects these points to be whose stone is shown:")
            self.screen.print(f"{self.game.text({**position, 'board': owners})}\n")

    def _lead(self, points: float) -> str:
        """``points`` by which the first player is ahead, in words."""
        return "even" if round(points, 1) == 0 else f"{self.game.stones[points < 0]} leads by {abs(points):.1f}"

    def _mover(self) -> int:
        return int(self.positions[-1]["to_play"][0])

    def _fresh_key(self) -> jax.Array:
        self._key, key = jax.random.split(self._key)
        return key

    def _show(self) -> None:
        self.screen.print(f"{self.game.text(take(self.positions[-1], 0))}\n")


def hint_table(game: Game, position: Position, hint: Explanation) -> Table:
    """The legal moves, the most promising first, with their probabilities and, where known, values."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("move", "policy", "value"):
        table.add_column(name, justify="right")
    values = np.full(len(hint.policy), np.nan) if hint.action_values is None else hint.action_values
    legal = position["action_mask"].nonzero()[0]
    for action in sorted(legal, key=lambda action: -hint.policy[action]):
        value = "" if np.isnan(values[action]) else _signed(values[action])
        table.add_row(game.action_name(action), f"{hint.policy[action]:.0%}", value)
    return table


def _signed(value: float) -> str:
    """Two decimals and a sign, but for 0."""
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0.00"
