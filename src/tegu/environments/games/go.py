"""Go: surround what the other cannot hold. Area scoring, on any square board."""

import math
import re
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Timestep
from tegu.environments.drawing import INK, Canvas, Colour
from tegu.environments.games.base import Game, Position, payoff
from tegu.environments.games.go_rules import Stones, areas, board_hash, numbers, owners, placed, repeats, suicidal

_WOOD: Colour = (222, 178, 112)
_SHADOW: Colour = (164, 122, 66)
_BLACK: tuple[Colour, Colour] = ((32, 34, 38), (78, 82, 90))
_WHITE: tuple[Colour, Colour] = ((246, 245, 240), (255, 255, 255))

LETTERS = "ABCDEFGHJKLMNOPQRST"  #: of the columns: there is no I
SMALLEST, LARGEST = 2, len(LETTERS)


class Go(Game):
    """Go by the rules of Tromp & Taylor (https://tromp.github.io/go.html), except where the options say otherwise.

    Actions are the points row by row from the top left, and last the pass. The first player has the black stones. A
    game ends with two passes in a row, or after ``max_moves``; whoever then has the larger area, stones and empty
    points that reach only these, has won. White's area counts ``komi`` more. All stones on the board are alive. With
    ``komi_spread`` each game has a komi of its own, so that a network learns what komi means; matches have ``komi``.

    A position holds, besides what every game's does, for each stone its ``"chain"``, the number of one of the chain's
    points (else -1), and in ``"liberty"`` the only liberty of a chain that has no other (else -1), both int16
    ``[size, size]``; the point that a ``"ko"`` forbids, or -1; whether the last move ``"passed"``; the number of
    ``"moves"``; the ``"komi"``, float32; and with ``superko`` the hashes of all boards so far, uint32
    ``[max_moves + 1, 2]``.
    """

    stones = ("●", "○")
    n_symmetries = 8
    size: int = eqx.field(static=True, default=9)  #: points on a side, 2 to 19
    komi: float = eqx.field(static=True, default=7.5)  #: points that White gets for moving second
    komi_spread: float = eqx.field(static=True, default=0.0)  #: standard deviation of a game's komi from it, in points
    superko: bool = eqx.field(static=True, default=False)  #: whether no board may come twice; else simple ko alone
    suicide: bool = eqx.field(static=True, default=False)  #: whether a chain may take its own last liberty
    max_moves: int | None = eqx.field(static=True, default=None)  #: None: twice the number of points
    id: str = eqx.field(static=True, kw_only=True, default="go-9x9")

    def __check_init__(self) -> None:
        if not (_is_whole(self.size) and SMALLEST <= self.size <= LARGEST):
            raise TeguError(f"{self.id}: size must be a whole number from {SMALLEST} to {LARGEST}, got {self.size!r}")
        if not _is_finite(self.komi):
            raise TeguError(f"{self.id}: komi must be a finite number, got {self.komi!r}")
        if not (_is_finite(self.komi_spread) and self.komi_spread >= 0):
            raise TeguError(f"{self.id}: komi_spread must be a finite number from 0, got {self.komi_spread!r}")
        if self.max_moves is not None and not (_is_whole(self.max_moves) and self.max_moves >= 1):
            raise TeguError(f"{self.id}: max_moves must be a whole number from 1, or None, got {self.max_moves!r}")
        for name in ("superko", "suicide"):
            if not isinstance(given := getattr(self, name), bool):
                raise TeguError(f"{self.id}: {name} must be True or False, got {given!r}")

    @property
    def points(self) -> int:
        return self.size**2

    @property
    def most_moves(self) -> int:
        return 2 * self.points if self.max_moves is None else self.max_moves

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        side, points = (self.size, self.size), self.points
        parts: dict[str, gymnasium.Space] = {
            "board": gymnasium.spaces.Box(-1, 1, side, np.int8),
            "to_play": gymnasium.spaces.Discrete(2),
            "action_mask": gymnasium.spaces.MultiBinary(points + 1),
            "chain": gymnasium.spaces.Box(-1, points - 1, side, np.int16),
            "liberty": gymnasium.spaces.Box(-1, points - 1, side, np.int16),
            "ko": gymnasium.spaces.Discrete(points + 1, start=-1),
            "passed": gymnasium.spaces.Discrete(2),
            "moves": gymnasium.spaces.Discrete(self.most_moves + 1),
            "komi": gymnasium.spaces.Box(-np.inf, np.inf, (), np.float32),
        }
        if self.superko:
            most = np.iinfo(np.uint32).max
            parts["history"] = gymnasium.spaces.Box(0, most, (self.most_moves + 1, 2), np.uint32)
        return gymnasium.spaces.Dict(parts)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(self.points + 1)

    def reset(self, key: jax.Array) -> tuple[Position, Position]:
        position = self.first()
        if self.komi_spread:  # by whole points: where no game is drawn, still none is
            position["komi"] += jnp.round(self.komi_spread * jax.random.normal(key))
        return position, position

    def first(self) -> Position:
        nothing = jnp.full((self.size, self.size), -1, jnp.int16)
        position = {
            "board": jnp.zeros((self.size, self.size), jnp.int8),
            "to_play": jnp.int32(0),
            "action_mask": jnp.ones(self.points + 1, bool),
            "chain": nothing,
            "liberty": nothing,
            "ko": jnp.int32(-1),
            "passed": jnp.int32(0),
            "moves": jnp.int32(0),
            "komi": jnp.float32(self.komi),
        }
        if self.superko:
            position["history"] = jnp.zeros((self.most_moves + 1, 2), jnp.uint32)  # an empty board's hash is 0
        return position

    def step(self, state: Position, action: jax.Array, key: jax.Array) -> Timestep:
        """Put a stone on the point ``action``, or pass."""
        colour = jnp.where(state["to_play"] == 0, 1, -1).astype(jnp.int8)
        legal, passes = state["action_mask"][action], action == self.points
        point = jnp.where(legal & ~passes, action, -1).astype(jnp.int16)
        after = placed(Stones(state["board"], state["chain"], state["liberty"]), point, colour, self.suicide)
        taken = (after.board == 0) & (state["board"] == -colour)
        # a ko: one stone took one stone and stands where it could be taken back at once
        alone = (after.chain == point).sum() == 1
        back = jnp.where(after.chain == point, after.liberty, -1).max().astype(jnp.int32)
        ko = jnp.where((taken.sum() == 1) & alone, back, -1)
        moves = state["moves"] + 1
        over = (passes & (state["passed"] == 1)) | (moves >= self.most_moves) | ~legal
        empty = (after.board == 0) & (numbers(self.size) != ko)
        playable = empty if self.suicide else empty & ~suicidal(after, -colour)
        history = {}
        if self.superko:
            here = jnp.arange(self.most_moves + 1)[:, None] == moves
            boards = jnp.where(here, board_hash(after.board), state["history"])
            playable &= ~repeats(after, -colour, boards, self.suicide)
            history["history"] = boards
        position = {
            "board": after.board,
            "to_play": 1 - state["to_play"],
            "action_mask": jnp.append(playable.ravel(), True) & ~over,
            "chain": after.chain,
            "liberty": after.liberty,
            "ko": ko,
            "passed": (passes & legal).astype(jnp.int32),
            "moves": moves,
            "komi": state["komi"],
            **history,
        }
        black, white = areas(jnp.where(over, after.board, 0))
        winner = jnp.where(legal, jnp.sign(black - white - state["komi"]), -colour) * over
        return Timestep(position, position, payoff(winner), over)

    def features(self, position: Position) -> jax.Array:
        """Seven planes: own stones and the other's, those of them whose chain has one liberty left, the point that a ko
        forbids, whether the last move was a pass, and the komi for the player to move, in tens."""
        first = position["to_play"] == 0
        own, board = jnp.where(first, 1, -1), position["board"]
        threatened = position["liberty"] >= 0
        everywhere = jnp.ones(board.shape)
        planes = [
            board == own,
            board == -own,
            (board == own) & threatened,
            (board == -own) & threatened,
            numbers(self.size) == position["ko"],
            everywhere * position["passed"],
            everywhere * jnp.where(first, -1, 1) * position["komi"] / 10,
        ]
        return jnp.stack([plane.astype(jnp.float32) for plane in planes], axis=-1)

    def symmetric(self, index: jax.Array, features: jax.Array, policy: jax.Array) -> tuple[jax.Array, jax.Array]:
        from_points = jnp.asarray(_symmetries(self.size))[index]
        turned = features.reshape(self.points, -1)[from_points].reshape(features.shape)
        return turned, jnp.append(policy[:-1][from_points], policy[-1])

    def ownership(self, position: Position) -> jax.Array:
        return owners(position["board"])

    def score(self, position: Position) -> jax.Array:
        """Black's area less White's and the komi."""
        black, white = areas(position["board"])
        return black - white - position["komi"]

    def action_name(self, action: int) -> str:
        row, column = divmod(int(action), self.size)
        return "pass" if action == self.points else f"{LETTERS[column]}{self.size - row}"

    def action_of(self, name: str) -> int:
        letter, number, size = name.strip().upper()[:1], name.strip()[1:], self.size
        if name.strip().upper() == "PASS":
            return size**2
        column, row = LETTERS[:size].find(letter), int(number) if re.fullmatch("[0-9]{1,2}", number) else 0
        if not letter or column < 0 or not 1 <= row <= size:
            last = f"{LETTERS[size - 1]}{size}"
            raise TeguError(f"expected a point from A1 (bottom left) to {last} (there is no I) or pass, got {name!r}")
        return (size - row) * size + column

    def text(self, state: Position) -> str:
        marks = {1: self.stones[0], -1: self.stones[1]}
        letters = "   " + " ".join(LETTERS[: self.size])
        lines = [letters]
        for row, stones in enumerate(state["board"]):
            empty = ["+" if (row, column) in _stars(self.size) else "·" for column in range(self.size)]
            cells = [marks.get(int(stone), point) for stone, point in zip(stones, empty, strict=True)]
            lines.append(f"{self.size - row:>2} {' '.join(cells)} {self.size - row}")
        return "\n".join([*lines, letters])

    def image(self, state: Position) -> np.ndarray:
        cell, margin = 48, 56
        length = (self.size - 1) * cell
        canvas = Canvas(length + 2 * margin, length + 2 * margin, _WOOD)
        for index in range(self.size):
            at, near = margin + index * cell, margin * 0.38
            canvas.line([(at, margin), (at, margin + length)], INK, 1.6)
            canvas.line([(margin, at), (margin + length, at)], INK, 1.6)
            for far in (near, length + 2 * margin - near):
                canvas.text((at, far), LETTERS[index], INK, 17)
                canvas.text((far, at), str(self.size - index), INK, 17)
        for row, column in _stars(self.size):
            canvas.disc((margin + column * cell, margin + row * cell), 4.5, INK)
        for (row, column), stone in np.ndenumerate(np.asarray(state["board"])):
            if stone:
                centre = np.array([margin + column * cell, margin + row * cell])
                fill, shine = _BLACK if stone > 0 else _WHITE
                canvas.disc(centre + 1.5, 22, _SHADOW)
                canvas.disc(centre, 22, fill)
                canvas.disc(centre - 6, 7, shine)
        return canvas.array()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _stars(size: int) -> set[tuple[int, int]]:
    """The points that are marked for the eye."""
    edge = 2 if size < 13 else 3
    ends, middle = ([edge, size - 1 - edge] if size >= 9 else []), ([size // 2] if size % 2 else [])
    lines = [*ends, *middle] if size >= 13 else ends
    return {(row, column) for row in lines for column in lines} | {(row, row) for row in middle}


def _symmetries(size: int) -> np.ndarray:
    """Which point each point of the eight turned and mirrored boards comes from: ``[8, points]``."""
    turned = [np.rot90(numbers(size), quarter) for quarter in range(4)]
    return np.stack([board.ravel() for one in turned for board in (one, one.T)])
