"""The physics of hide-and-seek: by hand, by conservation laws, by scripted play and by many random steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.environments.hide_and_seek import contacts, geometry, physics
from tegu.environments.hide_and_seek.world import RADIUS, STEP_SECONDS, Bodies, Rectangles

WORLD = tegu.make("hide-and-seek-tiny")
QUADRANT = tegu.make("hide-and-seek-quadrant")
ROOMS = tegu.make("hide-and-seek-rooms")
HIDER, SEEKER, BOX, RAMP = range(4)
MIDDLE = WORLD.n_buckets // 2
FAR = (3.5, 3.5)
SECONDS = STEP_SECONDS / WORLD.substeps

move = jax.jit(partial(physics.move, n_boxes=1, substeps=WORLD.substeps))
step = jax.jit(WORLD.step)
reset = jax.jit(WORLD.reset)


def scene(door=2.0, **bodies):
    """A state at rest with the wall's door at this y, and bodies at ``(x, y, yaw)``; others are out of the way."""
    state = jax.tree.map(np.array, reset(jax.random.key(0))[0])
    out_of_the_way = {"hider": (3.8, 0.2, 0), "seeker": (3.8, 0.6, 0), "box": (*FAR, 0), "ramp": (2.7, 3.5, 0)}
    places = [(out_of_the_way | bodies)[name] for name in ("hider", "seeker", "box", "ramp")]
    x, y, yaw = np.array(places, np.float32).T
    still = np.zeros(4, np.float32)
    walls = state.walls
    ends = (-0.5, door - WORLD.door / 2, door + WORLD.door / 2, WORLD.floor + 0.5)
    walls.y[4:] = (ends[0] + ends[1]) / 2, (ends[2] + ends[3]) / 2
    walls.half_y[4:] = (ends[1] - ends[0]) / 2, (ends[3] - ends[2]) / 2
    return state._replace(bodies=Bodies(x, y, yaw, still, still.copy(), still.copy()))


def push(x=0.0, y=0.0, torque=0.0, agent=HIDER):
    drive = np.zeros((3, 2), np.float32)
    drive[:, agent] = x, y, torque
    return physics.Drive(*drive)


def acted(state, n_steps, hider=(0, 0, 0, 0, 0), seeker=(0, 0, 0, 0, 0)):
    """After steps of the game with movements from -MIDDLE to MIDDLE; the state after each, too."""
    states = []
    for _ in range(n_steps):
        action = {
            name: jnp.array([MIDDLE + part for part in parts[:3]] + list(parts[3:]))
            for name, parts in (("hider_0", hider), ("seeker_0", seeker))
        }
        state = jax.device_get(step(state, action, jax.random.key(0)).state)
        states.append(state)
    return state, states


@pytest.mark.slow
def test_an_agent_approaches_its_terminal_speed_as_the_equation_of_motion_says():
    """m v' = F - c v, so v(t) = F/c (1 - exp(-c t / m)); 90 N against 10 N s/m is 9 m/s."""
    state = scene(hider=(0.3, 0.3, 0))
    state.walls.x[4:] = 20  # out of the way
    state.walls.x[1] = 30
    for n in range(1, 6):
        state = move(state, push(x=90, torque=90))
        assert state.bodies.vx[HIDER] == pytest.approx(9 * (1 - np.exp(-10 * 0.075 * n)), rel=1e-4)
        assert state.bodies.spin[HIDER] == pytest.approx(9, rel=1e-4)
    assert state.bodies.vy[HIDER] == 0


def test_a_box_slides_as_far_as_friction_lets_it():
    """v^2 / (2 mu g) = 0.2 m; time steps of h that use the velocity at their end come v h / 2 short of it."""
    state = scene(box=(0.6, 2.0, 0))
    state.bodies.vx[BOX] = 2
    for _ in range(5):
        state = move(state, push())
    distance = state.bodies.x[BOX] - 0.6
    assert distance == pytest.approx(2**2 / (2 * 0.2 * 50) - 2 * SECONDS / 2, abs=2e-3)
    assert state.bodies.vx[BOX] == 0


