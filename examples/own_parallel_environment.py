"""Firefighters as a PettingZoo environment, checked and then trained with IPPO. One of them leaves early."""

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

import tegu
from tegu.check import check


class Fires(ParallelEnv):
    """Every hour five houses burn, some harder than others. Each goes to one; in the same one they cannot work."""

    metadata = {"name": "fires"}  # noqa: RUF012 - as PettingZoo declares it
    possible_agents = ["old", "young"]  # noqa: RUF012

    def observation_space(self, agent):
        return spaces.Box(0, 1, (5,))

    def action_space(self, agent):
        return spaces.Discrete(5)

    def reset(self, seed=None, options=None):
        self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        self.heat = self.random.uniform(0, 1, 5)
        return self.observations(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.time += 1
        agents, chosen = self.agents, list(actions.values())
        pay = {agent: self.heat[house] * (chosen.count(house) == 1) for agent, house in actions.items()}
        self.heat = self.random.uniform(0, 1, 5)
        ended = {agent: agent == "old" and self.time == 5 for agent in agents}  # goes home: terminated
        cut = dict.fromkeys(agents, self.time == 10)  # the night is over: truncated
        observations = self.observations()
        self.agents = [agent for agent in agents if not ended[agent] and not cut[agent]]
        return observations, pay, ended, cut, {agent: {} for agent in agents}

    def observations(self):
        return {agent: self.heat.astype(np.float32) for agent in self.agents}


if __name__ == "__main__":
    print(check(Fires()))
    settings = {"steps": 40_000, "n_envs": 8, "n_steps": 50, "batch_size": 100, "learning_rate": 3e-3, "gamma": 0.5}
    agent = tegu.train(Fires, "ippo", **settings)
    played = agent.evaluate(episodes=100)
    returns = ", ".join(f"{name} {returns.mean():.2f}" for name, returns in played.agents.items())
    print(f"\nmean return: {returns}, of both {played.mean:.2f}; 3.25 by chance, 5.83 at best")
