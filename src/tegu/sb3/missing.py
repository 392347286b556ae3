"""What a person looks for in ``tegu.sb3`` and does not find."""

import difflib
from collections.abc import Sequence

from tegu.core.errors import TeguError

ELSEWHERE = {
    "A2C": "PPO is the nearest to it",
    "DDPG": "use tegu.train(env, tegu.DDPG())",
    "GoalSelectionStrategy": "name the strategy, goal_selection_strategy='future'",
    "SAC": "use tegu.train(env, tegu.DDPG()) for continuous actions",
    "TD3": "use tegu.train(env, tegu.DDPG()) for continuous actions",
    "SubprocVecEnv": "make_vec_env steps its environments in this process",
    "VecNormalize": "use tegu.train(env, tegu.PPO(normalize_observation=True, normalize_reward=True))",
    "VecMonitor": "make_vec_env monitors its environments",
    "check_env": "use the command tegu check",
    "common": "make_vec_env, evaluate_policy, the callbacks... are imported from tegu.sb3 itself",
    "set_random_seed": "give each model its seed",
}  #: names of Stable-Baselines3, and what to do instead


class MissingError(TeguError, ImportError):
    """``tegu.sb3`` has no such name."""


def missing(name: str, names: Sequence[str]) -> Exception:
    """The error for a ``name`` that is not among the ``names`` of ``tegu.sb3``; Python's own for what begins with _."""
    if name.startswith("_"):
        return AttributeError(f"module 'tegu.sb3' has no attribute {name!r}")
    near = difflib.get_close_matches(name, names, n=1)
    hint = ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}")
    return MissingError(f"tegu.sb3 has no {name}: {hint}")
