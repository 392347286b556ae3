"""A grid of one's own: its exact values, and how close Q-learning comes to them."""

import numpy as np

import tegu
from tegu.environments.grids.exact import start_value, value_iteration
from tegu.environments.grids.finite import neighbour, one_hot, tabulate

MAP = ("....G", ".##.P", "S....")  # from S to the goal, past the pit, around the wall
TILES, ROWS, COLUMNS = "".join(MAP), len(MAP), len(MAP[0])
MOVES = ("left", "right", "up", "down")
GAMMA = 0.95


def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
    """(probability, next state, reward, terminated) of every outcome. One move in five slips downwards."""
    if TILES[state] in "GP":
        return [(1.0, state, 0.0, True)]
    result = []
    for probability, move in ((0.8, MOVES[action]), (0.2, "down")):
        tile = neighbour(state, move, ROWS, COLUMNS)
        tile = state if TILES[tile] == "#" else tile
        result.append((probability, tile, {"G": 10.0, "P": -10.0}.get(TILES[tile], -0.1), TILES[tile] in "GP"))
    return result


def arrows(values: np.ndarray) -> str:
    """The best action of every tile."""
    signs = [tile if tile in "#GP" else "←→↑↓"[best] for tile, best in zip(TILES, values.argmax(axis=1), strict=True)]
    return "\n".join("  " + " ".join(signs[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS))


def main():
    grid = tegu.FiniteEnvironment(
        *tabulate(outcomes, len(TILES), len(MOVES)),
        initial=one_hot(TILES.index("S"), len(TILES)),
        id="Grid",
        action_names=MOVES,
        max_episode_steps=100,
    )
    exact = value_iteration(grid, GAMMA)
    agent = tegu.train(
        grid, "q-learning", seeds=2, steps=2_000_000, gamma=GAMMA, learning_rate="lin_0.1", exploration_final_eps=0.5
    )
    table = np.asarray(agent.learner().table.values)

    inside = [state for state, tile in enumerate(TILES) if tile not in "#GP"]
    error = np.abs(table - exact.action_values)[inside].max()
    print(f"exact\n{arrows(exact.action_values)}\nlearned\n{arrows(table)}")
    exactly, learned = start_value(grid, exact.values), table[TILES.index("S")].max()
    print(f"value of the start: {exactly:.3f} exactly, {learned:.3f} learned")
    print(f"largest error of an action value: {error:.3f}")


if __name__ == "__main__":
    main()
