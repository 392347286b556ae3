"""What to say of an environment that cannot be had: the nearest name, what to install, what to give instead."""

import difflib
import importlib.util
import re
from collections.abc import Iterable
from typing import Any

import gymnasium

_EXTRAS = {"classic-control": "classic", "toy-text": "classic", "atari": "atari", "mujoco": "mujoco", "box2d": "box2d"}
"""Gymnasium's extras that Tegu has, too, by Gymnasium's names."""

_IN_FLAX = ("phys2d/", "tabular/")
"""The namespaces of Gymnasium's environments that need flax."""

EXPECTED = "a name, a gymnasium.Env, a PettingZoo environment, a tegu.Environment or a function that makes one"


def described(thing: Any) -> str:
    """What a person gave in place of an environment, and what to give instead if we can tell."""
    kind = type(thing)
    if isinstance(thing, gymnasium.vector.VectorEnv):
        return f"{kind.__name__}, which is many environments: name one, and say how many by n_envs"
    if isinstance(thing, gymnasium.envs.registration.EnvSpec):
        return f"an EnvSpec: give its name, {thing.id!r}"
    if any(base.__module__.partition(".")[0] == "gym" for base in kind.__mro__):
        return f"{kind.__name__} of the old gym: derive it from gymnasium.Env"
    return "None" if thing is None else f"an object of type {kind.__name__}"


def of_tegu(hint: str) -> str:
    """Gymnasium's hint what to install, with Tegu's extra in place of Gymnasium's where there is one."""

    def extra(found: re.Match[str]) -> str:
        ours = _EXTRAS.get(found[1].lower().replace("_", "-"))
        return f"tegu[{ours}]" if ours else found[0]

    needless = "you can install it by run `pip install swig` followed by"  # of Box2D, which is on PyPI as wheels
    return re.sub(r"gymnasium\[([\w-]+)\]", extra, hint.replace(needless, "run"))


def nearest(name: str, known: Iterable[str]) -> str:
    """The names that come nearest, of those that can run here."""
    hidden = () if importlib.util.find_spec("flax") else _IN_FLAX
    near = difflib.get_close_matches(
        name, [each for each in dict.fromkeys(known) if not each.startswith(hidden)], 3, 0.5
    )
    return f"; did you mean {' or '.join(near)}?" if near else "; `tegu list` shows all there are"
