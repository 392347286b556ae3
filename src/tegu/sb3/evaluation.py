"""``evaluate_policy``: returns of whole episodes in a vectorised environment."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tegu.errors import TeguError
from tegu.sb3.environments import Monitor, as_vec_env
from tegu.training.evaluate import LONGEST


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

    ``model`` has SB3's ``predict``. Each environment of a vector plays its share of the episodes, so that short ones
    are not favoured. An episode without end is cut after ``LONGEST`` steps. Rewards are the monitor's, before outer
    wrappers change them. ``warn`` has no use here: every environment is monitored.
    """
    vector = as_vec_env(env)
    n = vector.num_envs
    due = np.array([(n_eval_episodes + i) // n for i in range(n)])
    played = np.zeros(n, int)
    returns: list[float] = []
    lengths: list[int] = []
    observation, state, starts = vector.reset(), None, np.ones(n, bool)
    while (played < due).any():
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=deterministic)
        observation, _, starts, infos = vector.step(action)
        cut = np.array([env.episode_length >= LONGEST for env in vector.envs]) & ~starts
        for i in map(int, np.flatnonzero(played < due)):
            if callback is not None:
                callback({"model": model, "env": vector, "i": i, "done": starts[i], "info": infos[i]}, {})
            if episode := _cut_short(vector.envs[i]) if cut[i] else infos[i].get("episode"):
                returns.append(episode["r"])
                lengths.append(episode["l"])
                played[i] += 1
        if cut.any():
            observation, starts = vector.begin_anew(cut), starts | cut
        if render:
            vector.render()
    mean = float(np.mean(returns))
    if reward_threshold is not None and mean <= reward_threshold:
        raise TeguError(f"mean reward {mean:.2f} is not above the threshold of {reward_threshold:.2f}")
    return (returns, lengths) if return_episode_rewards else (mean, float(np.std(returns)))


def _cut_short(env: Monitor) -> dict[str, Any]:
    return {"r": env.episode_return, "l": env.episode_length}
