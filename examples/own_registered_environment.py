"""A package that registers an environment with Gymnasium, trained on by name. Here the package is this file itself."""

import gymnasium
import numpy as np
from gymnasium import spaces

import tegu


class Thermostat(gymnasium.Env):
    """Bring a room to 0 and keep it there; the action cools, leaves alone or heats."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = spaces.Box(-3, 3, (1,))
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room = self.np_random.uniform(-2, 2)
        return self.observation(), {}

    def step(self, action):
        self.room += 0.2 * (int(action) - 1)
        return self.observation(), -min(abs(self.room), 1.0), False, False, {}

    def observation(self):
        return np.array([self.room], np.float32).clip(-3, 3)


if __name__ != "__main__":  # in a package this stands in its __init__.py: it runs when the package is imported
    gymnasium.register("Thermostat-v0", entry_point=Thermostat, max_episode_steps=40)
else:
    name = "own_registered_environment:Thermostat-v0"  # package:Name-v0
    agent = tegu.train(name, "dqn", steps=4_000, net_arch=(32,), learning_rate=1e-3, target_update_interval=500)
    print(f"mean return {agent.evaluate(episodes=50).mean:.1f}")
    print(f"loaded: {tegu.load('last', environment=name)!r}")  # the run knows the name, and imports nothing by itself
