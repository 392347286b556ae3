"""The world of hide-and-seek seen from above."""

from collections.abc import Sequence

import numpy as np

from tegu.environments.drawing import GREEN, INK, PAPER, RED, STEEL, WOOD, Canvas, Colour
from tegu.environments.hide_and_seek.sight import HALF_CONE
from tegu.environments.hide_and_seek.world import AGENT_HEIGHT, N_OUTER, RADIUS, State

SIDE = 500  #: pixels
EDGE = 14  #: pixels around the floor
FREE: Colour = (226, 190, 120)
RAMP: Colour = (200, 200, 190)
TEAMS: tuple[Colour, Colour] = (STEEL, RED)  #: hiders, seekers
CONE_LENGTH = 0.9  #: metres


def draw(
    state: State, floor: float, corner: float, n_boxes: int, n_hiders: int, marks: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """For a NumPy pytree: the floor between its corner at ``(corner, corner)`` and the opposite one.

    A locked object has the colour of the team that locked it; a ramp's arrow points upwards; a line joins an agent and
    what it holds; the higher an agent is the larger it is drawn. ``marks``: closed lines on the floor,
    each ``[K, 2]`` in metres.
    """
    scale = (SIDE - 2 * EDGE) / (floor - 2 * corner)
    n_agents = len(state.z)
    bodies = state.bodies

    def pixel(x: float, y: float) -> np.ndarray:
        return np.array([EDGE + scale * (x - corner), SIDE - EDGE - scale * (y - corner)])

    def rectangle(x: float, y: float, yaw: float, half_x: float, half_y: float) -> list[np.ndarray]:
        cos, sin = np.cos(yaw), np.sin(yaw)
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        own = [(i * half_x, j * half_y) for i, j in signs]
        return [pixel(x + cos * a - sin * b, y + sin * a + cos * b) for a, b in own]

    canvas = Canvas(SIDE, SIDE, INK)
    canvas.polygon(rectangle(floor / 2, floor / 2, 0, floor / 2, floor / 2), PAPER)
    for agent in range(n_agents):
        x, y, yaw = (float(part[agent]) for part in bodies[:3])
        angles = yaw + np.linspace(-HALF_CONE, HALF_CONE, 20)
        arc = np.clip([(x + CONE_LENGTH * np.cos(a), y + CONE_LENGTH * np.sin(a)) for a in angles], 0, floor)
        red, green, blue = (
            round(0.25 * a + 0.75 * b) for a, b in zip(TEAMS[int(agent >= n_hiders)], PAPER, strict=True)
        )
        canvas.polygon([pixel(x, y), *(pixel(*point) for point in arc)], (red, green, blue))
    walls = state.walls
    for x, y, cos, sin, half_x, half_y, *_ in zip(*(part[N_OUTER:] for part in walls), strict=True):
        if half_x > 0 and half_y > 0:
            canvas.polygon(rectangle(x, y, np.arctan2(sin, cos), half_x, half_y), INK)
    for mark in marks:
        canvas.line([pixel(x, y) for x, y in [*mark, mark[0]]], GREEN, 4)
    for index in np.flatnonzero(state.exist).tolist():
        locked, locker = state.locked[index], state.locker[index]
        x, y, yaw = (float(part[n_agents + index]) for part in bodies[:3])
        half_x, half_y = float(state.half_x[index]), float(state.half_y[index])
        is_box = index < n_boxes
        colour = TEAMS[int(locker >= n_hiders)] if locked else FREE if is_box else RAMP
        canvas.polygon(rectangle(x, y, yaw, half_x, half_y), WOOD if is_box else INK)
        canvas.polygon(rectangle(x, y, yaw, half_x - 0.03, half_y - 0.03), colour)
        if not is_box:
            cos, sin = np.cos(yaw), np.sin(yaw)
            tip, tail = half_x - 0.06, 0.06 - half_x
            points = [(tip, 0.0), (tail, half_y - 0.08), (tail, 0.08 - half_y)]
            canvas.polygon([pixel(x + cos * a - sin * b, y + sin * a + cos * b) for a, b in points], INK)
    for agent in range(n_agents):
        x, y, yaw = (float(part[agent]) for part in bodies[:3])
        colour = TEAMS[int(agent >= n_hiders)]
        for index in np.flatnonzero(state.holds[agent]).tolist():
            grasp = pixel(float(bodies.x[n_agents + index]), float(bodies.y[n_agents + index]))
            canvas.line([pixel(x, y), grasp], GREEN, 4)
        radius = scale * RADIUS * (1 + 0.5 * min(float(state.z[agent]) / AGENT_HEIGHT, 1))
        canvas.disc(pixel(x, y), radius, INK)
        canvas.disc(pixel(x, y), radius - 2, colour)
        canvas.disc(pixel(x + 0.08 * np.cos(yaw), y + 0.08 * np.sin(yaw)), 0.3 * radius, PAPER)
    return canvas.array()
