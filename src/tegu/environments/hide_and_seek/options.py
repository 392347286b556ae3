"""What the options of hide-and-seek may be."""

import dataclasses
from typing import Any, NoReturn

from tegu.core.errors import TeguError
from tegu.environments.hide_and_seek import random_rooms, rooms

WHOLE = {
    **{"hiders": 1, "seekers": 1, "boxes": 1, "ramps": 0, "n_lidar": 0, "horizon": 1, "substeps": 1, "max_rooms": 0},
    **{"rooms": 1, "max_sites": 1, "elongated": 0},
}
"""Whole numbers, and the least they may be."""
FLAGS = ("lockable_ramps", "penalize_objects_out", "entities", "global_state")
RANGES: dict[str, tuple[float, float]] = {
    "prep_fraction": (0, 0.99),
    "one_door": (0, 1),
    "walled": (0, 1),
    "house": (0, 100),
    "floor": (2, 100),
    "max_force": (0, 1e4),
    "max_torque": (0, 1e4),
}
OF_THE_ROOM = ("room_left", "room_top", "door", "one_door", "hiders_anywhere")  #: without random rooms only
OF_RANDOM_ROOMS = ("house", "walled")


def check_values(world: Any) -> None:
    """Raise ``TeguError`` if one of the options above that the world has cannot be what it is."""
    given = {field.name: getattr(world, field.name) for field in dataclasses.fields(world)}
    for name, low in WHOLE.items():
        if name in given and (not _is_whole(given[name]) or given[name] < low):
            refuse(world, name, f"a whole number from {low}")
    for name in FLAGS:
        if name in given and not isinstance(given[name], bool):
            refuse(world, name, "true or false")
    if not _is_whole(world.n_buckets) or world.n_buckets < 3 or world.n_buckets % 2 == 0:
        refuse(world, "n_buckets", "odd and at least 3")
    for name, (least, most) in RANGES.items():
        value = given.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            refuse(world, name, f"from {least:g} to {most:g}")


def refuse(world: Any, name: str, expected: str) -> NoReturn:
    """Raise ``TeguError`` for an option."""
    raise TeguError(f"{world.id}: {name} must be {expected}, got {getattr(world, name)!r}")


def check_options(game: Any) -> None:
    """Raise ``TeguError`` if an option of hide-and-seek cannot be what it is."""
    check_values(game)
    if game.min_boxes is not None and not (_is_whole(game.min_boxes) and 1 <= game.min_boxes <= game.boxes):
        refuse(game, "min_boxes", f"a whole number from 1 to {game.boxes}, the number of boxes")
    fewest = game.boxes if game.min_boxes is None else game.min_boxes
    if not _is_whole(game.min_elongated) or not 0 <= game.min_elongated <= fewest:
        refuse(game, "min_elongated", f"a whole number from 0 to {fewest}, the least number of boxes")
    _check_map(game)
    (_check_house if game.max_rooms else _check_room)(game)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_map(game: Any) -> None:
    """Raise ``TeguError`` if an option is set that the map has no use for."""
    default = {field.name: field.default for field in dataclasses.fields(game)}
    useless, where = (OF_THE_ROOM, "without") if game.max_rooms else (OF_RANDOM_ROOMS, "with")
    for name in useless:
        if (value := getattr(game, name)) != default[name]:
            got = f"{name}={value!r} with max_rooms={game.max_rooms}"
            raise TeguError(f"{game.id}: {name} applies only {where} random rooms, got {got}")


def _check_room(game: Any) -> None:
    if not (1 <= game.room_left <= game.floor - 1 and 1 <= game.room_top <= game.floor):
        raise TeguError(f"{game.id}: the room must be at least 1 m long and wide, and leave 1 m on its left")
    widest = min(game.floor - game.room_left, game.room_top) - 2 * rooms.CORNER
    if not 0 < game.door <= widest:
        raise TeguError(f"{game.id}: door must be above 0 and at most {widest:g} m, got {game.door!r}")


def _check_house(game: Any) -> None:
    cells, least = game.house / random_rooms.CELL, random_rooms.LEAST * random_rooms.CELL
    if abs(cells - round(cells)) > 1e-6 or not least <= game.house <= game.floor - 1:
        raise TeguError(
            f"{game.id}: house must be a multiple of {random_rooms.CELL:g} m from {least:g} m "
            f"to a metre less than the floor, {game.floor - 1:g} m, got {game.house!r}"
        )
