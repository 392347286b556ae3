"""Taxi: fetch a passenger from one of four stands and bring them to another."""

import numpy as np

from tegu.environments.drawing import INK, Canvas
from tegu.environments.grids.finite import FiniteEnvironment, Transition, neighbour, tabulate

_ACTIONS = ("south", "north", "east", "west", "pickup", "dropoff")
_MOVES = ("down", "up", "right", "left")
_SIZE = 5
_STANDS = {"R": 0, "G": 4, "Y": 20, "B": 23}  # the tile of each
_PLACES = (*_STANDS, "taxi")  # where the passenger can be
_WALLS = {1, 6, 15, 17, 20, 22}  # tiles with a wall on their east side
_RIDING = 4
_COLOURS = ((208, 74, 66), (74, 150, 92), (226, 190, 60), (70, 110, 190))
_SHAPE = (_SIZE * _SIZE, len(_PLACES), len(_STANDS))  # a state is (taxi's tile, passenger, destination)


class Taxi(FiniteEnvironment):
    """The taxi problem (Dietterich 2000), as Gymnasium's ``Taxi-v4`` with its default, certain, transitions.

    A state is ``(tile * 5 + passenger) * 4 + destination``: the taxi's tile row by row on a 5 x 5 map, the passenger at
    one of the stands R, G, Y, B or in the taxi (4), and the stand to go to; 500 in all. Actions 0 to 5 are south,
    north, east, west, pickup, dropoff. A step costs 1, a pickup or dropoff where it is impossible costs 10, and
    bringing the passenger to the destination pays 20 and ends the episode. The first state is any with a waiting
    passenger who wants to go elsewhere.
    """

    def __init__(self) -> None:
        names = []
        initial = np.zeros(_SHAPE)
        for tile, passenger, destination in np.ndindex(_SHAPE):
            names.append(f"{tile // _SIZE},{tile % _SIZE} {_PLACES[passenger]}-{_PLACES[destination]}")
            initial[tile, passenger, destination] = passenger not in (_RIDING, destination)
        super().__init__(
            *tabulate(_outcomes, initial.size, len(_ACTIONS)),
            initial=initial.ravel() / initial.sum(),
            id="Taxi-v4",
            state_names=names,
            action_names=_ACTIONS,
            max_episode_steps=200,
        )

    def image(self, state: np.ndarray) -> np.ndarray:
        tile, passenger, destination = _decode(int(state))
        cell, edge = 96, 10
        side = _SIZE * cell + 2 * edge

        def middle(tile: int) -> np.ndarray:
            return np.array([edge + (tile % _SIZE + 0.5) * cell, edge + (tile // _SIZE + 0.5) * cell])

        canvas = Canvas(side, side, INK)
        for index in range(_SIZE * _SIZE):
            x, y = middle(index)
            canvas.rectangle((x - cell / 2, y - cell / 2, x + cell / 2, y + cell / 2), (222, 222, 216))
            canvas.rectangle((x - cell / 2 + 1, y - cell / 2 + 1, x + cell / 2 - 1, y + cell / 2 - 1), (236, 236, 231))
        for stand, (letter, index) in enumerate(_STANDS.items()):
            x, y = middle(index)
            canvas.rectangle((x - 42, y - 42, x + 42, y + 42), _COLOURS[stand], radius=8)
            canvas.rectangle((x - 37, y - 37, x + 37, y + 37), (248, 248, 244), radius=5)
            canvas.text((x + 26, y - 25), letter, _COLOURS[stand], 20)
            if stand == destination:
                canvas.flag((x - 28, y + 32), 44, _COLOURS[stand])
            if stand == passenger:
                canvas.person((x + 24, y + 16), 38, _COLOURS[destination])
        for index in _WALLS:
            x, y = middle(index)
            canvas.line([(x + cell / 2, y - cell / 2), (x + cell / 2, y + cell / 2)], INK, 7)
        _draw_taxi(canvas, middle(tile), passenger == _RIDING, _COLOURS[destination])
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        """The map with brackets around the taxi and ``|`` for walls, and what it has to do."""
        tile, passenger, destination = _decode(int(state))
        letters = {index: letter for letter, index in _STANDS.items()}
        lines = ["+" + "-" * (4 * _SIZE - 1) + "+"]
        for row in range(_SIZE):
            line = "|"
            for index in range(row * _SIZE, (row + 1) * _SIZE):
                letter = letters.get(index, " ")
                line += f"[{letter}]" if index == tile else f" {letter} "
                line += "|" if index in _WALLS or index % _SIZE == _SIZE - 1 else " "
            lines.append(line)
        place = "in the taxi" if passenger == _RIDING else f"at {_PLACES[passenger]}"
        return "\n".join([*lines, lines[0], f"passenger {place}, to {_PLACES[destination]}"])


def _decode(state: int) -> tuple[int, ...]:
    return tuple(int(part) for part in np.unravel_index(state, _SHAPE))


def _outcomes(state: int, action: int) -> list[Transition]:
    tile, passenger, destination = _decode(state)
    stands = list(_STANDS.values())
    reward, terminated = -1.0, False
    if action < len(_MOVES):
        move = _MOVES[action]
        target = neighbour(tile, move, _SIZE, _SIZE)
        if not (move == "right" and tile in _WALLS) and not (move == "left" and target in _WALLS):
            tile = target
    elif _ACTIONS[action] == "pickup" and passenger != _RIDING and tile == stands[passenger]:
        passenger = _RIDING
    elif _ACTIONS[action] == "dropoff" and passenger == _RIDING and tile in stands:
        passenger = stands.index(tile)
        terminated = passenger == destination
        reward = 20.0 if terminated else -1.0
    else:
        reward = -10.0
    return [(1.0, int(np.ravel_multi_index((tile, passenger, destination), _SHAPE)), reward, terminated)]


def _draw_taxi(canvas: Canvas, centre: np.ndarray, occupied: bool, colour: tuple[int, int, int]) -> None:
    x, y = centre
    yellow, glass = (244, 190, 46), (206, 226, 238)
    canvas.polygon([(x - 24, y), (x - 14, y - 19), (x + 14, y - 19), (x + 24, y)], yellow)
    canvas.polygon([(x - 17, y - 1), (x - 10, y - 14), (x - 2, y - 14), (x - 2, y - 1)], glass)
    canvas.polygon([(x + 17, y - 1), (x + 10, y - 14), (x + 2, y - 14), (x + 2, y - 1)], glass)
    canvas.rectangle((x - 9, y - 26, x + 9, y - 18), INK, radius=2)
    canvas.rectangle((x - 36, y - 2, x + 36, y + 17), yellow, radius=7)
    for step in range(8):
        canvas.rectangle((x - 32 + 8 * step, y + 5 + step % 2 * 4, x - 24 + 8 * step, y + 9 + step % 2 * 4), INK)
    if occupied:
        canvas.disc((x + 8, y - 7), 5, colour)
    for wheel in (-20, 20):
        canvas.disc((x + wheel, y + 17), 8, INK)
        canvas.disc((x + wheel, y + 17), 3, (200, 204, 208))
