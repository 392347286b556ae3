"""A vectorised environment of Stable-Baselines3's as the environments of the host that a loop trains in."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.base import HostStep
from tegu.environments.adapters.contract import success_of
from tegu.sb3.vec_env import VecEnv, last_observation
from tegu.sb3.vec_wrappers import is_monitored

Seen = dict[str, Any]  #: what a callback may look at of one step: ``new_obs``, ``rewards``, ``dones``, ``infos``...


class SteppedVecEnv:
    """Any ``VecEnv``. Returns are those of its monitors, before wrappers outside change rewards."""

    time_limit: int | None = None
    reward_function = None

    def __init__(self, vector: VecEnv, seen: PyTree = None):
        """``seen``: what was seen last, where the first ``reset`` is to leave the episodes as they are."""
        self.vector = vector
        self.seen = seen  #: last, by whoever acts
        self.successes: list[bool] = []  #: of the episodes that ended, where they said so
        self._goes_on = seen is not None
        self.observation_space, self.action_space = vector.observation_space, vector.action_space
        self.agents, self.goals = vector.agents, vector.goals
        self.episodes = [0] * vector.num_envs
        self.record: list[Seen] | None = None  #: what steps brought, if anybody wants to know: each is appended
        self._monitored = is_monitored(vector)

    def __len__(self) -> int:
        return self.vector.num_envs

    @property
    def taken(self) -> list[int]:
        return [0] * len(self)

    def reset(self) -> PyTree:
        if not self._goes_on:
            self.seen = _copied(self.vector.reset())
        self._goes_on = False
        return self.seen

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """All of them begin a new episode: a ``VecEnv`` knows no other way."""
        return self.reset()

    def step(self, actions: PyTree) -> HostStep:
        observation, rewards, dones, infos = self.vector.step(actions)
        observation, rewards = _copied(observation), np.array(rewards, np.float32)
        over, following, self.seen = np.array(dones, bool), observation, observation
        infos = [*infos, *({} for _ in range(len(self) - len(infos)))]
        if self.record is not None:
            step = {"new_obs": observation, "rewards": rewards, "dones": over, "infos": infos, "actions": actions}
            self.record.append(step)
        truncated = over & np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        if over.any():
            following = _copied(observation)
            for i in map(int, np.flatnonzero(over)):
                jax.tree.map(_put(i), following, last_observation(infos[i]))
        score, ended = rewards, over
        if self._monitored:  # what is summed over an episode is its return, at once
            ended = np.array(["episode" in info for info in infos])
            score = np.array([info["episode"]["r"] if "episode" in info else 0.0 for info in infos], np.float32)
        said = [success_of(info) for info in infos]
        self.successes += [bool(each) for each, last in zip(said, over, strict=True) if last and each is not None]
        reached = None if all(each is None for each in said) else np.array(said, bool)
        return HostStep(observation, rewards, following, over & ~truncated, truncated, score, ended, reached)

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        raise TeguError("where a VecEnv stands cannot be saved")

    def restore(self, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any], observation: PyTree) -> PyTree:
        raise TeguError("where a VecEnv stands cannot be restored")

    def close(self) -> None:
        self.vector.close()


def _copied(tree: PyTree) -> PyTree:
    """Arrays that nobody writes to any more."""
    return jax.tree.map(np.array, tree)


def _put(i: int) -> Any:
    def put(rows: np.ndarray, row: np.ndarray) -> None:
        rows[i] = row

    return put
