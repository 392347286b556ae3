"""Solving levels of Sokoban by breadth-first search over pushes."""

from collections import deque
from collections.abc import Iterable

import numpy as np

from tegu.environments.sokoban.levels import BOX, DIRECTIONS, PLAYER, TARGET, WALL, parse_level

_Position = tuple[frozenset[int], int]  #: the boxes, and the first of the cells that the player can reach
_Push = tuple[int, int]  #: the box's cell, and the direction


def solve(level: str | np.ndarray) -> list[int] | None:
    """Actions (0 to 3: up, down, left, right) that solve a level with the fewest pushes; None if none do.

    ``level``: text as ``parse_level`` takes it, or cells ``[rows, columns]``, such as a state. Breadth-first over boxes
    and the part of the room that the player can reach; boxes are not pushed to where a single box could not be brought
    to any target. Time and memory grow with the number of such positions: a level of 10 x 10 cells with 4 boxes takes
    seconds, larger ones may take very long.
    """
    cells = parse_level(level) if isinstance(level, str) else np.asarray(level)
    flat, steps = cells.ravel().tolist(), (DIRECTIONS @ np.array([cells.shape[1], 1])).tolist()
    walls, targets, boxes = ({i for i, cell in enumerate(flat) if cell & thing} for thing in (WALL, TARGET, BOX))
    start = next(i for i, cell in enumerate(flat) if cell & PLAYER)
    alive = _alive(walls, targets, steps)

    first: _Position = frozenset(boxes), min(_ways(start, walls | boxes, steps))
    came: dict[_Position, tuple[_Position, _Push] | None] = {first: None}
    waiting = deque([(first, start)])
    while waiting:
        position, player = waiting.popleft()
        boxes = set(position[0])
        if boxes <= targets:
            return _actions(_pushes(position, came), start, walls, set(first[0]), steps)
        reached = _ways(player, walls | boxes, steps)
        for box in boxes:
            for direction, step in enumerate(steps):
                to = box + step
                if box - step not in reached or to not in alive or to in boxes:
                    continue
                moved = position[0] - {box} | {to}
                after = moved, min(_ways(box, walls | moved, steps))
                if after not in came:
                    came[after] = position, (box, direction)
                    waiting.append((after, box))
    return None


def _alive(walls: set[int], targets: Iterable[int], steps: list[int]) -> set[int]:
    """The cells from which a box that is alone in the room can be pushed to a target: pulled backwards from there."""
    alive, waiting = set(targets), list(targets)
    while waiting:
        cell = waiting.pop()
        for step in steps:
            before = cell - step
            if before not in walls and before - step not in walls and before not in alive:
                alive.add(before)
                waiting.append(before)
    return alive


def _ways(start: int, blocked: set[int] | frozenset[int], steps: list[int]) -> dict[int, int]:
    """The cells that can be walked to, each with the direction of the last step of a shortest way (-1: the start)."""
    ways, waiting = {start: -1}, deque([start])
    while waiting:
        cell = waiting.popleft()
        for direction, step in enumerate(steps):
            to = cell + step
            if to not in blocked and to not in ways:
                ways[to] = direction
                waiting.append(to)
    return ways


def _pushes(position: _Position, came: dict[_Position, tuple[_Position, _Push] | None]) -> list[_Push]:
    """The pushes that led to a position, in their order."""
    pushes = []
    while (before := came[position]) is not None:
        position, push = before
        pushes.append(push)
    return pushes[::-1]


def _actions(pushes: list[_Push], player: int, walls: set[int], boxes: set[int], steps: list[int]) -> list[int]:
    """All moves for some pushes: a shortest way to each of them, and the push."""
    actions = []
    for box, direction in pushes:
        ways, cell, walk = _ways(player, walls | boxes, steps), box - steps[direction], []
        while ways[cell] >= 0:
            walk.append(ways[cell])
            cell -= steps[ways[cell]]
        actions += [*walk[::-1], direction]
        boxes = boxes - {box} | {box + steps[direction]}
        player = box
    return actions
