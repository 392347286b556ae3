"""Forts of hide-and-seek: by hand, and against a flood fill by SciPy of a finer grid in float64."""

from functools import cache

import jax
import numpy as np
import pytest
from scipy import ndimage

import tegu
from tegu.environments.hide_and_seek.forts import CELL, SQUEEZE, walkable
from tegu.environments.hide_and_seek.world import RADIUS, Rectangles

TINY = tegu.make("hide-and-seek-tiny")
QUADRANT = tegu.make("hide-and-seek-quadrant", boxes=3, ramps=2, hiders_anywhere=False)
ROOMS = tegu.make("hide-and-seek-rooms", floor=8.0)
HIDER, SEEKER, BOX, RAMP = range(4)
FINE = 0.02  # metres, of the oracle's grid


@cache
def functions(world):
    return jax.jit(jax.vmap(world.reset)), jax.jit(jax.vmap(world.episode_measures))


def beginnings(world, n):
    """Many states, with the first of them also as it is alone."""
    return jax.device_get(functions(world)[0](jax.random.split(jax.random.key(0), n))[0])


def found(world, state):
    return jax.device_get(functions(world)[1](state))


def placed(state, x, y, yaw, **given):
    """With the bodies there at the end of the preparation, and elsewhere now."""
    before = state.prepared._replace(x=np.float32(x), y=np.float32(y), yaw=np.float32(yaw), **given)
    return state._replace(prepared=before, bodies=state.bodies._replace(x=np.full_like(state.bodies.x, 0.2)))


@pytest.fixture(scope="module")
def tiny():
    return beginnings(TINY, 1)


def scene(tiny, *, door=(1.7, 2.3), locked=(False, False), **bodies):
    """Measures of a room on the right of a wall at x = 2, with its door from and to this y."""
    usual = {"hider": (3.0, 2.0, 0), "seeker": (1.0, 2.0, 0), "box": (3.5, 3.5, 0), "ramp": (3.5, 0.5, 0)}
    places = [(usual | bodies)[name] for name in ("hider", "seeker", "box", "ramp")]
    walls = jax.tree.map(np.copy, tiny.walls)
    ends = np.array([-0.5, door[0], door[1], TINY.floor + 0.5])
    walls.y[0, 4:], walls.half_y[0, 4:] = (ends[::2] + ends[1::2]) / 2, (ends[1::2] - ends[::2]) / 2
    x, y, yaw = np.array(places).T[:, None]
    then = placed(tiny, x, y, yaw, hiders_locked=np.array([locked]))
    measures = found(TINY, then._replace(walls=walls))
    return {name: float(value[0]) for name, value in measures.items()}


@pytest.mark.slow
def test_a_fort_keeps_seekers_away_from_hiders_as_things_stood_at_the_end_of_the_preparation(tiny):
    def fort(**given):
        return scene(tiny, **given)["fort"]

    assert fort() == 0  # an open door
    assert fort(door=(2.0, 2.0)) == 1  # a closed one
    assert fort(door=(1.86, 2.14)) == 1  # 28 cm: too narrow
    assert fort(door=(1.83, 2.17)) == 0  # 34 cm
    for x in (1.69, 2.0, 2.31):  # before the door, in it, and behind it
        assert fort(box=(x, 2.0, 0)) == 1
        assert fort(box=(x, 2.6, 0)) == 0  # 60 cm beside it
        assert fort(ramp=(x, 2.0, 0)) == 1  # ramps block, whether or not one could walk up
        assert fort(ramp=(x, 2.0, np.pi)) == 1
    assert fort(box=(2.35, 2.0, np.pi / 4)) == 1
    assert fort(box=(2.75, 2.0, 0)) == 0  # 45 cm behind the wall: one walks around it
    assert fort(door=(2.0, 2.0), seeker=(2.5, 3.5, 0)) == 0  # in the same room
    assert fort(door=(2.0, 2.0), seeker=(2.2, 2.0, 0), box=(2.75, 2.4, 0), hider=(3.5, 1.5, 0)) == 0
    assert fort(hider=(1.5, 3.5, 0), box=(2.0, 2.0, 0)) == 0  # a hider outside of its fort
    assert fort(hider=(1.5, 3.5, 0), seeker=(3.0, 2.0, 0), box=(2.0, 2.0, 0)) == 1  # seekers that are locked in


@pytest.mark.slow
def test_hiders_defend_ramps_and_boxes_by_locking_them_and_ramps_also_in_the_fort(tiny):
    closed = {"door": (2.0, 2.0)}
    assert scene(tiny)["ramp_defence"] == 0
    assert scene(tiny, locked=(False, True))["ramp_defence"] == 1
    assert scene(tiny, **closed)["ramp_defence"] == 1  # it stands in the room
    assert scene(tiny, **closed, ramp=(0.5, 0.5, 0))["ramp_defence"] == 0
    assert scene(tiny, **closed, ramp=(2.3, 2.0, 0))["ramp_defence"] == 1  # at the wall, but behind it
    assert scene(tiny, **closed)["surf_defence"] == 0
    assert scene(tiny, locked=(True, False))["surf_defence"] == 1
    assert scene(tiny, locked=(False, True))["surf_defence"] == 0


