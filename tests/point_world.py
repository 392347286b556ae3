"""A world in which a policy or a model is learned in seconds."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

from tegu.environments.base import Environment, Timestep


class Point(Environment):
    """A point on a line, which pays for being near 0 and goes where it is pushed: by up to 0.5 in two dimensions of
    which only the first counts, or by -0.5, 0 or 0.5."""

    id: str = eqx.field(static=True, kw_only=True, default="point")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=10)
    discrete: bool = eqx.field(static=True, default=False)

    @property
    def observation_space(self):
        return gymnasium.spaces.Box(-10, 10, (1,))

    @property
    def action_space(self):
        return gymnasium.spaces.Discrete(3) if self.discrete else gymnasium.spaces.Box(-0.5, 0.5, (1, 2))

    def reset(self, key):
        x = jax.random.uniform(key, (1,), minval=-2, maxval=2)
        return x, x

    def step(self, state, action, key):
        x = state + (0.5 * (action - 1) if self.discrete else action[0, 0])
        return Timestep(x, x, -jnp.abs(x[0]), jnp.zeros((), bool))