def test_a_held_box_moves_as_one_body_with_who_holds_it():
    """Two masses, one damping of 10, the box's friction of 10 N: the terminal speed is (90 - 10) / 10 = 8 m/s."""
    state = scene(hider=(0.3, 2.0, 0), box=(0.75, 2.0, 0.3))
    state.holds[HIDER, 0] = True
    state.walls.x[4:] = 20
    state.walls.x[1] = 30
    for _ in range(16):
        state = move(state, push(x=90))
    b = state.bodies
    assert b.vx[HIDER] == pytest.approx(8, rel=0.01)
    assert b.vx[BOX] == pytest.approx(8, rel=0.01)
    assert b.x[BOX] - b.x[HIDER] == pytest.approx(0.45, abs=1e-4)
    state = move(state._replace(bodies=b._replace(vx=0 * b.vx)), push(torque=90))  # turning takes the box around
    b = state.bodies
    assert b.yaw[HIDER] > 0.1
    assert b.yaw[BOX] - b.yaw[HIDER] == pytest.approx(0.3, abs=1e-4)
    assert np.hypot(b.x[BOX] - b.x[HIDER], b.y[BOX] - b.y[HIDER]) == pytest.approx(0.45, abs=1e-4)


def test_what_is_locked_does_not_move():
    state = scene(hider=(0.3, 2.0, 0), box=(0.71, 2.0, 0))
    free, locked = state, state._replace(locked=np.array([True, False]))
    for _ in range(4):
        free, locked = move(free, push(x=90)), move(locked, push(x=90))
    assert free.bodies.x[BOX] > 0.8
    np.testing.assert_array_equal([part[BOX] for part in locked.bodies], [part[BOX] for part in state.bodies])
    assert locked.bodies.x[HIDER] == pytest.approx(0.46 - RADIUS, abs=2e-3)


def crowd(key):
    """A random scene of four bodies close together, at random velocities, and who holds what."""
    keys = jax.random.split(key, 4)
    x, y = jax.random.uniform(keys[0], (2, 4), minval=0.1, maxval=1.2)
    yaw, spin = jax.random.uniform(keys[1], (2, 4), minval=-3, maxval=3)
    vx, vy = jax.random.uniform(keys[2], (2, 4), minval=-8, maxval=8)
    state = WORLD.reset(key)[0]
    held = jax.random.randint(keys[3], (2, 1), -1, 2) == jnp.arange(2)
    return state._replace(bodies=Bodies(x, y, yaw, vx, vy, spin), holds=held)


def totals(compounds, together):
    """Kinetic energy, momentum and angular momentum; every compound counts once."""
    share = 1 / together.sum(axis=1)
    mass, inertia = share / compounds.inverse_mass, share / compounds.inverse_inertia
    vx, vy, spin = compounds.vx, compounds.vy, compounds.spin
    energy = (mass * (vx**2 + vy**2) + inertia * spin**2).sum() / 2
    turning = (inertia * spin + mass * (compounds.x * vy - compounds.y * vx)).sum()
    return energy, jnp.stack([(mass * vx).sum(), (mass * vy).sum(), turning])


@pytest.mark.slow
def test_contacts_never_add_energy_and_keep_momentum():
    """One round of each kind in random scenes: energy never grows; without walls momentum and angular momentum stay."""

    def rounds(key):
        state = crowd(key)
        together = physics.compound_matrix(state.holds).astype(jnp.float32)
        compounds = physics.driven(state, physics.Drive(*jnp.zeros((3, 2))), together, SECONDS)
        boxes = geometry.objects(state, 1)
        kinds, _ = contacts.find(state.bodies, state.z, boxes, state.walls, compounds, together)
        found = [totals(compounds, together)]
        for kind in kinds:
            compounds = contacts.resolve(kind, compounds, together, SECONDS, part=False)
            found.append(totals(compounds, together))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    energy, momentum = jax.device_get(jax.jit(jax.vmap(rounds))(jax.random.split(jax.random.key(0), 2000)))
    lost = -np.diff(energy, axis=1)
    assert (lost >= -1e-4 * energy[:, :-1]).all(), lost.min()
    for kind in range(5):
        assert (lost[:, kind] > 0.1).mean() > 0.02, kind  # or nothing would have been tested
    changed = np.abs(np.diff(momentum, axis=1))
    assert changed[:, :3].max() < 2e-3
    assert changed[:, 3:].max() > 1


