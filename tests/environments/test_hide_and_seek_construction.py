"""Tests of construction in the world of hide-and-seek: rewards by hand in float64, and where things begin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.check.jax_environments import check_jax
from tegu.environments.hide_and_seek.blueprint import SITE
from tegu.environments.hide_and_seek.sight import LIDAR_RANGE

BLUEPRINT, SHELTER = tegu.make("hide-and-seek-blueprint"), tegu.make("hide-and-seek-shelter")
KEY = jax.random.key(0)
GAMES = 40
NO_PUSH = jnp.array([5, 5, 5, 0, 0])


def begin(environment):
    """Many trials, and what is observed; batch first."""
    return jax.device_get(jax.jit(jax.vmap(environment.reset))(jax.random.split(KEY, GAMES)))


@pytest.fixture(scope="module")
def blueprints():
    return begin(BLUEPRINT)


@pytest.fixture(scope="module")
def shelters():
    return begin(SHELTER)


def one_of(trials, game):
    return jax.tree.map(lambda leaf: np.array(leaf[game]), trials)


def corners_of(x, y, yaw=0.0, length=0.5, width=0.5):
    half = 0.5 * np.array([(-length, -width), (length, -width), (length, width), (-length, width)])
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    return np.array([x, y], np.float64) + half @ turn


def blueprint_by_hand(trial):
    """The reward, and which of the sites that there are have a box."""
    bodies, sites = trial.world.bodies, trial.goal
    boxes = [corners_of(*(np.float64(part[i]) for part in bodies[:3])) for i in range(1, 9)]
    paid, built = [], []
    for x, y, exists in zip(*sites, strict=True):
        if not exists:
            continue
        middle = min(np.hypot(bodies.x[i] - x, bodies.y[i] - y) for i in range(1, 9))
        near = []
        for corner in corners_of(x, y):
            apart = np.array([np.linalg.norm(corner - other) for box in boxes for other in box])
            paid.append((apart * np.exp(-1.5 * apart)).sum() / np.exp(-1.5 * apart).sum())
            near.append(apart.min())
        built.append(middle < 0.1 and max(near) < 0.1)
    return -0.05 * np.mean(paid) + 3 * len(built) * all(built), np.array(built)


@pytest.mark.slow
def test_a_blueprint_pays_as_by_hand(blueprints):
    """Boxes where they begin, at some sites, and at all; turned by quarters or by eighths, or nearly."""
    random, ended = np.random.default_rng(0), []
    judged, measures = jax.jit(BLUEPRINT.judged), jax.jit(BLUEPRINT.measures)
    for game in range(GAMES):
        trial = one_of(blueprints[0], game)
        bodies, sites = trial.world.bodies, trial.goal
        placed = range(random.integers(0, 5) if game % 4 else 4)
        for box, site in zip(1 + random.permutation(8)[: len(placed)], placed, strict=True):
            if sites.exist[site]:
                bodies.x[box], bodies.y[box] = np.array([sites.x[site], sites.y[site]]) + 0.05 * random.random(2)
                bodies.yaw[box] = np.pi / 2 * random.integers(4) + (
                    np.pi / 4 if game % 8 == 1 else random.choice([0.1, 0.4]) * random.random()
                )
        expected, built = blueprint_by_hand(trial)
        reward, done = judged(trial, trial)
        assert reward == pytest.approx(expected, abs=1e-5)
        assert bool(done) == all(built)
        found = jax.device_get(measures(trial))
        assert found["built"] == pytest.approx(built.mean())
        assert found["success"] == all(built)
        ended.append(all(built))
    assert 5 < sum(ended) < 30


@pytest.mark.slow
def test_the_last_box_ends_the_episode(blueprints):
    game = int(np.flatnonzero(blueprints[0].goal.exist.sum(axis=1) == 2)[0])
    trial, step = one_of(blueprints[0], game), jax.jit(BLUEPRINT.step)
    before = jax.device_get(step(trial, NO_PUSH, KEY))
    assert not before.terminated
    assert -0.5 < before.reward < 0
    for site in range(2):
        trial.world.bodies.x[1 + site], trial.world.bodies.y[1 + site] = trial.goal.x[site], trial.goal.y[site]
        trial.world.bodies.yaw[1 + site] = np.pi / 2
    after = jax.device_get(step(trial, NO_PUSH, KEY))
    assert after.terminated
    assert after.reward == pytest.approx(blueprint_by_hand(after.state)[0], abs=1e-5)
    assert after.reward > 5.5
    trial.world.bodies.yaw[1] = np.pi / 4  # the middle alone is not enough
    assert not step(trial, NO_PUSH, KEY).terminated
    for box, (x, y) in enumerate(((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5))):  # nor are the corners of four
        trial.world.bodies.x[[1, 3, 4, 5][box]] = trial.goal.x[0] + x
        trial.world.bodies.y[[1, 3, 4, 5][box]] = trial.goal.y[0] + y
        trial.world.bodies.yaw[[1, 3, 4, 5][box]] = 0
    assert not jax.jit(BLUEPRINT.judged)(trial, trial)[1]


def test_sites_are_at_free_places_and_always_observed(blueprints):
    trials, seen = blueprints
    sites, bodies = trials.goal, trials.world.bodies
    number = sites.exist.sum(axis=1)
    assert set(number) == {1, 2, 3, 4}
    rows = seen[:, BLUEPRINT.layout.size :].reshape(GAMES, 4, len(SITE))
    np.testing.assert_array_equal(rows[..., SITE.index("exists")], sites.exist)
    assert not rows[~sites.exist].any()
    for game, site in zip(*np.nonzero(sites.exist), strict=True):
        x, y = sites.x[game, site], sites.y[game, site]
        assert min(x, y) > 6.66
        assert max(x, y) < 11.34
        assert np.hypot(bodies.x[game, 1:] - x, bodies.y[game, 1:] - y).min() > 0.5
        assert np.hypot(bodies.x[game, 0] - x, bodies.y[game, 0] - y) > 0.25 + 0.15
        others = [other for other in np.flatnonzero(sites.exist[game]) if other != site]
        assert all(np.hypot(sites.x[game, other] - x, sites.y[game, other] - y) > 0.5 for other in others)
        row = dict(zip(SITE, rows[game, site], strict=True))
        found = sorted((row[f"x_{corner}"], row[f"y_{corner}"]) for corner in range(4))
        np.testing.assert_allclose(found, sorted(map(tuple, corners_of(x, y))), atol=1e-5)
        assert (row["x"], row["y"]) == (x, y)


def free_by_hand(trial):
    """How many of 100 rays to the cylinder nothing stops: 3,000 points along each, in boxes and in the agent."""
    world, (x, y, radius) = trial.world, trial.goal
    along, free = np.linspace(0, 1, 3_000)[:, None], 0
    low, high = 6 + 1.01 * 0.2, 12 - 1.01 * 0.2
    for i in range(25):
        way = i / 25 * (high - low)
        for start in ((low + way, low), (high, low + way), (high - way, high), (low, high - way)):
            points = start + along * (np.array([x, y], np.float64) - start)
            points = points[np.linalg.norm(points - [x, y], axis=1) > radius]
            met = np.linalg.norm(points - [world.bodies.x[0], world.bodies.y[0]], axis=1).min() < 0.15
            for box in range(8):
                away = points - [world.bodies.x[1 + box], world.bodies.y[1 + box]]
                cos, sin = np.cos(world.bodies.yaw[1 + box]), np.sin(world.bodies.yaw[1 + box])
                own = np.abs(away @ np.array([[cos, -sin], [sin, cos]]))
                met |= ((own[:, 0] < world.half_x[box]) & (own[:, 1] < world.half_y[box])).any()
            free += not met
    return free


@pytest.mark.slow
def test_a_shelter_costs_what_rays_reach_it(shelters):
    found = np.array(
        [-1_000 * jax.jit(SHELTER.judged)(trial, trial)[0] for trial in map(one_of, [shelters[0]] * 20, range(20))]
    )
    expected = np.array([free_by_hand(one_of(shelters[0], game)) for game in range(20)])
    np.testing.assert_allclose(found, expected, atol=1.01)  # a ray may graze a corner between two points
    assert np.abs(found - expected).mean() < 0.2
    assert 20 < expected.min() < expected.max() < 90
    for game in range(3):
        trial = one_of(shelters[0], game)
        assert SHELTER.measures(trial)["covered"] == pytest.approx(1 - found[game] / 100, abs=1e-5)


def test_a_cylinder_stands_among_eight_boxes_of_which_three_are_elongated(shelters):
    trials, seen = shelters
    assert seen.shape == (GAMES, SHELTER.layout.size)
    x, y, radius = trials.goal
    assert (radius.min() > 0.75, radius.max() < 1, np.ptp(radius) > 0.15) == (True, True, True)
    assert (np.abs(x - 9) < 0.35 * (6 - 2 * radius)).all()
    assert (np.abs(y - 9) < 0.35 * (6 - 2 * radius)).all()
    assert trials.world.exist.all()
    assert np.isclose(trials.world.half_x, 0.825).sum(axis=1).tolist() == [3] * GAMES
    bodies = trials.world.bodies
    away = np.hypot(bodies.x - x[:, None], bodies.y - y[:, None]) - radius[:, None]
    assert (away[:, 0] > 0.13).all()
    assert (away[:, 1:] > 0.05).all()
    parts = jax.tree.map(lambda leaf: leaf[:, 8:], trials.world.walls)
    assert parts.x.shape == (GAMES, 8)
    np.testing.assert_allclose(np.hypot(parts.half_x, parts.half_y), np.repeat(radius[:, None], 8, axis=1), rtol=1e-5)


@pytest.mark.slow
def test_a_cylinder_is_in_the_way_and_seen_by_lidar(shelters):
    """An agent at full force gets no nearer than the flat sides of the prism of 16; two boxes are far away."""
    trial = one_of(shelters[0], 0)
    x, y, radius = trial.goal
    bodies, exist = trial.world.bodies, np.zeros_like(trial.world.exist)
    bodies.x[:], bodies.y[:] = -10, -10 * np.arange(9)
    bodies.x[0], bodies.y[0] = x - radius - 0.6, y
    trial, step = trial._replace(world=trial.world._replace(exist=exist)), jax.jit(SHELTER.step)
    for _ in range(20):
        timestep = jax.device_get(step(trial, jnp.array([10, 5, 5, 0, 0]), KEY))
        trial = timestep.state
    away = x - trial.world.bodies.x[0]
    assert radius * np.cos(np.pi / 16) + 0.15 - 0.02 < away < radius + 0.17
    rays = timestep.observation[SHELTER.layout.lidar]
    assert rays[0] == pytest.approx(away - radius, abs=0.03)
    assert rays[15] == pytest.approx(min(LIDAR_RANGE, trial.world.bodies.x[0] - 6), abs=1e-3)


def test_construction_is_as_declared_and_wrong_options_are_refused():
    assert (BLUEPRINT.max_episode_steps, SHELTER.max_episode_steps) == (150, 240)
    listing = tegu.make("hide-and-seek-blueprint", entities=True, max_sites=2)
    assert listing.observation_space.contains(jax.device_get(jax.jit(listing.reset)(KEY)[1]))
    assert {name: part.shape[0] for name, part in listing.observation_space.items()} == {
        **{"self": 11, "lidar": 30, "agents": 1, "boxes": 8, "ramps": 1, "sites": 2},
    }
    with pytest.raises(tegu.TeguError, match=r"hide-and-seek-blueprint: max_sites must be .* to 3, the number of"):
        tegu.make("hide-and-seek-blueprint", boxes=3)
    with pytest.raises(tegu.TeguError, match=r"hide-and-seek-shelter: elongated must be .* to 2, the number of boxes"):
        tegu.make("hide-and-seek-shelter", boxes=2)


@pytest.mark.long
@pytest.mark.parametrize("environment", [BLUEPRINT, SHELTER], ids=lambda environment: environment.id)
def test_the_check_finds_nothing_wrong(environment):
    assert not check_jax(environment, steps=160, seed=0).findings


@pytest.mark.slow
def test_pictures_show_sites_and_the_cylinder(blueprints, shelters):
    pytest.importorskip("PIL")
    for environment, trials in ((BLUEPRINT, blueprints[0]), (SHELTER, shelters[0])):
        trial = one_of(trials, 0)
        walls = trial.world.walls._replace(
            half_x=np.where(np.arange(len(trial.world.walls.x)) < 8, trial.world.walls.half_x, 0)
        )
        without = (
            trial._replace(goal=trial.goal._replace(exist=~trial.goal.exist)) if environment is BLUEPRINT else trial
        )
        without = without._replace(world=without.world._replace(walls=walls))
        assert not np.array_equal(environment.image(trial), environment.image(without))
