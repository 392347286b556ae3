"""Mountain car: a weak car in a valley must swing back and forth to reach the flag on the right hill."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import GRASS, INK, RED, SKY, Canvas


class _Valley(Environment):
    """What both mountain cars share: the state ``[2]`` float32, position and velocity per step, is the observation."""

    min_position: float = -1.2
    max_position: float = 0.6
    max_speed: float = 0.07
    goal_position: float = 0.5
    goal_velocity: float = 0.0
    gravity: float = 0.0025

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        low = np.array([self.min_position, -self.max_speed], np.float32)
        high = np.array([self.max_position, self.max_speed], np.float32)
        return gymnasium.spaces.Box(low, high)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        position = jax.random.uniform(key, minval=-0.6, maxval=-0.4)
        state = jnp.stack([position, jnp.zeros_like(position)])
        return state, state

    def state_of(self, observation: jax.Array) -> jax.Array:
        return observation

    def _drive(self, state: jax.Array, acceleration: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The next state and whether it is at the goal. The wall at the left end stops the car dead."""
        position, velocity = state
        velocity = velocity + acceleration - self.gravity * jnp.cos(3 * position)
        velocity = jnp.clip(velocity, -self.max_speed, self.max_speed)
        position = jnp.clip(position + velocity, self.min_position, self.max_position)
        velocity = jnp.where(position <= self.min_position, jnp.maximum(velocity, 0), velocity)
        at_goal = (position >= self.goal_position) & (velocity >= self.goal_velocity)
        return jnp.stack([position, velocity]), at_goal

    def image(self, state: np.ndarray) -> np.ndarray:
        width, height = 600, 400
        scale = width / (self.max_position - self.min_position)  # pixels per unit of position

        def ground(position: float) -> np.ndarray:
            """The pixel of the road: gravity pulls along cos(3 x), the slope of a hill as high as sin(3 x)."""
            return np.array(
                [(position - self.min_position) * scale, height - 30 - scale * 0.45 * (1 + np.sin(3 * position))]
            )

        road = [ground(position) for position in np.linspace(self.min_position, self.max_position, 121)]
        canvas = Canvas(width, height, SKY)
        canvas.polygon([*road, (width, height), (0, height)], GRASS)
        canvas.line(road, (78, 110, 66), 4)
        canvas.flag(ground(self.goal_position), 50)

        along = ground(state[0] + 0.01) - ground(state[0] - 0.01)
        along = along / np.linalg.norm(along)
        up = np.array([along[1], -along[0]])
        body = [(-24, 10), (24, 10), (24, 20), (13, 22), (8, 32), (-10, 32), (-16, 22), (-24, 21)]
        canvas.polygon([ground(state[0]) + forward * along + rise * up for forward, rise in body], RED)
        for forward in (-14, 14):
            canvas.disc(ground(state[0]) + forward * along + 8 * up, 8, INK)
            canvas.disc(ground(state[0]) + forward * along + 8 * up, 3, SKY)
        return canvas.array()


class MountainCar(_Valley):
    """Mountain car (Moore 1990; Sutton & Barto 2018, example 10.1), as Gymnasium's ``MountainCar-v0``.

    State and observation: position (the valley's bottom is near -0.52, the flag at ``goal_position``) and velocity per
    step. Actions 0, 1, 2 accelerate left, not at all, right. Every step pays -1; reaching the flag ends the episode.
    """

    force: float = 0.001  #: velocity gained per step
    id: str = eqx.field(static=True, kw_only=True, default="MountainCar-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=200)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(3)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state, at_goal = self._drive(state, self.force * (action - 1))
        return Timestep(state, state, jnp.float32(-1), at_goal)


class MountainCarContinuous(_Valley):
    """Mountain car with a continuous throttle, as Gymnasium's ``MountainCarContinuous-v0``.

    State and observation as in ``MountainCar``, with a nearer flag and a stronger engine. The action ``[1]`` is the
    throttle in [-1, 1]. A step pays -0.1 times the throttle squared, and 100 more on reaching the flag, which ends the
    episode.
    """

    goal_position: float = 0.45
    power: float = 0.0015  #: velocity gained per step at full throttle
    min_action: float = -1.0
    max_action: float = 1.0
    id: str = eqx.field(static=True, kw_only=True, default="MountainCarContinuous-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=999)

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(self.min_action, self.max_action, (1,))

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        throttle = jnp.clip(action[0], self.min_action, self.max_action)
        state, at_goal = self._drive(state, self.power * throttle)
        return Timestep(state, state, 100.0 * at_goal - 0.1 * action[0] ** 2, at_goal)
