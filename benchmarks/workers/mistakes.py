"""How often each seed of a run gives away what a position of Connect Four is worth, by phase of the game."""

import csv
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from meter import report, settings

import tegu
from tegu.arena.players import AgentPlayer
from tegu.arena.positions import begin, join, play
from tegu.environments.games.base import Game, Position

FILE = Path(__file__).parents[1] / "connect_four.csv"
WORTH = {"+": 1, "=": 0, "-": -1, ".": -2}
BATCH = 250  #: positions that are searched at once


def position(game: Game, moves: str) -> Position:
    """Where ``moves`` lead, columns from 1."""
    found = begin(game, 1)
    for move in moves:
        found = play(game, found, np.array([int(move) - 1])).state
    return found


def batched(player: AgentPlayer, positions: Sequence[Position]) -> np.ndarray:
    """What the player does in each; the last batch is filled up, so that a search compiles once."""
    actions = []
    for start in range(0, len(positions), BATCH):
        part = list(positions[start : start + BATCH])
        filled = join(*part, *[part[-1]] * (BATCH - len(part)))
        actions.append(player.act(filled, jax.random.key(start))[: len(part)])
    return np.concatenate(actions)


def main() -> None:
    given = settings()
    agent, simulations = tegu.load(given["run"]), given["simulations"]
    game = agent.spec.model
    with FILE.open() as file:
        rows = list(csv.DictReader(file))
    values = np.array([[WORTH[each] for each in row["values"]] for row in rows])
    phase, best = np.array([row["phase"] for row in rows]), values.max(axis=1)
    positions = [position(game, row["moves"]) for row in rows]
    worst = np.where(values == WORTH["."], best[:, None], values).min(axis=1)
    played = [
        batched(AgentPlayer(agent, game, "it", index=index, simulations=simulations), positions)
        for index in range(len(agent.seeds))
    ]
    mistakes = values[np.arange(len(rows)), np.array(played)] < best
    found = {
        name: {
            "positions": int((phase == name).sum()),
            "possible": int((worst < best)[phase == name].sum()),
            "mistakes": mistakes[:, phase == name].sum(axis=1).tolist(),
        }
        for name in dict.fromkeys(phase.tolist())
    }
    report({"simulations": simulations, "phases": found})


main()