def can_touch(x, y, obstacles, floor, hiders, n_agents, radius, touch):
    """Whether discs of a radius that begin where seekers are get to within ``touch`` of a hider, by their centres."""
    grid = np.arange(0, floor + 1e-9, FINE)
    at_x, at_y = grid[:, None], grid[None]
    free = np.ones((len(grid), len(grid)), bool)
    for centre_x, centre_y, yaw, half_x, half_y in zip(*obstacles, strict=True):
        turned = (at_x - centre_x + 1j * (at_y - centre_y)) * np.exp(-1j * yaw)
        out_x, out_y = np.abs(turned.real) - half_x, np.abs(turned.imag) - half_y
        free &= np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) > radius
    regions, _ = ndimage.label(free)

    def near(i, distance):
        return set(regions[np.hypot(at_x - x[i], at_y - y[i]) <= distance].tolist()) - {0}

    start = set().union(*(near(i, 0.03) for i in range(hiders, n_agents)))
    return any(near(i, touch) & start for i in range(hiders))


@pytest.mark.slow
@pytest.mark.parametrize(("world", "n"), [(TINY, 80), (QUADRANT, 60), (ROOMS, 20)], ids=["tiny", "quadrant", "rooms"])
def test_forts_are_those_that_a_flood_fill_of_a_finer_grid_finds(world, n):
    """Objects often in doors and around hiders. Gaps may be judged a few centimetres too narrow or too wide."""
    state, draw, n_agents, n_objects = (
        beginnings(world, n),
        np.random.default_rng(0),
        len(world.agents),
        world.boxes + world.ramps,
    )
    x, y = np.array(state.bodies.x), np.array(state.bodies.y)
    yaw = draw.uniform(-np.pi, np.pi, x.shape)
    shape = n, n_objects
    if world is ROOMS:  # around the hiders
        angle = 2 * np.pi * np.arange(n_objects) / n_objects + draw.normal(0, 0.1, shape)
        radius = np.linspace(0.9, 1.5, n)[:, None]
        x[:, n_agents:], y[:, n_agents:] = x[:, :1] + radius * np.cos(angle), y[:, :1] + radius * np.sin(angle)
        yaw[:, n_agents:] = angle + np.pi / 2
    else:  # in the wall of the door, or anywhere
        beside = world.room_left + draw.normal(0, 0.15, shape)
        x[:, n_agents:] = np.where(draw.random(shape) < 0.6, beside, x[:, n_agents:])
        y[:, n_agents:] = draw.uniform(0.3, world.room_top - 0.3, shape)
    forts = found(world, placed(state, x, y, yaw))["fort"]
    sides = state.walls.half_x, state.walls.half_y
    certain = []
    for i in range(n):
        walls = [state.walls.x[i], state.walls.y[i], np.zeros_like(state.walls.x[i]), sides[0][i], sides[1][i]]
        things = [x[i, n_agents:], y[i, n_agents:], yaw[i, n_agents:], state.half_x[i], state.half_y[i]]
        obstacles = [np.concatenate(pair).astype(float) for pair in zip(walls, things, strict=True)]
        given = x[i].astype(float), y[i].astype(float), obstacles, world.floor, world.hiders, n_agents
        open_for_wider = can_touch(*given, RADIUS + 0.025, 2 * RADIUS)
        open_for_narrower = can_touch(*given, RADIUS - 0.025, 2 * RADIUS + 0.08)
        assert open_for_narrower or not open_for_wider
        if open_for_wider or not open_for_narrower:
            certain.append(i)
            assert forts[i] == (not open_for_wider), i
    assert len(certain) > 0.8 * n
    assert 0.05 < forts[certain].mean() < 0.95


@pytest.mark.slow
def test_the_places_reached_are_a_connected_region_cell_by_cell():
    """By SciPy on the same grid, with steps to all eight neighbours."""
    draw = np.random.default_rng(1)
    fill = jax.jit(walkable, static_argnums=3)
    for _ in range(10):
        x, y, yaw = draw.uniform((0, 0, -3), (4, 4, 3), (12, 3)).T
        sides = np.full(12, 0.4), np.full(12, 0.05)
        turned = np.cos(yaw), np.sin(yaw)
        given = (np.float32(part) for part in (x, y, *turned, *sides, sides[0]))
        reached = np.asarray(
            fill(np.float32([1.012]), np.float32([3.018]), Rectangles(*given, np.zeros(12, bool)), 4.0)
        )
        grid = CELL * np.arange(81)
        at_x, at_y = grid[:, None], grid[None]
        free = np.ones((81, 81), bool)
        for centre_x, centre_y, angle in zip(x, y, yaw, strict=True):
            own = (at_x - centre_x + 1j * (at_y - centre_y)) * np.exp(-1j * angle)
            out_x, out_y = np.maximum(np.abs(own.real) - 0.4, 0), np.maximum(np.abs(own.imag) - 0.05, 0)
            free &= np.hypot(out_x, out_y) > RADIUS - SQUEEZE
        regions, _ = ndimage.label(free, np.ones((3, 3)))
        begun = set(regions[np.hypot(at_x - 1.012, at_y - 3.018) <= 2 * CELL].tolist()) - {0}
        np.testing.assert_array_equal(reached, np.isin(regions, list(begun)))
