"""Cart-pole: keep a pole upright on a cart by pushing the cart left or right."""

import math

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.drawing import INK, PAPER, WOOD, Canvas


class CartPole(Environment):
    """Cart-pole (Barto, Sutton & Anderson 1983) with the physics and limits of Gymnasium's ``CartPole-v1``.

    The state is also the observation, ``[4]`` float32: cart position (m), its velocity (m/s), pole angle (rad, 0 is
    upright, positive leans right) and its velocity (rad/s). Action 0 pushes left, 1 pushes right. Every step pays 1.
    The episode ends once the cart is further than ``x_threshold`` from the middle or the pole leans more than
    ``theta_threshold_radians``.
    """

    gravity: float = 9.8  #: m/s^2
    masscart: float = 1.0  #: kg
    masspole: float = 0.1  #: kg
    length: float = 0.5  #: half the pole's length, m
    force_mag: float = 10.0  #: N
    tau: float = 0.02  #: seconds per step
    x_threshold: float = 2.4  #: m
    theta_threshold_radians: float = math.radians(12)
    id: str = eqx.field(static=True, kw_only=True, default="CartPole-v1")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=500)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        high = np.array([2 * self.x_threshold, np.inf, 2 * self.theta_threshold_radians, np.inf], np.float32)
        return gymnasium.spaces.Box(-high, high)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return state, state

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        """One Euler step."""
        state = state + self.tau * self.derivative(state, self.force_mag * (2 * action - 1))
        terminated = (jnp.abs(state[0]) > self.x_threshold) | (jnp.abs(state[2]) > self.theta_threshold_radians)
        return Timestep(state, state, jnp.float32(1), terminated)

    def derivative(self, state: jax.Array, force: jax.Array) -> jax.Array:
        """How the state ``[4]`` changes with time where ``force`` (N) pushes the cart (Barto, Sutton & Anderson's
        equations of motion, appendix, without friction)."""
        _, x_dot, theta, theta_dot = state
        sine, cosine = jnp.sin(theta), jnp.cos(theta)
        total_mass = self.masscart + self.masspole
        polemass_length = self.masspole * self.length

        push = (force + polemass_length * theta_dot**2 * sine) / total_mass
        theta_acc = (self.gravity * sine - cosine * push) / (
            self.length * (4 / 3 - self.masspole * cosine**2 / total_mass)
        )
        x_acc = push - polemass_length * theta_acc * cosine / total_mass
        return jnp.stack([x_dot, x_acc, theta_dot, theta_acc])

    def state_of(self, observation: jax.Array) -> jax.Array:
        return observation

    def image(self, state: np.ndarray) -> np.ndarray:
        width, height, floor = 600, 400, 300
        scale = width / (2 * self.x_threshold)  # pixels per metre
        middle, theta = width / 2 + scale * state[0], state[2]
        axle = np.array([middle, floor - 42])
        tip = axle + scale * 2 * self.length * np.array([np.sin(theta), -np.cos(theta)])

        canvas = Canvas(width, height, PAPER)
        canvas.line([(0, floor), (width, floor)], INK, 2)
        canvas.rectangle((middle - 38, floor - 46, middle + 38, floor - 12), (72, 91, 120), radius=7)
        for wheel in (middle - 22, middle + 22):
            canvas.disc((wheel, floor - 11), 10, INK)
            canvas.disc((wheel, floor - 11), 4, PAPER)
        canvas.line([axle, tip], WOOD, 11)
        canvas.disc(axle, 5, PAPER)
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        """A side view 79 columns wide; a character stands twice as tall as wide, so a row up counts two columns."""
        columns, margin = 73, 3
        scale = (columns - 1) / (2 * self.x_threshold)  # columns per metre
        x, _, theta, _ = (float(value) for value in state)
        cart = margin + round(np.clip(x + self.x_threshold, 0, 2 * self.x_threshold) * scale)
        slope = "|" if abs(theta) < 0.03 else "/" if theta > 0 else "\\"

        rows = []
        for up in range(round(self.length * scale), 0, -1):
            column = min(max(cart + round(2 * up * math.tan(theta)), 0), columns + 2 * margin - 1)
            rows.append(" " * column + slope)
        rows.append(" " * (cart - 3) + "┌──┴──┐")
        rows.append(" " * (cart - 3) + "└o───o┘")
        rows.append("─" * (columns + 2 * margin))
        rows.append(f"cart {x:+.2f} m   pole {math.degrees(theta):+.1f}°")
        return "\n".join(rows)
