"""Stable-Baselines3's ``HerReplayBuffer`` as a hyper-parameter of Tegu's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tegu.core.errors import TeguError


@dataclass(frozen=True)
class HerReplayBuffer:
    """Hindsight experience replay (Andrychowicz et al. 2017): give this class to ``DQN`` as ``replay_buffer_class``.

    Its fields are what ``replay_buffer_kwargs`` may hold. The steps are kept in Tegu's own replay buffer.
    """

    n_sampled_goal: int = 4  #: goals reached later for each own one
    goal_selection_strategy: Any = "future"  #: the only one that there is
    copy_info_dict: bool = False  #: rewards follow from goals alone, so it must stay False

    def __post_init__(self) -> None:
        strategy = getattr(self.goal_selection_strategy, "name", self.goal_selection_strategy)  # SB3 has an enum, too
        if str(strategy).lower() != "future":
            raise TeguError(f"HerReplayBuffer: goal_selection_strategy must be 'future', got {strategy!r}")
        if self.copy_info_dict:
            raise TeguError("HerReplayBuffer: copy_info_dict is not supported: rewards must follow from goals alone")


def hindsight_settings(replay_buffer_class: Any, replay_buffer_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """What these two arguments of SB3's stand for, as hyper-parameters."""
    if replay_buffer_class is None:
        if replay_buffer_kwargs:
            raise TeguError("replay_buffer_kwargs are those of a replay_buffer_class: expected HerReplayBuffer")
        return {}
    if replay_buffer_class is not HerReplayBuffer:
        shown = getattr(replay_buffer_class, "__name__", repr(replay_buffer_class))
        module = getattr(replay_buffer_class, "__module__", "")
        raise TeguError(f"replay_buffer_class must be HerReplayBuffer of tegu.sb3, got {shown} of {module}")
    given, known = dict(replay_buffer_kwargs or {}), [field.name for field in fields(HerReplayBuffer)]
    if unknown := [name for name in given if name not in known]:
        raise TeguError(f"HerReplayBuffer has no {unknown[0]}: expected {', '.join(known)}")
    return {"n_sampled_goal": HerReplayBuffer(**given).n_sampled_goal}
