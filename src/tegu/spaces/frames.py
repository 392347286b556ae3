"""Observations that are stacks of frames, said so that a replay buffer need not keep every frame several times."""

from typing import Any

import numpy as np
from gymnasium import spaces

from tegu.core.step import PyTree


class FrameStack(spaces.Box):
    """The last frames of an episode, the newest last: ``[n, *frame]``, all zeros where the episode was not yet.

    Who observes it promises that an observation is the one before it without its oldest frame and with a new one, and
    that the first observation of an episode, which follows on a step that was ``terminated`` or ``truncated``, holds
    one frame. The arguments are those of a ``Box``.
    """

    def __repr__(self) -> str:
        return super().__repr__().replace("Box", "FrameStack", 1)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, FrameStack) and super().__eq__(other)


def has_frame_stacks(space: Any) -> bool:
    """Whether a space is a stack of frames, or has one among its parts."""
    return isinstance(space, FrameStack) or (
        isinstance(space, spaces.Dict) and any(has_frame_stacks(part) for part in space.values())
    )


def broken_promise(
    space: Any, observation: PyTree, before: PyTree = None, name: str = "observation"
) -> tuple[str, str] | None:
    """Which part of observations ``[..., ...]`` is not what the stacks of frames in their ``space`` promise, and what
    is expected of it; ``None`` if all are. ``before`` are those of one step earlier, ``None`` where an episode begins.
    """
    if isinstance(space, spaces.Dict):
        earlier = dict.fromkeys(space) if before is None else before
        parts = (broken_promise(space[key], observation[key], earlier[key], f'{name}["{key}"]') for key in space)
        return next(filter(None, parts), None)
    if not isinstance(space, FrameStack):
        return None
    older = np.reshape(observation, (-1, *space.shape))[:, :-1]
    if before is None:
        return (name, "one frame, the last, and zeros where an episode begins") if older.any() else None
    same = np.array_equal(older, np.reshape(before, (-1, *space.shape))[:, 1:])
    return None if same else (name, "the one before it without its first frame, the oldest, and with a new last one")
