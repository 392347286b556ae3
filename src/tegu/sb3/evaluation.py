"""Returns of whole episodes: ``evaluate_policy``."""

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from tegu.acting.evaluation import LONGEST
from tegu.sb3.environments import DummyVecEnv, as_vec_env
from tegu.sb3.errors import ArgumentError
from tegu.sb3.monitor import wrappers
from tegu.sb3.vec_env import VecEnv
from tegu.sb3.vec_wrappers import is_monitored

USUAL = (gymnasium.wrappers.TimeLimit, gymnasium.wrappers.OrderEnforcing, gymnasium.wrappers.PassiveEnvChecker)
"""Wrappers that ``gymnasium.make`` brings."""


def evaluate_policy(
    model: Any,
    env: Any,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
    reward_threshold: float | None = None,
    return_episode_rewards: bool = False,
    warn: bool = True,
) -> tuple[float, float] | tuple[list[float], list[int]]:
    """Mean and standard deviation of the return over ``n_eval_episodes``, or lists of returns and lengths.

    ``model`` has SB3's ``predict``. Each environment of a vector plays its part of the episodes, so that short ones
    are not favoured. An episode without end is cut after ``LONGEST`` steps. Rewards are the monitor's, before outer
    wrappers change them; where wrappers may do so and there is none, it warns.
    """
    vector = as_vec_env(env)
    n = vector.num_envs
    monitored = is_monitored(vector)
    if warn and not monitored and _is_wrapped(vector):
        warnings.warn(
            "the environment of the evaluation has no Monitor around it: returns and lengths are those after all "
            "wrappers",
            stacklevel=2,
        )
    due = np.array([(n_eval_episodes + i) // n for i in range(n)])
    played, rewards_so_far, length = np.zeros(n, int), np.zeros(n), np.zeros(n, int)
    returns: list[float] = []
    lengths: list[int] = []
    observation, state, starts = vector.reset(), None, np.ones(n, bool)
    while (played < due).any():
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=deterministic)
        new, rewards, dones, infos = vector.step(action)
        rewards_so_far += rewards
        length += 1
        dones = np.asarray(dones, bool)
        cut = (length >= LONGEST) & ~dones
        for i in map(int, np.flatnonzero(played < due)):
            info = infos[i] if i < len(infos) else {}
            if callback is not None:
                seen = {"model": model, "env": vector, "observations": observation, "new_observations": new}
                seen |= {"actions": action, "rewards": rewards, "dones": dones, "infos": infos, "states": state}
                callback({**seen, "i": i, "reward": rewards[i], "done": dones[i], "info": info}, {})
            ended: Any = {"r": float(rewards_so_far[i]), "l": int(length[i])} if cut[i] or dones[i] else None
            if monitored and not cut[i]:
                ended = info.get("episode")
            if ended is not None:
                returns.append(ended["r"])
                lengths.append(ended["l"])
                played[i] += 1
        begun = dones | cut
        rewards_so_far[begun], length[begun] = 0, 0
        observation, starts = new, begun
        if cut.any():
            observation, starts = _begin_anew(vector, cut), begun
        if render:
            vector.render()
    mean = float(np.mean(returns))
    if reward_threshold is not None and mean <= reward_threshold:
        raise ArgumentError(f"mean reward {mean:.2f} is not above the threshold of {reward_threshold:.2f}")
    return (returns, lengths) if return_episode_rewards else (mean, float(np.std(returns)))


def _is_wrapped(vector: VecEnv) -> bool:
    """Whether anything may change rewards and ends of episodes."""
    if not isinstance(vector, DummyVecEnv):
        return True
    return any(not isinstance(wrapper, USUAL) for env in vector.watched for wrapper in wrappers(env.env))


def _begin_anew(vector: VecEnv, cut: np.ndarray) -> Any:
    """New episodes where the running ones are ``cut``; everywhere, where only that can be had."""
    return vector.begin_anew(cut) if isinstance(vector, DummyVecEnv) else vector.reset()
