"""Stable-Baselines3's ``HerReplayBuffer`` as a hyper-parameter of Tegu's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from reprlib import repr as shorten
from typing import Any

from tegu.core.errors import TeguError
from tegu.environments.adapters.goals import HostGoals
from tegu.sb3.replay import ReplayBuffer


class GoalSelectionStrategy(Enum):
    """Which step of an episode gives another step its goal."""

    FUTURE = 0  #: a random one from that step on
    FINAL = 1  #: the last one
    EPISODE = 2  #: a random one


@dataclass(frozen=True)
class HerReplayBuffer:
    """Hindsight experience replay (Andrychowicz et al. 2017): give this class to ``DQN`` as ``replay_buffer_class``.

    Its fields are what ``replay_buffer_kwargs`` may hold. The steps are kept in Tegu's own replay buffer.
    """

    n_sampled_goal: int = 4  #: goals reached later for each own one
    goal_selection_strategy: Any = "future"  #: future, final or episode, or a ``GoalSelectionStrategy``
    copy_info_dict: bool = False  #: makes no difference, because rewards must follow from goals alone
    handle_timeout_termination: bool = True  #: it must stay True: Tegu never takes the end of time for a termination

    def __post_init__(self) -> None:
        check_timeouts(self.handle_timeout_termination)


def hindsight_settings(replay_buffer_class: Any, replay_buffer_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What these two arguments of SB3's stand for, as hyper-parameters."""
    if not isinstance(replay_buffer_kwargs, Mapping | None):
        raise TeguError(f"replay_buffer_kwargs must be a dict, got {shorten(replay_buffer_kwargs)}")
    given = dict(replay_buffer_kwargs or {})
    if replay_buffer_class in (None, ReplayBuffer):  # which is what there is anyway
        check_timeouts(given.pop("handle_timeout_termination", True))
        if given:
            raise TeguError("replay_buffer_kwargs are those of a replay_buffer_class: expected HerReplayBuffer")
        return {}
    if replay_buffer_class is not HerReplayBuffer:
        shown = getattr(replay_buffer_class, "__name__", repr(replay_buffer_class))
        module = getattr(replay_buffer_class, "__module__", "")
        raise TeguError(f"replay_buffer_class must be HerReplayBuffer of tegu.sb3, got {shown} of {module}")
    known = [field.name for field in fields(HerReplayBuffer)]
    if unknown := [name for name in given if name not in known]:
        raise TeguError(f"HerReplayBuffer has no {unknown[0]}: expected {', '.join(known)}")
    buffer = HerReplayBuffer(**given)
    strategy = getattr(buffer.goal_selection_strategy, "name", buffer.goal_selection_strategy)
    return {"n_sampled_goal": buffer.n_sampled_goal, "goal_selection_strategy": str(strategy).lower()}


def check_timeouts(handled: Any) -> None:
    """Raise ``TeguError`` where the end of time is to count as a termination."""
    if not handled:
        raise TeguError(
            "handle_timeout_termination must be True: Tegu bootstraps where time was up; an environment for which that "
            "is an end should say terminated"
        )


def check_infos(replay_buffer_kwargs: Mapping[str, Any] | None, goals: Any) -> None:
    """Raise ``TeguError`` where infos are asked for and what ``goals`` pay would depend on them."""
    asked = (replay_buffer_kwargs or {}).get("copy_info_dict")
    if asked and isinstance(goals, HostGoals) and goals.reads_info():
        raise TeguError(
            "HerReplayBuffer: copy_info_dict=True is supported only where compute_reward does not look at info: what a "
            "step pays must follow from the goals alone"
        )
