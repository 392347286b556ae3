"""Where the environment of a saved agent comes from, and whether it is still the one that the agent learned in."""

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from tegu.core.code import is_code
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.environments.games.base import Game
from tegu.environments.make import Source, find


def saved_source(name: str, config: Mapping[str, Any], environment: Any) -> Source | None:
    """Where the environment of a saved agent comes from, if that can be had here."""
    as_trained = config.get("backend"), config.get("environment_options")
    if environment is not None:
        same = isinstance(environment, str) and environment == name
        return find(environment, *as_trained) if same else find(environment)
    if is_code(name):
        return None
    try:
        return find(name, *as_trained)
    except TeguError:  # an environment that is not installed here, or only ever was an object
        return None


def fits(source: Source, spec: EnvironmentSpec) -> bool:
    """Whether an environment in JAX has the spaces of ``spec``; others would have to be made to find out.

    The positions of a game may hold more than they did then: what networks see of them is ``Game.features``.
    """
    world = source.native
    if world is None:
        return True
    seen, saved = world.observation_space, spec.observation_space
    if isinstance(world, Game) and isinstance(seen, spaces.Dict) and isinstance(saved, spaces.Dict):
        seen = spaces.Dict({name: space for name, space in seen.items() if name in saved.spaces})
    return (seen, world.action_space) == (saved, spec.action_space)
