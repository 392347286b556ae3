"""Tabular Q-learning on the lizard as a loop over Python lists: the reference for what compiling it buys."""

import random
import sys

from meter import Meter, report, settings

from tegu.environments.grids.lizard import Lizard

LEARNING_RATE, GAMMA = 0.7, 0.99
FIRST_EPSILON, LAST_EPSILON, EXPLORATION_FRACTION = 1.0, 0.05, 0.5


class QLearner:
    """The table, the world and where the lizard stands in it."""

    def __init__(self, lizard: Lizard, seed: int):
        self.following = lizard.next_state[..., 0].tolist()
        self.reward = lizard.reward[..., 0].tolist()
        self.terminated = lizard.terminated[..., 0].tolist()
        self.first = lizard.initial.tolist().index(1.0)
        self.limit = lizard.max_episode_steps or sys.maxsize
        self.actions = len(self.reward[0])
        self.values = [[0.0] * self.actions for _ in self.reward]
        self.random = random.Random(seed)
        self.state, self.elapsed = self.first, 0

    def learn(self, begin: int, end: int, total: int) -> None:
        """Take the steps ``begin`` to ``end`` of ``total``, one update each."""
        uniform, values, state, elapsed = self.random.random, self.values, self.state, self.elapsed
        for step in range(begin, end):
            share = min(step / (total * EXPLORATION_FRACTION), 1.0)
            row = values[state]
            if uniform() < FIRST_EPSILON + share * (LAST_EPSILON - FIRST_EPSILON):
                action = int(uniform() * self.actions)
            else:
                action = row.index(max(row))
            following, ended = self.following[state][action], self.terminated[state][action]
            future = 0.0 if ended else GAMMA * max(values[following])
            row[action] += LEARNING_RATE * (self.reward[state][action] + future - row[action])
            elapsed += 1
            if ended or elapsed >= self.limit:
                state, elapsed = self.first, 0
            else:
                state = following
        self.state, self.elapsed = state, elapsed


def main() -> None:
    given, meter = settings(), Meter()
    warm_up = given["steps"] // 10
    total = given["steps"] + warm_up
    learner = QLearner(Lizard(), given["seed"])
    learner.learn(0, warm_up, total)
    meter.mark(warm_up)
    learner.learn(warm_up, total, total)
    report(meter.result(total))


main()
