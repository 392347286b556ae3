"""Planar scenes of hide-and-seek in MuJoCo: boxes on a floor with friction, all other contacts without."""

from functools import partial

import jax
import numpy as np
import pytest
from environments.test_hide_and_seek_physics import BOX, HIDER, RAMP, WORLD, push, scene

from tegu.environments.hide_and_seek import physics
from tegu.environments.hide_and_seek.world import STEP_SECONDS

mujoco = pytest.importorskip("mujoco")
pytestmark = pytest.mark.slow

STILL = (0, 0, 0)
FINE = 16  # time steps in each step
STIFF = 'solref="0.002 1" solimp="0.99 0.999 0.0001"'
BODY = """
<body name="{name}" pos="0 0 {height}">
  <joint name="{name} x" type="slide" axis="1 0 0" damping="{damping}"/>
  <joint name="{name} y" type="slide" axis="0 1 0" damping="{damping}"/>
  <joint name="{name} yaw" axis="0 0 1" damping="{damping}"/>
  {more}
</body>"""
ON_FLOOR = """<joint type="slide" axis="0 0 1"/>
  <geom name="{}" type="box" size=".25 .25 .25" mass="1" contype="0" conaffinity="1" SOFTNESS/>""".replace(
    "SOFTNESS", STIFF
)
IN_AIR = '<geom name="hider" type="cylinder" size=".15 .15" mass="1" contype="0" conaffinity="0"/>'
BODIES = {"hider": HIDER, "box": BOX, "ramp": RAMP}  # from its sides a ramp is a box
WALLS = {"left": (-0.5, 2, 0.5, 4), "right": (4.5, 2, 0.5, 4), "bottom": (2, -0.5, 4, 0.5), "top": (2, 4.5, 4, 0.5)}

# Where bodies begin, (x, y, yaw), how they move, (vx, vy, spin), the hider's force, and for how many steps; then by how
# many centimetres the end may differ, with fine time steps and with the game's, which are 4 to a step.
SCENES = {
    "a box slides": ({"box": (1, 2, 0)}, {BOX: (3, 1, 0)}, STILL, 10, 1, 3),
    "a box spins": ({"box": (1, 2, 0)}, {BOX: (0, 0, 8)}, STILL, 10, 1, 1),
    "a push in the middle": ({"hider": (0.6, 1, 0), "box": (1.1, 1, 0)}, {}, (40, 0, 0), 8, 1, 4),
    "a push aside": ({"hider": (0.6, 1.1, 0), "box": (1.1, 1, 0)}, {}, (40, 0, 0), 8, 4, 9),
    "a box hits another": ({"box": (0.8, 1, 0), "ramp": (1.6, 1.1, 0.3)}, {BOX: (5, 0, 0)}, STILL, 10, 2, 4),
    "a push of two": ({"hider": (0.6, 1, 0), "box": (1.05, 1, 0), "ramp": (1.6, 1.05, 0.2)}, {}, (40, 0, 0), 6, 2, 5),
    "a corner hits a wall": ({"box": (2.9, 0.6, 0.4)}, {BOX: (0, -4, 2)}, STILL, 10, 2, 4),
}


def at_the_end(name, substeps):
    """x, y and yaw of the hider, the box and the ramp, ``[3, 3]``."""
    places, velocities, force, n_steps, *_ = SCENES[name]
    state = scene(**places)
    state.walls.x[4:], state.walls.half_x[4:], state.walls.half_y[4:] = -5, 0, 0  # none but those around the floor
    for body, velocity in velocities.items():
        for part, value in zip((state.bodies.vx, state.bodies.vy, state.bodies.spin), velocity, strict=True):
            part[body] = value
    move = jax.jit(partial(physics.move, n_boxes=1, substeps=substeps))
    for _ in range(n_steps):
        state = move(state, push(*force))
    return np.stack([np.asarray(part)[list(BODIES.values())] for part in state.bodies[:3]], axis=1)


def in_mujoco(name):
    """The same by MuJoCo, in time steps of half a millisecond."""
    places, velocities, force, n_steps, *_ = SCENES[name]
    walls = "".join(
        f'<geom name="{wall}" type="box" pos="{x} {y} 1" size="{a} {b} 1" contype="0" conaffinity="0"/>'
        for wall, (x, y, a, b) in WALLS.items()
    )
    bodies = BODY.format(name="hider", height=0.15, damping=physics.AGENT_DAMPING, more=IN_AIR)
    for body in ("box", "ramp"):
        more = ON_FLOOR.format(body)
        bodies += BODY.format(name=body, height=0.25, damping=physics.OBJECT_DAMPING, more=more)
    touching = [(a, b) for index, a in enumerate(BODIES) for b in [*list(BODIES)[index + 1 :], *WALLS]]
    pairs = "".join(f'<pair geom1="{a}" geom2="{b}" condim="1" {STIFF}/>' for a, b in touching)
    options = f'gravity="0 0 {-physics.GRAVITY}" timestep="0.0005" integrator="implicitfast" cone="elliptic"'
    floor = f'<geom type="plane" size="9 9 1" friction="{physics.FLOOR_FRICTION} 0 0" contype="1" conaffinity="0"/>'
    floor += bodies.replace("<geom", f'<geom friction="{physics.FLOOR_FRICTION} 0 0"')
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><option {options}/><worldbody>{walls}{floor}</worldbody><contact>{pairs}</contact></mujoco>"
    )
    data = mujoco.MjData(model)
    joints = {body: [f"{body} {axis}" for axis in ("x", "y", "yaw")] for body in BODIES}
    start = scene(**places).bodies
    for body, index in BODIES.items():
        for joint, place, speed in zip(joints[body], start[:3], velocities.get(index, STILL), strict=True):
            data.joint(joint).qpos[0], data.joint(joint).qvel[0] = place[index], speed
    for joint, value in zip(joints["hider"], force, strict=True):
        data.qfrc_applied[model.joint(joint).dofadr[0]] = value
    mujoco.mj_step(model, data, round(n_steps * STEP_SECONDS / model.opt.timestep))
    return np.array([[data.joint(joint).qpos[0] for joint in joints[body]] for body in BODIES])


@pytest.mark.parametrize("name", SCENES)
def test_bodies_end_where_mujocos_end(name):
    *_, fine, coarse = SCENES[name]
    expected = in_mujoco(name)
    moved = expected - np.array([part[list(BODIES.values())] for part in scene(**SCENES[name][0]).bodies[:3]]).T
    assert np.abs(moved).max() > 0.25
    for substeps, centimetres, degrees in ((FINE, fine, 5), (WORLD.substeps, coarse, 12)):
        difference = np.abs(at_the_end(name, substeps) - expected)
        assert 100 * difference[:, :2].max() < centimetres
        assert np.degrees(difference[:, 2].max()) < degrees
