"""Cart-pole swing-up: swing a hanging pole upright by pushing the cart, and hold it there."""

import math

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.base import Environment, Timestep
from tegu.environments.classic.cartpole import CartPole

END = 1.8  #: where the rail ends, m from its middle


class CartPoleSwingUp(Environment):
    """The task ``cartpole-swingup`` of the DeepMind Control Suite (Tassa et al. 2018) in plain cart-pole physics.

    The state is that of ``CartPole``: cart position (m), its velocity (m/s), pole angle (rad, 0 is upright, not
    wrapped) and its velocity (rad/s); the pole begins hanging near the middle of the rail. The observation ``[5]`` is
    the position, the angle's cosine and sine, and both velocities. The action ``[1]`` is the push in [-1, 1], of which
    1 is 10 N, held for 0.02 s. At the ends of the rail, 1.8 m from its middle, the cart stops dead.

    A step pays at most 1: the product of how upright the pole is, (1 + cos) / 2, and of three factors that are 1 where
    the cart is in the middle (else at least 1/2), the push is 0 (at least 4/5) and the pole at rest (at least 1/2), as
    in the suite. An episode of 500 steps lasts 10 s, as there, where it has 1,000 steps of half the time. The task
    never ends by itself.

    Unlike in the suite there is no friction, and at the end of the rail the pole swings on as if the cart had stood.
    """

    id: str = eqx.field(static=True, kw_only=True, default="CartPoleSwingUp-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=500)

    @property
    def physics(self) -> CartPole:
        return CartPole()

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        high = np.array([END, 1, 1, np.inf, np.inf], np.float32)
        return gymnasium.spaces.Box(-high, high)

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Hanging at rest in the middle, but for normal deviations of 0.01 in everything, as in the suite."""
        state = 0.01 * jax.random.normal(key, (4,)) + jnp.array([0, 0, math.pi, 0])
        return state, _observe(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        """Velocities first, which then move cart and pole (symplectic Euler)."""
        physics, push = self.physics, jnp.clip(action[0], -1, 1)
        _, x_acc, _, theta_acc = physics.derivative(state, physics.force_mag * push)
        x, x_dot, theta, theta_dot = state
        x_dot = x_dot + physics.tau * x_acc
        x = x + physics.tau * x_dot
        stands = jnp.abs(x) >= END
        of_pole_alone = 3 * physics.gravity * jnp.sin(theta) / (4 * physics.length)
        theta_dot = theta_dot + physics.tau * jnp.where(stands, of_pole_alone, theta_acc)
        theta = theta + physics.tau * theta_dot
        state = jnp.stack([jnp.clip(x, -END, END), jnp.where(stands, 0, x_dot), theta, theta_dot])
        return Timestep(state, _observe(state), reward(state, push), jnp.bool_(False))

    def state_of(self, observation: jax.Array) -> jax.Array:
        """The angle is in [-pi, pi], to which its turns make no difference."""
        x, cosine, sine, x_dot, theta_dot = observation
        return jnp.stack([x, x_dot, jnp.arctan2(sine, cosine), theta_dot])

    def image(self, state: np.ndarray) -> np.ndarray:
        return self.physics.image(state)


def reward(state: jax.Array, push: jax.Array) -> jax.Array:
    """What a state that a ``push`` in [-1, 1] led to pays, from 0 to 1."""
    x, _, theta, theta_dot = state
    upright = (1 + jnp.cos(theta)) / 2
    centred = (1 + _near(x, 2.0)) / 2
    gentle = (4 + 1 - push**2) / 5
    still = (1 + _near(theta_dot, 5.0)) / 2
    return upright * centred * gentle * still


def _near(x: jax.Array, margin: float) -> jax.Array:
    """1 where ``x`` is 0, 1/10 where it is as large as ``margin``, by a Gaussian in between and beyond."""
    return 0.1 ** ((x / margin) ** 2)


def _observe(state: jax.Array) -> jax.Array:
    x, x_dot, theta, theta_dot = state
    return jnp.stack([x, jnp.cos(theta), jnp.sin(theta), x_dot, theta_dot])
