"""Pendulum: swing a rod upright with a motor too weak to lift it, and hold it there."""

import math
from dataclasses import dataclass

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, PAPER, RED, Canvas


class Pendulum(Environment):
    """The pendulum swing-up with the physics of Gymnasium's ``Pendulum-v1``.

    The state is ``[2]`` float32: angle (rad, 0 is upright, counter-clockwise, not wrapped) and angular velocity
    (rad/s). The observation ``[3]`` is the angle's cosine and sine, and the velocity. The action ``[1]`` is the torque
    (N m) in ``[-max_torque, max_torque]``. A step pays minus (angle^2 + 0.1 velocity^2 + 0.001 torque^2), measured
    before the step with the angle in [-pi, pi). The task never ends by itself.
    """

    max_speed: float = 8.0  #: rad/s
    max_torque: float = 2.0  #: N m
    dt: float = 0.05  #: seconds per step
    g: float = 10.0  #: m/s^2
    m: float = 1.0  #: kg
    l: float = 1.0  # noqa: E741  #: length of the rod, m
    id: str = eqx.field(static=True, kw_only=True, default="Pendulum-v1")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=200)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        high = np.array([1, 1, self.max_speed], np.float32)
        return gymnasium.spaces.Box(-high, high)

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-self.max_torque, self.max_torque, (1,))

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jax.random.uniform(key, (2,), minval=-1, maxval=1) * jnp.array([math.pi, 1])
        return state, _observe(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        theta, speed = state
        torque = jnp.clip(action[0], -self.max_torque, self.max_torque)
        cost = _cost((theta + math.pi) % (2 * math.pi) - math.pi, speed, torque)

        # The rod turns about its end, so its moment of inertia is m l^2 / 3; the new speed moves it (symplectic Euler).
        acceleration = 3 * self.g / (2 * self.l) * jnp.sin(theta) + 3 / (self.m * self.l**2) * torque
        speed = jnp.clip(speed + self.dt * acceleration, -self.max_speed, self.max_speed)
        state = jnp.stack([theta + self.dt * speed, speed])
        return Timestep(state, _observe(state), -cost, jnp.bool_(False))

    def state_of(self, observation: jax.Array) -> jax.Array:
        """The angle is in [-pi, pi], to which its turns make no difference."""
        cosine, sine, speed = observation
        return jnp.stack([jnp.arctan2(sine, cosine), speed])

    @property
    def reward_function(self) -> "PendulumReward | None":
        """A class of its own may pay otherwise."""
        return PendulumReward(self.max_torque) if type(self) is Pendulum else None

    def image(self, state: np.ndarray) -> np.ndarray:
        size, length = 500, 180
        centre = np.array([size / 2, size / 2])
        tip = centre + length * np.array([-np.sin(state[0]), -np.cos(state[0])])
        canvas = Canvas(size, size, PAPER)
        canvas.disc(centre, length + 32, (232, 236, 241))
        canvas.disc(centre, length + 29, PAPER)
        canvas.line([centre, tip], RED, 42)
        canvas.disc(centre, 9, INK)
        return canvas.array()


@dataclass(frozen=True)
class PendulumReward:
    """What steps pay, and that none ends the task, by observations ``[..., 3]`` and actions ``[..., 1]``."""

    max_torque: float

    def __call__(
        self, observation: jax.Array, action: jax.Array, next_observation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        angle = jnp.arctan2(observation[..., 1], observation[..., 0])
        torque = jnp.clip(action[..., 0], -self.max_torque, self.max_torque)
        reward = -_cost(angle, observation[..., 2], torque)
        return reward, jnp.zeros(reward.shape, bool)


def _cost(angle: jax.Array, speed: jax.Array, torque: jax.Array) -> jax.Array:
    """Of being ``angle`` rad from upright."""
    return angle**2 + 0.1 * speed**2 + 0.001 * torque**2


def _observe(state: jax.Array) -> jax.Array:
    theta, speed = state
    return jnp.stack([jnp.cos(theta), jnp.sin(theta), speed])
