"""Tic-tac-toe: three in a row on a board of nine squares."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Timestep
from tegu.environments.drawing import INK, PAPER, RED, STEEL, Canvas, boxed_grid
from tegu.environments.games.base import Game, Position, payoff

_SIZE = 3
_SQUARES = np.arange(_SIZE**2).reshape(_SIZE, _SIZE)
_LINES = np.stack([*_SQUARES, *_SQUARES.T, _SQUARES.diagonal(), _SQUARES[:, ::-1].diagonal()])  # [8, 3]
_TURNED = [np.rot90(_SQUARES, turns) for turns in range(4)]
_SYMMETRIES = np.stack([turned.ravel() for turned in (*_TURNED, *(turned.T for turned in _TURNED))])  # [8, 9]


class TicTacToe(Game):
    """Tic-tac-toe. Perfect play is a draw.

    Actions 0 to 8 are the squares row by row from the top left, ``a3`` to ``c1`` to a person. Whoever gets three in a
    row, a column or a diagonal wins; a full board without is a draw. Once the game is over no action is legal.
    """

    n_symmetries = 8
    id: str = eqx.field(static=True, kw_only=True, default="tic-tac-toe")

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        return gymnasium.spaces.Dict(
            board=gymnasium.spaces.Box(-1, 1, (_SIZE, _SIZE), np.int8),
            to_play=gymnasium.spaces.Discrete(2),
            action_mask=gymnasium.spaces.MultiBinary(_SIZE**2),
        )

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(_SIZE**2)

    def reset(self, key: jax.Array) -> tuple[Position, Position]:
        board = jnp.zeros((_SIZE, _SIZE), jnp.int8)
        position = {"board": board, "to_play": jnp.int32(0), "action_mask": jnp.ones(_SIZE**2, bool)}
        return position, position

    def step(self, state: Position, action: jax.Array, key: jax.Array) -> Timestep:
        """Put a stone on the square ``action``."""
        stone = jnp.where(state["to_play"] == 0, 1, -1).astype(jnp.int8)
        legal = state["action_mask"][action]
        squares = jnp.where((_SQUARES.ravel() == action) & legal, stone, state["board"].ravel())
        won = (squares[_LINES] == stone).all(axis=1).any()
        over = won | ~legal | (squares != 0).all()
        position = {
            "board": squares.reshape(_SIZE, _SIZE),
            "to_play": 1 - state["to_play"],
            "action_mask": (squares == 0) & ~over,
        }
        winner = jnp.where(legal, won * stone, -stone)
        return Timestep(position, position, payoff(winner), over)

    def symmetric(self, index: jax.Array, features: jax.Array, policy: jax.Array) -> tuple[jax.Array, jax.Array]:
        squares = jnp.asarray(_SYMMETRIES)[index]
        return features.reshape(_SIZE**2, -1)[squares].reshape(features.shape), policy[squares]

    def action_name(self, action: int) -> str:
        row, column = divmod(int(action), _SIZE)
        return f"{'abc'[column]}{_SIZE - row}"

    def action_of(self, name: str) -> int:
        names = [self.action_name(action) for action in range(_SIZE**2)]
        if name.strip().lower() not in names:
            raise TeguError(f"expected a square from a1 (bottom left) to c3 (top right), got {name!r}")
        return names.index(name.strip().lower())

    def text(self, state: Position) -> str:
        marks = {0: "", 1: self.stones[0], -1: self.stones[1]}
        lines = boxed_grid([[[marks[int(stone)]] for stone in row] for row in state["board"]], width=3).splitlines()
        labels = [f"{_SIZE - index // 2} " if index % 2 else "  " for index in range(len(lines))]
        return "\n".join([*map(str.__add__, labels, lines), "    a   b   c"])

    def image(self, state: Position) -> np.ndarray:
        cell, margin, reach = 150, 25, 42
        canvas = Canvas(_SIZE * cell + 2 * margin, _SIZE * cell + 2 * margin, PAPER)
        low, high = margin + 8, margin + _SIZE * cell - 8
        for edge in (margin + cell, margin + 2 * cell):
            canvas.line([(edge, low), (edge, high)], INK, 6)
            canvas.line([(low, edge), (high, edge)], INK, 6)
        squares = np.asarray(state["board"]).ravel()
        centres = [margin + cell * (np.array([square % _SIZE, square // _SIZE]) + 0.5) for square in range(_SIZE**2)]
        for centre, stone in zip(centres, squares, strict=True):
            if stone > 0:
                for corner in (np.array([reach, reach]), np.array([reach, -reach])):
                    canvas.line([centre - corner, centre + corner], STEEL, 15)
            elif stone < 0:
                canvas.disc(centre, reach + 8, RED)
                canvas.disc(centre, reach - 7, PAPER)
        for line in _LINES:
            if abs(squares[line].sum()) == _SIZE:
                start, end = centres[line[0]], centres[line[-1]]
                canvas.line([start - 0.2 * (end - start), end + 0.2 * (end - start)], INK, 6)
        return canvas.array()
