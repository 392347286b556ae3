"""Hide-and-seek in random rooms: maps that one can walk through, and who and what is there when an episode begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.environments.hide_and_seek import random_rooms
from tegu.environments.hide_and_seek.geometry import corners, nearest, objects
from tegu.environments.hide_and_seek.world import RADIUS, Rectangles

ROOMS = tegu.make("hide-and-seek-rooms")
PLAN = random_rooms.RandomRooms(18.0, 6.0, 4, 0.5)
N_MAPS, N_AGENTS = 300, 4
FINE = 0.05  # metres, of the raster


@pytest.fixture(scope="module")
def maps():
    """Walls in cells, and their rectangles, of many maps; batch first."""
    draws = jax.random.uniform(jax.random.key(1), (PLAN.n_draws, N_MAPS))
    walls, rectangles = jax.device_get((random_rooms.walls_inside(PLAN, draws), PLAN.walls(draws)))
    return walls, jax.tree.map(lambda part: part.T, rectangles), np.asarray(draws)


@pytest.fixture(scope="module")
def beginnings():
    keys = jax.random.split(jax.random.key(0), N_MAPS)
    return jax.device_get(jax.jit(jax.vmap(ROOMS.reset))(keys))


def regions(free):
    """Connected regions of a raster, each a set of its cells, by flood fill."""
    left, found = set(zip(*np.nonzero(free), strict=True)), []
    while left:
        frontier, region = [left.pop()], set()
        while frontier:
            i, j = frontier.pop()
            region.add((i, j))
            for neighbour in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if neighbour in left:
                    left.remove(neighbour)
                    frontier.append(neighbour)
        found.append(region)
    return found


def raster(walls, radius, closed=()):
    """Where in the house a disc of that radius fits, for rectangles that are not turned; ``closed``: further ones."""
    middle = 6 + FINE * (np.arange(round(6 / FINE)) + 0.5)
    x, y = np.meshgrid(middle, middle, indexing="ij")
    free = (np.minimum(x, y) > 6 + radius) & (np.maximum(x, y) < 12 - radius)
    for at_x, at_y, half_x, half_y in [*zip(walls.x, walls.y, walls.half_x, walls.half_y, strict=True), *closed]:
        out_x, out_y = np.maximum(np.abs(x - at_x) - half_x, 0), np.maximum(np.abs(y - at_y) - half_y, 0)
        free &= np.hypot(out_x, out_y) > radius
    return free


def test_an_agent_can_walk_from_every_room_to_every_other_and_doors_are_all_that_joins_them(maps):
    walls, rectangles, _ = maps
    for index in range(60):
        inner = Rectangles(*(part[index, 8:] for part in rectangles))
        assert len(regions(raster(inner, RADIUS))) == 1, index
        doors = []
        for wall in walls:
            if wall.exists[index]:
                along, across = 6 + 0.2 * (wall.door[index] + 1), 6 + 0.2 * wall.at[index]
                doors.append((across, along, 0.05, 0.2) if wall.upright[index] else (along, across, 0.2, 0.05))
        rooms = regions(raster(inner, 0.0, doors))
        assert len(rooms) == 1 + len(doors)
        for room in rooms:  # a rectangle, with at least six cells between the middles of walls along each side
            sides = np.ptp(np.array(list(room)), axis=0) + 1
            assert np.prod(sides) == len(room)
            assert (sides * FINE > 6 * 0.2 - 0.1 - 1e-6).all()


def test_where_no_wall_fits_there_are_fewer_rooms_and_no_walls_of_no_length():
    small = random_rooms.RandomRooms(6.0, 2.4, 4, 0.5)
    draws = jax.random.uniform(jax.random.key(2), (small.n_draws, 2000))
    rectangles = jax.device_get(small.walls(draws))
    inner = jax.tree.map(lambda part: part[8:], rectangles)
    exist = inner.half_x != 0
    assert (inner.half_x[exist] > 0).all()
    assert (inner.half_y[exist] > 0).all()
    assert 0 < exist.sum() < 2 * np.floor(4 * draws[0]).sum()


def test_all_numbers_of_rooms_are_equally_likely_and_half_of_the_houses_are_walled(maps):
    walls, rectangles, draws = maps
    n_walls = np.sum([wall.exists for wall in walls], axis=0)
    np.testing.assert_array_equal(n_walls, np.floor(4 * draws[0]))  # one wall less than rooms; none had to be left out
    walled = rectangles.half_x[:, 4:8] > 0
    np.testing.assert_array_equal(walled, np.repeat(draws[1][:, None] < 0.5, 4, axis=1))
    assert (rectangles.top[:, :8] == 4).all()
    assert (rectangles.top[:, 8:] == 0.5).all()
    absent = rectangles.half_x == 0
    assert (rectangles.x[absent] < -1).all()
    assert set(np.bincount(n_walls.astype(int), minlength=4) > N_MAPS / 8) == {True}


def test_bodies_begin_in_the_house_apart_from_all_else(beginnings):
    state, _ = beginnings
    x, y = state.bodies.x, state.bodies.y
    there = np.concatenate([np.ones((N_MAPS, N_AGENTS), bool), state.exist], axis=1)
    assert ((x > 6) & (x < 12) & (y > 6) & (y < 12))[there].all()
    first = np.array([0, 0, 2, 2])  # of each team
    assert (np.abs(x[:, :4] - x[:, first]) <= 0.5).all()
    assert (np.abs(y[:, :4] - y[:, first]) <= 0.5).all()
    to_walls = nearest(x[:, :4, None], y[:, :4, None], jax.tree.map(lambda part: part[:, None], state.walls)).distance
    among = np.hypot(x[:, :4, None] - x[:, None, :4], y[:, :4, None] - y[:, None, :4])[:, *np.triu_indices(4, 1)]
    assert (to_walls.min(axis=(1, 2)) < RADIUS).mean() < 0.02  # of all places tried none may be free
    assert (among.min(axis=1) < 2 * RADIUS).mean() < 0.02

    def corners_within(one):
        """How deep corners of objects are in walls and in other objects."""
        boxes = objects(one, ROOMS.boxes)
        corner_x, corner_y = (part[:, :, None] for part in corners(boxes))
        within = nearest(corner_x, corner_y, jax.tree.map(lambda part: part[None, None], boxes)).distance
        own = jnp.eye(len(boxes.x), dtype=bool)[:, None]
        to_walls = nearest(corner_x, corner_y, jax.tree.map(lambda part: part[None, None], one.walls)).distance
        return jnp.minimum(jnp.where(own, 1, within).min(), to_walls.min())

    deepest = np.asarray(jax.jit(jax.vmap(corners_within))(state))
    assert (deepest < 0).mean() < 0.03


def test_boxes_are_as_many_and_as_long_as_drawn(beginnings):
    state, _ = beginnings
    boxes = state.exist[:, :9]
    counts, long = boxes.sum(axis=1), (boxes & (state.half_x[:, :9] > 0.5)).sum(axis=1)
    assert set(counts) == set(range(3, 10))
    assert state.exist[:, 9:].all()
    assert (long >= 3).all()
    assert (long <= counts).all()
    assert set(long[counts == 9]) == set(range(3, 10))
    sides = {tuple(pair) for pair in np.round(2 * np.stack([state.half_x, state.half_y], axis=-1), 3).reshape(-1, 2)}
    assert sides == {tuple(np.float32([1.65, 0.15]).round(3)), tuple(np.float32([0.5, 0.5]))}


@pytest.mark.slow
def test_what_does_not_exist_is_unseen_untouched_and_of_no_effect(beginnings):
    """However the agents move and grab. Where objects must stay on the floor nobody pays for those that are not."""
    state, _ = jax.tree.map(lambda leaf: leaf[:8], beginnings)
    given = {"global_state": True, "entities": True, "penalize_objects_out": True, "prep_fraction": 0.0}
    world = tegu.make("hide-and-seek-rooms", **given)

    def play(state, key):
        action_key, key = jax.random.split(key)
        action = jax.random.randint(action_key, (N_AGENTS, 5), 0, jnp.array([11, 11, 11, 2, 2]))
        timestep = world.step(state, dict(zip(world.agents, action, strict=True)), key)
        return timestep.state, (timestep.state, timestep.observation, world.measures(timestep.state), timestep.reward)

    run = jax.jit(jax.vmap(lambda state, key: jax.lax.scan(play, state, jax.random.split(key, 30))[1]))
    after, seen, measures, rewards = jax.device_get(run(state, jax.random.split(jax.random.key(5), 8)))
    absent = ~state.exist
    assert absent.any()
    for now, then in zip(after.bodies, state.bodies, strict=True):
        assert (now[:, :, N_AGENTS:] == then[:, None, N_AGENTS:])[np.repeat(absent[:, None], 30, axis=1)].all()
    absent = np.repeat(absent[:, None], 30, axis=1)[:, :, : ROOMS.boxes]
    assert not after.visible[:, :, :, N_AGENTS:-2][np.repeat(absent[:, :, None], N_AGENTS, axis=2)].any()
    for name in world.agents:
        assert not seen[name]["boxes"][absent].any()
    assert not seen["state"]["boxes"][absent].any()
    assert (seen["state"]["boxes"][~absent].any(axis=-1)).all()
    assert not after.locked[:, :, : ROOMS.boxes][absent].any()
    for reward in rewards.values():
        assert set(np.unique(reward)) == {-1, 1}
    assert (measures["num_box_lock"] <= (~absent).sum(axis=2)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_boxes": 10}, "min_boxes must be a whole number from 1 to 9, the number of boxes, got 10"),
        ({"min_elongated": 4}, "min_elongated must be a whole number from 0 to 3, the least number of boxes, got 4"),
        ({"walled": 1.5}, "walled must be from 0 to 1, got 1.5"),
        ({"max_rooms": -1}, "max_rooms must be a whole number from 0, got -1"),
        ({"door": 0.5}, "door applies only without random rooms, got door=0.5 with max_rooms=4"),
        ({"house": "6"}, "house must be from 0 to 100, got '6'"),
        ({"house": float("nan")}, "house must be from 0 to 100, got nan"),
        ({"house": 5.1}, "house must be a multiple of 0.2 m from 1.2 m to a metre less than the floor, 17 m, got 5.1"),
        (
            {"house": 18.0},
            "house must be a multiple of 0.2 m from 1.2 m to a metre less than the floor, 17 m, got 18.0",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(tegu.TeguError) as refused:
        tegu.make("hide-and-seek-rooms", **wrong)
    assert str(refused.value) == f"hide-and-seek-rooms: {message}"


def test_options_of_random_rooms_do_not_apply_to_the_one_room():
    with pytest.raises(
        tegu.TeguError, match=r"walled applies only with random rooms, got walled=0\.2 with max_rooms=0"
    ):
        tegu.make("hide-and-seek-tiny", walled=0.2)
    assert tegu.make("hide-and-seek-tiny", walled=0.5, house=6.0)  # as they are by default


def test_the_names_and_spaces_are_those_of_the_original():
    assert ROOMS.agents == ("hider_0", "hider_1", "seeker_0", "seeker_1")
    assert (ROOMS.max_episode_steps, ROOMS.prep_steps) == (240, 96)
    assert (len(ROOMS.layout.boxes), len(ROOMS.layout.ramps), ROOMS.n_lidar) == (9, 2, 30)
    assert tegu.make("hide-and-seek-rooms", hiders=3, seekers=1).agents[3] == "seeker_0"
