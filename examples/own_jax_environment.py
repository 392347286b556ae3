"""A landing in pure JAX: four seeds of PPO, trained side by side in one compiled program."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

import tegu
from tegu.check import check


class Landing(tegu.Environment):
    """Come down from 100 metres, soon but gently. Every second the engine burns or it does not."""

    gravity: float = 2.0  # parameters are fields; the state is [height in m, speed in m/s]
    thrust: float = 3.0

    @property
    def observation_space(self):
        return gymnasium.spaces.Box(-np.inf, np.inf, (2,))

    @property
    def action_space(self):
        return gymnasium.spaces.Discrete(2)

    def reset(self, key):
        state = jnp.stack([100.0, jax.random.uniform(key, minval=-10.0, maxval=0.0)])
        return state, self.observe(state)

    def step(self, state, action, key):
        height, speed = state
        speed = speed + self.thrust * action - self.gravity
        height = height + speed
        down = height <= 0
        reward = jnp.where(down, 1.0 - jnp.abs(speed) / 5, 0.0) - 0.02  # gentle: below 5 m/s
        state = jnp.stack([height, speed])
        return tegu.Timestep(state, self.observe(state), reward, down)

    def observe(self, state):
        return state / jnp.array([50.0, 10.0])


if __name__ == "__main__":
    landing = Landing(id="Landing", max_episode_steps=100)
    print(check(landing))

    agent = tegu.train(landing, "ppo", seeds=4, steps=40_000, n_envs=8, n_steps=64, batch_size=256, learning_rate=1e-3)

    returns = agent.evaluate(episodes=100).returns  # [seeds, episodes]
    print("\nmean return of each seed:", *returns.mean(axis=1).round(2))
    print(f"{(returns > 0).mean():.0%} of {returns.size} landings were gentle")
