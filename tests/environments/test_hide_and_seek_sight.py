"""Line of sight and lidar in hide-and-seek against the rays of MuJoCo."""

import jax
import numpy as np
import pytest

import tegu
from tegu.environments.hide_and_seek import sight
from tegu.environments.hide_and_seek.geometry import objects
from tegu.environments.hide_and_seek.world import AGENT_HEIGHT, OBJECT_HEIGHT, RADIUS

mujoco = pytest.importorskip("mujoco")

WORLD = tegu.make("hide-and-seek-quadrant", ramps=2)
N_AGENTS, N_BOXES, N_RAYS = 4, 2, WORLD.n_lidar
SCENES = 60
WEDGE = "-1 -1 0  1 -1 0  1 1 0  -1 1 0  1 -1 2  1 1 2"  # rises along x; twice its half sizes


@pytest.fixture(scope="module")
def scenes():
    """States NumPy ``[SCENES, ...]`` with agents at all heights, and what they see in them and measure by lidar."""
    keys = jax.random.split(jax.random.key(0), SCENES)
    state = jax.jit(jax.vmap(lambda key: WORLD.reset(key)[0]))(keys)
    height = np.random.default_rng(0).choice([0.0, 0.1, 0.3, 0.5], (SCENES, N_AGENTS))
    state = state._replace(z=height.astype(np.float32))

    def look(state):
        boxes = objects(state, N_BOXES)
        seen = sight.visible(state.bodies, state.z, boxes, state.walls)
        return seen, sight.lidar(state.bodies, state.z, boxes, state.walls, N_RAYS)

    return jax.device_get((state, *jax.jit(jax.vmap(look))(state)))


def in_mujoco(state):
    """The model and data of one scene; the agents and objects are its bodies from 1 on."""
    parts = []
    for body, (x, y, yaw) in enumerate(zip(*state.bodies[:3], strict=True)):
        if body < N_AGENTS:
            z, half = state.z[body] + AGENT_HEIGHT / 2, AGENT_HEIGHT / 2
            geom = f'<geom type="cylinder" size="{RADIUS} {half}"/>'
        elif body < N_AGENTS + N_BOXES:
            z, geom = OBJECT_HEIGHT / 2, '<geom type="box" size="0.25 0.25 0.25"/>'
        else:
            z, geom = 0, '<geom type="mesh" mesh="wedge"/>'
        parts.append(f'<body pos="{x} {y} {z}" euler="0 0 {yaw}">{geom}</body>')
    for x, y, _, _, half_x, half_y, top, _ in zip(*state.walls, strict=True):
        if min(half_x, half_y) > 1e-4:
            parts.append(f'<geom type="box" pos="{x} {y} {top / 2}" size="{half_x} {half_y} {top / 2}"/>')
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><compiler angle="radian"/><asset><mesh name="wedge" scale="0.25 0.25 0.25" vertex="{WEDGE}"/></asset>'
        f"<worldbody>{''.join(parts)}</worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def ray(model, data, start, direction, viewer):
    """The distance to what a ray meets first, -1 if to nothing, and the body that it is."""
    geom = np.full(1, -1, np.int32)
    distance = mujoco.mj_ray(model, data, start, direction, None, 1, viewer + 1, geom)
    return distance, model.geom_bodyid[geom[0]] - 1


@pytest.mark.slow
def test_line_of_sight_is_that_of_mujocos_rays(scenes):
    states, seen, _ = scenes
    agree, positive = [], []
    for scene in range(SCENES):
        state = jax.tree.map(lambda leaf, scene=scene: leaf[scene], states)
        model, data = in_mujoco(state)
        x, y, yaw = state.bodies[:3]
        eye = np.stack([x[:N_AGENTS], y[:N_AGENTS], state.z + sight.EYE], axis=1).astype(np.float64)
        heights = [*eye[:, 2], *[sight.OBJECT_CENTRE[0]] * N_BOXES, *[sight.OBJECT_CENTRE[1]] * WORLD.ramps]
        centre = np.stack([x, y, heights], axis=1).astype(np.float64)
        for viewer in range(N_AGENTS):
            for target in range(len(centre)):
                if target == viewer:
                    assert seen[scene, viewer, target]
                    continue
                direction = centre[target] - eye[viewer]
                _, body = ray(model, data, eye[viewer], direction, viewer)
                angle = np.arctan2(direction[1], direction[0]) - yaw[viewer]
                in_cone = np.abs(np.angle(np.exp(1j * angle))) <= sight.HALF_CONE
                expected = in_cone and body == target
                agree.append(seen[scene, viewer, target] == expected)
                positive.append(expected)
    assert 0.1 < np.mean(positive) < 0.9
    assert np.mean(agree) >= 0.995, np.mean(agree)


@pytest.mark.slow
def test_lidar_measures_as_mujocos_rays(scenes):
    states, _, measured = scenes
    errors = []
    for scene in range(0, SCENES, 3):
        state = jax.tree.map(lambda leaf, scene=scene: leaf[scene], states)
        model, data = in_mujoco(state)
        for viewer in range(N_AGENTS):
            start = np.array([state.bodies.x[viewer], state.bodies.y[viewer], state.z[viewer] + sight.EYE], np.float64)
            for index in range(N_RAYS):
                angle = 2 * np.pi * index / N_RAYS
                distance, _ = ray(model, data, start, np.array([np.cos(angle), np.sin(angle), 0]), viewer)
                expected = min(distance, sight.LIDAR_RANGE) if distance >= 0 else sight.LIDAR_RANGE
                errors.append(abs(measured[scene, viewer, index] - expected))
    assert np.mean(np.array(errors) < 1e-3) >= 0.995, np.mean(np.array(errors) < 1e-3)
