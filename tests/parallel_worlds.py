"""Small PettingZoo environments whose every number is known."""

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import AgentSelector


class Leavers(ParallelEnv):
    """Three agents that differ in everything, also in how they leave: ``walker`` ends after two steps, ``clock`` is cut
    after four, ``picker`` ends after five. Each is paid the number of the step, and its choice on top of that."""

    metadata = {"name": "leavers"}  # noqa: RUF012 - as PettingZoo declares it
    possible_agents = ["walker", "clock", "picker"]  # noqa: RUF012
    leaves = {"walker": 2, "clock": 4, "picker": 5}  # noqa: RUF012
    spaces = {  # noqa: RUF012
        "walker": (Box(-9, 9, (2,), np.float32), Discrete(3)),
        "clock": (Discrete(9), Box(-1, 1, (2,), np.float32)),
        "picker": (Dict(place=Box(0, 9, (1,), np.float32), action_mask=MultiBinary(2)), Discrete(2)),
    }

    def __init__(self):
        self.received = []

    def observation_space(self, agent):
        return self.spaces[agent][0]

    def action_space(self, agent):
        return self.spaces[agent][1]

    def reset(self, seed=None, options=None):
        self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        self.place = np.float32(self.random.uniform(-1, 1))
        return self.observations(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.received.append(dict(actions))
        self.time += 1
        self.place = np.float32(self.random.uniform(-1, 1))
        agents = list(self.agents)
        rewards = {agent: self.time + float(np.sum(actions[agent])) for agent in agents}
        left = {agent: self.time == self.leaves[agent] for agent in agents}
        result = (
            self.observations(),
            rewards,
            {agent: left[agent] and agent != "clock" for agent in agents},
            {agent: left[agent] and agent == "clock" for agent in agents},
            {agent: {} for agent in agents},
        )
        for agent in agents:  # out of the very list that was handed out
            if left[agent]:
                self.agents.remove(agent)
        return result

    def observations(self):
        seen = {
            "walker": np.array([self.time, self.place], np.float32),
            "clock": self.time,
            "picker": {
                "place": np.array([self.time], np.float32),
                "action_mask": np.array([1, self.time % 2], np.int8),
            },
        }
        return {agent: seen[agent] for agent in self.agents}


class Talkative(Leavers):
    """Goes on telling about agents that have left."""

    def step(self, actions):
        observation, reward, *rest = super().step(actions)
        everything = {"walker": np.ones(2, np.float32), "clock": 8} | observation
        return everything, {"walker": 7.0, "clock": 7.0} | reward, *rest


class Rounds(AECEnv):
    """Two agents who act one after the other; the world moves when both have. ``a`` ends after three rounds, ``b`` is
    cut after two. An agent is paid the sum of both choices of the round, and observes the number of the round."""

    metadata = {"name": "rounds", "is_parallelizable": True}  # noqa: RUF012
    possible_agents = ["a", "b"]  # noqa: RUF012
    render_mode = None

    def observation_space(self, agent):
        return Box(0, 9, (1,), np.float32)

    def action_space(self, agent):
        return Discrete(3)

    def reset(self, seed=None, options=None):
        self.agents, self.round, self.chosen = list(self.possible_agents), 0, []
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.order = AgentSelector(self.agents)
        self.agent_selection = self.order.next()

    def observe(self, agent):
        return np.array([self.round], np.float32)

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            if self.agents:
                self.order = AgentSelector(self.agents)
                self.agent_selection = self.order.next()
            return
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self.chosen.append(action)
        if self.order.is_last():
            self.round += 1
            self.rewards = dict.fromkeys(self.agents, float(sum(self.chosen)))
            self.terminations = {agent: agent == "a" and self.round == 3 for agent in self.agents}
            self.truncations = {agent: agent == "b" and self.round == 2 for agent in self.agents}
            self.chosen = []
        self.agent_selection = self.order.next()
        self._accumulate_rewards()
        self._deads_step_first()


class Turns(Rounds):
    """The same where order matters."""

    metadata = {"name": "turns", "is_parallelizable": False}  # noqa: RUF012


class Nameless(Leavers):
    """Does not say who may ever come."""

    possible_agents = ()
