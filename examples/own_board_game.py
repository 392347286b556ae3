"""Your own board game: stones on a row, no two may touch, the player who cannot move loses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu import TeguError, Timestep
from tegu.arena.match import play_match
from tegu.arena.players import MCTSPlayer, MinimaxPlayer, RandomPlayer
from tegu.environments.games.base import Game, payoff


class Apart(Game):
    length: int = eqx.field(static=True, default=9)
    id: str = eqx.field(static=True, kw_only=True, default="apart")

    @property
    def observation_space(self):
        row = spaces.Box(-1, 1, (1, self.length), np.int8)
        return spaces.Dict(board=row, to_play=spaces.Discrete(2), action_mask=spaces.MultiBinary(self.length))

    @property
    def action_space(self):
        return spaces.Discrete(self.length)

    def reset(self, key):
        everywhere = jnp.ones(self.length, bool)
        position = {"board": jnp.zeros((1, self.length), jnp.int8), "to_play": jnp.int32(0), "action_mask": everywhere}
        return position, position

    def step(self, state, action, key):
        stone = jnp.where(state["to_play"] == 0, 1, -1).astype(jnp.int8)
        legal = state["action_mask"][action]
        board = jnp.where((jnp.arange(self.length) == action) & legal, stone, state["board"])
        taken = jnp.pad(board[0] != 0, 1)
        free = ~(taken[:-2] | taken[1:-1] | taken[2:])
        over = ~legal | ~free.any()
        position = {"board": board, "to_play": 1 - state["to_play"], "action_mask": free & ~over}
        return Timestep(position, position, payoff(jnp.where(legal, over * stone, -stone)), over)

    def text(self, state):
        return "".join("·XO"[stone] for stone in state["board"][0])

    def action_name(self, action):
        return str(action + 1)

    def action_of(self, name):
        if name not in map(str, range(1, self.length + 1)):
            raise TeguError(f"expected a square from 1 to {self.length}, got {name!r}")
        return int(name) - 1


if __name__ == "__main__":
    game = Apart()
    for player in (MCTSPlayer(game, 200), RandomPlayer()):
        match = play_match(game, player, MinimaxPlayer(game), games=100, key=jax.random.key(0), opening_plies=1)
        print(f"{player.name} scores {match.score:.2f} against perfect play")
