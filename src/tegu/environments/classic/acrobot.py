"""Acrobot: swing a two-link arm above a line with a motor at its elbow only."""

import math

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, PAPER, RED, STEEL, Canvas


class Acrobot(Environment):
    """Acrobot (Sutton 1996; Sutton & Barto 1998, section 11.3), as Gymnasium's ``Acrobot-v1``.

    The state is ``[4]`` float32: the upper link's angle (rad, 0 hangs down), the lower link's angle relative to the
    upper one, and both angular velocities (rad/s). The observation is ``[6]``: cosine and sine of the first angle, of
    the second, and the velocities. Actions 0, 1, 2 apply a torque of -1, 0, +1 N m at the elbow. Every step pays -1,
    but 0 when the tip rises more than one link above the shoulder, which ends the episode.
    """

    LINK_LENGTH_1: float = 1.0  #: m
    LINK_LENGTH_2: float = 1.0  #: m, of no influence on the motion
    LINK_MASS_1: float = 1.0  #: kg
    LINK_MASS_2: float = 1.0  #: kg
    LINK_COM_POS_1: float = 0.5  #: centre of mass from the joint, m
    LINK_COM_POS_2: float = 0.5  #: m
    LINK_MOI: float = 1.0  #: moment of inertia of each link, kg m^2
    MAX_VEL_1: float = 4 * math.pi  #: rad/s
    MAX_VEL_2: float = 9 * math.pi  #: rad/s
    g: float = 9.8  #: m/s^2
    dt: float = 0.2  #: seconds per step
    id: str = eqx.field(static=True, kw_only=True, default="Acrobot-v1")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=500)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        high = np.array([1, 1, 1, 1, self.MAX_VEL_1, self.MAX_VEL_2], np.float32)
        return gymnasium.spaces.Box(-high, high)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(3)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        return state, _observe(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        """One step of the classical fourth-order Runge-Kutta method."""
        torque, dt = action - 1.0, self.dt
        k1 = self._derivative(state, torque)
        k2 = self._derivative(state + dt / 2 * k1, torque)
        k3 = self._derivative(state + dt / 2 * k2, torque)
        k4 = self._derivative(state + dt * k3, torque)
        theta1, theta2, speed1, speed2 = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        state = jnp.stack(
            [
                _wrap(theta1),
                _wrap(theta2),
                jnp.clip(speed1, -self.MAX_VEL_1, self.MAX_VEL_1),
                jnp.clip(speed2, -self.MAX_VEL_2, self.MAX_VEL_2),
            ]
        )
        terminated = -jnp.cos(state[0]) - jnp.cos(state[0] + state[1]) > 1
        return Timestep(state, _observe(state), terminated - jnp.float32(1), terminated)

    def state_of(self, observation: jax.Array) -> jax.Array:
        cosine1, sine1, cosine2, sine2, speed1, speed2 = observation
        return jnp.stack([jnp.arctan2(sine1, cosine1), jnp.arctan2(sine2, cosine2), speed1, speed2])

    def _derivative(self, state: jax.Array, torque: jax.Array) -> jax.Array:
        """The equations of motion in Sutton & Barto's book, whose terms the 1996 paper printed incompletely."""
        theta1, theta2, speed1, speed2 = state
        m1, m2, inertia = self.LINK_MASS_1, self.LINK_MASS_2, self.LINK_MOI
        l1, c1, c2 = self.LINK_LENGTH_1, self.LINK_COM_POS_1, self.LINK_COM_POS_2
        sine, cosine = jnp.sin(theta2), jnp.cos(theta2)

        d1 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * cosine) + 2 * inertia
        d2 = m2 * (c2**2 + l1 * c2 * cosine) + inertia
        phi2 = m2 * c2 * self.g * jnp.sin(theta1 + theta2)
        phi1 = (
            -m2 * l1 * c2 * speed2 * (speed2 + 2 * speed1) * sine
            + (m1 * c1 + m2 * l1) * self.g * jnp.sin(theta1)
            + phi2
        )
        acceleration2 = (torque + d2 / d1 * phi1 - m2 * l1 * c2 * speed1**2 * sine - phi2) / (
            m2 * c2**2 + inertia - d2**2 / d1
        )
        acceleration1 = -(d2 * acceleration2 + phi1) / d1
        return jnp.stack([speed1, speed2, acceleration1, acceleration2])

    def image(self, state: np.ndarray) -> np.ndarray:
        size = 500
        scale = size / (2.2 * (self.LINK_LENGTH_1 + self.LINK_LENGTH_2))  # pixels per metre
        upper, lower = state[0], state[0] + state[1]
        shoulder = np.array([size / 2, size / 2])
        elbow = shoulder + scale * self.LINK_LENGTH_1 * np.array([np.sin(upper), np.cos(upper)])
        tip = elbow + scale * self.LINK_LENGTH_2 * np.array([np.sin(lower), np.cos(lower)])
        goal = size / 2 - scale * self.LINK_LENGTH_1

        canvas = Canvas(size, size, PAPER)
        for left in range(10, size, 20):
            canvas.line([(left, goal), (left + 9, goal)], RED, 2)
        canvas.line([shoulder, elbow], STEEL, 20)
        canvas.line([elbow, tip], (120, 160, 190), 20)
        for joint in (shoulder, elbow):
            canvas.disc(joint, 14, INK)
            canvas.disc(joint, 6, PAPER)
        return canvas.array()


def _observe(state: jax.Array) -> jax.Array:
    theta1, theta2, speed1, speed2 = state
    return jnp.stack([jnp.cos(theta1), jnp.sin(theta1), jnp.cos(theta2), jnp.sin(theta2), speed1, speed2])


def _wrap(angle: jax.Array) -> jax.Array:
    """The same angle in ``[-pi, pi]``."""
    return angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))
