"""A heater as a Gymnasium environment, checked and then trained with PPO."""

import gymnasium
import numpy as np
from gymnasium import spaces

import tegu
from tegu.check import check


class Heater(gymnasium.Env):
    """Keep a room at a temperature for a day. A step is a quarter of an hour; the heater's power is the action."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = spaces.Dict({"room": spaces.Box(-3, 3, (1,)), "outside": spaces.Box(-3, 3, (1,))})
    action_space = spaces.Box(-1, 1, (1,))  # off to full power

    def __init__(self, target=21.0):
        self.target = target

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        self.room, self.cold = self.np_random.uniform(12, 28), self.np_random.uniform(-5, 10)
        return self.observation(), {}

    def step(self, action):
        self.time += 1
        self.room += 1.5 * (action[0] + 1) / 2 + 0.05 * (self.outside() - self.room)
        reward = -min(abs(self.room - self.target) / 10, 1.0)
        return self.observation(), float(reward), False, self.time >= 96, {}  # the day is over: truncated

    def outside(self):
        return self.cold + 5 * np.sin(2 * np.pi * self.time / 96)

    def observation(self):
        scaled = {"room": (self.room - self.target) / 5, "outside": self.outside() / 10}
        return {name: np.array([value], np.float32).clip(-3, 3) for name, value in scaled.items()}


if __name__ == "__main__":
    print(check(Heater()))

    agent = tegu.train(Heater, "ppo", steps=30_000, n_envs=8, n_steps=96, gamma=0.9, learning_rate="lin_3e-3")

    deviation = -10 * agent.evaluate(episodes=50).mean / 96
    print(f"\nafter {agent.steps:,} steps the room is {deviation:.2f} degrees off on average")
