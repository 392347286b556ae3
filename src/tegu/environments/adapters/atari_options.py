"""How an Atari game is played and seen, and the protocols that papers have compared algorithms by."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tegu.core.errors import TeguError

PROTOCOLS: dict[str, dict[str, Any]] = {
    "v5": {},
    "machado": {"full_action_space": True, "max_num_frames_per_episode": 18_000},
    "nature": {"repeat_action_probability": 0.0, "noop_max": 30, "episodic_life": True},
}
"""Options by the name of a protocol: that of ALE's v5 environments, of Machado et al. (2018), of Mnih et al. (2015)."""

_MOST_FRAMES = 2**30


@dataclass(frozen=True)
class AtariOptions:
    """How a game is played and seen. The names are those of ale-py and Gymnasium."""

    game: str  #: ale-py's name of the ROM, such as ``"space_invaders"``
    repeat_action_probability: float = 0.25  #: with which a frame repeats the action of the one before (sticky actions)
    full_action_space: bool = False  #: all 18 actions, not only those that do something in the game
    frameskip: int = 4  #: frames of a step
    maxpool: bool = True  #: see the brighter one of each pixel in a step's last two frames
    noop_max: int = 0  #: an episode begins with up to so many frames of no action
    use_fire_reset: bool = False  #: and with FIRE, where that is an action of the game
    max_num_frames_per_episode: int = 108_000  #: after which an episode is truncated: 108,000 are 30 minutes
    episodic_life: bool = False  #: a lost life ends the episode that is learned from
    reward_clipping: bool = True  #: rewards that are learned from lie in [-1, 1]
    stack_num: int = 4  #: frames of an observation
    img_height: int = 84
    img_width: int = 84

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            _check(field.name, getattr(self, field.name), field.default)

    @classmethod
    def of(cls, game: str, options: Mapping[str, Any]) -> "AtariOptions":
        """Those of ``options["protocol"]`` (v5), with the others in place of its own. ``TeguError`` for wrong ones."""
        given = dict(options)
        protocol = given.pop("protocol", "v5")
        if protocol not in PROTOCOLS:
            raise TeguError(f"protocol of an Atari game must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        known = [field.name for field in fields(cls)[1:]]
        if unknown := [name for name in given if name not in known]:
            raise TeguError(f"Atari games have no option {unknown[0]}: expected protocol, {', '.join(known)}")
        return cls(game, **PROTOCOLS[protocol] | given)

    @property
    def time_limit(self) -> int:
        """Steps after which an episode is truncated."""
        return -(-self.max_num_frames_per_episode // self.frameskip)


def _check(name: str, value: Any, default: Any) -> None:
    """Raise ``TeguError`` unless an option has the type of its default, and a value that makes sense."""
    if isinstance(default, bool):
        expected, fits = "true or false", isinstance(value, bool)
    elif isinstance(default, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        expected, fits = "a number from 0 to 1", number and 0 <= value <= 1
    else:
        least = 0 if name == "noop_max" else 1
        expected = f"a whole number from {least} to {_MOST_FRAMES:,}"
        fits = type(value) is int and least <= value <= _MOST_FRAMES
    if not fits:
        raise TeguError(f"{name} of an Atari game must be {expected}, got {value!r}")