def sealed(state):
    """Whether a flood fill with an agent's disc on a grid of 2 cm finds no way from the left half to the right."""
    grid = np.arange(0.0, WORLD.floor, 0.02, dtype=np.float32) + 0.01
    x, y = (part.ravel() for part in np.meshgrid(grid, grid, indexing="ij"))
    box = geometry.objects(jax.tree.map(jnp.asarray, state), 1)
    prisms = [jax.tree.map(lambda part: np.asarray(part)[:1], box), state.walls]
    free = np.ones(x.shape, bool)
    for prism in prisms:
        to = geometry.nearest(x[:, None], y[:, None], Rectangles(*(jnp.asarray(part)[None] for part in prism)))
        free &= (np.asarray(to.distance) > RADIUS).all(axis=1)
    free = free.reshape(len(grid), len(grid))
    reached = np.zeros_like(free)
    reached[: len(grid) // 4] = free[: len(grid) // 4]
    while True:
        wider = reached.copy()
        wider[1:] |= reached[:-1]
        wider[:-1] |= reached[1:]
        wider[:, 1:] |= reached[:, :-1]
        wider[:, :-1] |= reached[:, 1:]
        wider &= free
        if (wider == reached).all():
            return not reached[-len(grid) // 4 :].any()
        reached = wider


@pytest.mark.slow
def test_a_box_that_is_pushed_into_the_door_and_locked_seals_it():
    state = scene(hider=(3.3, 2.0, np.pi), box=(2.9, 2.0, 0), seeker=(0.5, 2.0, 0))
    assert not sealed(state)
    state, _ = acted(state, 6, hider=(-2, 0, 0, 0, 0))
    assert 1.8 < state.bodies.x[BOX] < 2.2
    state, _ = acted(state, 1, hider=(0, 0, 0, 0, 1))
    assert state.locked[0]
    assert sealed(state)
    place = [part[BOX] for part in state.bodies[:3]]
    state = state._replace(clock=np.int32(30))  # the seeker may move
    state, _ = acted(state, 20, hider=(0, 0, 0, 0, 1), seeker=(2, 0, 0, 1, 0))
    assert state.bodies.x[SEEKER] == pytest.approx(place[0] - 0.25 - RADIUS, abs=5e-3)  # at the box
    np.testing.assert_array_equal(place, [part[BOX] for part in state.bodies[:3]])
    assert sealed(state)


def test_climbing_and_surfing_are_measured_of_seekers_after_the_preparation():
    """Box surfing: one stands on what it holds, and its force moves both."""
    measures = jax.jit(WORLD.measures)

    def measured(agent, height=0.5, holds=True, force=2, clock=30):
        state = scene(hider=(0.6, 3.0, 0), seeker=(0.6, 2.0, 0), box=(0.6, (3.0, 2.0)[agent], 0))
        state.z[agent], state.visible[:] = height, True
        actions = {"hider": (0, 0, 0, 0, 0), "seeker": (0, 0, 0, 0, 0)}
        actions[("hider", "seeker")[agent]] = (force, 0, 0, int(holds), 0)
        found = measures(acted(state._replace(clock=np.int32(clock)), 2, **actions)[0])
        return float(found["ramp_use"]), float(found["box_surfing"])

    assert measured(SEEKER) == (1, 1)
    assert measured(SEEKER, holds=False) == (1, 0)
    assert measured(SEEKER, force=0) == (1, 0)
    assert measured(SEEKER, clock=5, force=0) == (0, 0)
    assert measured(HIDER) == (0, 0)


@pytest.mark.slow
def test_an_agent_climbs_the_ramp_walks_on_the_wall_and_drops_into_the_room():
    start = scene(door=3.0, hider=(1.0, 1.0, 0), ramp=(1.69, 1.0, 0))
    state, states = acted(start, 12, hider=(2, 0, 0, 0, 0))
    heights = np.array([s.z[HIDER] for s in states])
    assert heights.max() == pytest.approx(0.5)
    assert state.z[HIDER] == 0
    assert state.bodies.x[HIDER] > 2.3
    falling = np.array([s.vz[HIDER] for s in states])
    assert falling.min() < -1
    without, _ = acted(scene(door=3.0, hider=(1.0, 1.0, 0)), 12, hider=(2, 0, 0, 0, 0))
    assert without.bodies.x[HIDER] == pytest.approx(1.95 - RADIUS, abs=2e-3)
    assert without.z[HIDER] == 0
    backwards = scene(door=3.0, hider=(1.0, 1.0, 0), ramp=(1.69, 1.0, np.pi))  # the steep side is towards the agent
    backwards, _ = acted(backwards, 12, hider=(2, 0, 0, 0, 0))
    assert backwards.bodies.x[HIDER] < 1.4
    assert backwards.z[HIDER] == 0


def test_an_agent_on_a_box_carries_it_along():
    """Box surfing: it holds the box it stands on, and its force moves both."""
    state = scene(hider=(0.6, 2.0, 0), box=(0.6, 2.0, 0))
    state.z[HIDER] = 0.5
    state.visible[:] = True
    state, _ = acted(state, 3, hider=(2, 0, 0, 1, 0))
    assert state.bodies.x[BOX] > 0.7
    assert state.bodies.x[BOX] == pytest.approx(state.bodies.x[HIDER], abs=1e-4)
    assert state.z[HIDER] == 0.5


def deepest(state, n_boxes):
    """The deepest penetration of any two things, in metres."""
    together = physics.compound_matrix(state.holds).astype(jnp.float32)
    compounds = physics.driven(state, physics.Drive(*jnp.zeros((3, *state.z.shape))), together, SECONDS)
    boxes = geometry.objects(state, n_boxes)
    kinds, _ = contacts.find(state.bodies, state.z, boxes, state.walls, compounds, together)
    return -jnp.stack([jnp.where(kind.exist, kind.distance, 1).min() for kind in kinds]).min()


def played(world, n_worlds, n_steps):
    """Random actions, each kept for some steps; episodes begin anew after the horizon. Returns, of all steps, the
    deepest penetrations and whether everybody is where it may be."""
    n_agents = len(world.agents)
    nvec = jnp.array([world.n_buckets] * 3 + [2, 2])

    def play(carry, _):
        state, action, key = carry
        key, new_key, keep_key, reset_key = jax.random.split(key, 4)
        new = jax.random.randint(new_key, (n_worlds, n_agents, 5), 0, nvec)
        action = jnp.where(jax.random.bernoulli(keep_key, 0.7, (n_worlds, n_agents, 1)), action, new)
        by_agent = {name: action[:, index] for index, name in enumerate(world.agents)}
        after = jax.vmap(world.step)(state, by_agent, jax.random.split(key, n_worlds)).state
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((after.bodies, after.z, after.vz))])
        x, y = after.bodies.x, after.bodies.y
        absent = jnp.concatenate([jnp.zeros_like(after.z, bool), ~after.exist], axis=1)
        on_floor = ((x > 0) & (x < world.floor) & (y > 0) & (y < world.floor) | absent).all()
        at_height = ((after.z >= 0) & (after.z <= 0.51)).all()
        depth = jax.vmap(lambda one: deepest(one, world.boxes))(after)
        fresh = jax.vmap(world.reset)(jax.random.split(reset_key, n_worlds))[0]
        ended = after.clock >= world.horizon
        state = jax.tree.map(lambda a, b: jnp.where(ended.reshape((-1,) + (1,) * (a.ndim - 1)), a, b), fresh, after)
        return (state, action, key), (depth, finite.all() & on_floor & at_height)

    def run(key):
        state, _ = jax.vmap(world.reset)(jax.random.split(key, n_worlds))
        action = jnp.broadcast_to((nvec - 1) // 2, (n_worlds, n_agents, 5))
        return jax.lax.scan(play, (state, action, key), None, n_steps)[1]

    return jax.device_get(jax.jit(run)(jax.random.key(0)))


def check_random_play(world, n_worlds, n_steps, deep, deepest_of_all):
    depth, sound = played(world, n_worlds, n_steps)
    assert sound.all()
    assert depth.max() > 0.001  # things do touch
    assert (depth > 0.02).mean() <= deep, (depth > 0.02).mean()
    assert depth.max() <= deepest_of_all, depth.max()


@pytest.mark.slow
def test_in_random_play_nothing_penetrates_leaves_or_breaks():
    check_random_play(WORLD, 64, 180, deep=1e-3, deepest_of_all=0.06)  # what is deep stays so for some steps


@pytest.mark.long
def test_in_a_million_random_steps_nothing_penetrates_leaves_or_breaks():
    check_random_play(WORLD, 512, 2000, deep=2e-4, deepest_of_all=0.1)


@pytest.mark.long
def test_in_random_play_of_the_quadrant_nothing_penetrates_leaves_or_breaks():
    check_random_play(QUADRANT, 256, 800, deep=5e-4, deepest_of_all=0.15)


@pytest.mark.long
def test_in_random_play_of_random_rooms_nothing_penetrates_leaves_or_breaks():
    check_random_play(ROOMS, 128, 480, deep=5e-3, deepest_of_all=0.1)
