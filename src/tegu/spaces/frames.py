"""Observations that are stacks of frames, said so that a replay buffer need not keep every frame several times."""

from typing import Any

from gymnasium import spaces


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
