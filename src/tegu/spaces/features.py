"""What Gymnasium's spaces mean to a network: features in, actions out, and the one mapping to action bounds."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree

ACTION_MASK = "action_mask"  #: key of a Dict observation that holds the legal actions (PettingZoo's convention)
ACHIEVED_GOAL, DESIRED_GOAL = "achieved_goal", "desired_goal"  #: keys beside "observation" where goals are observed
STATE = "state"  #: key beside the agents of a Dict observation that holds what critics may see, and actors may not


def in_order(space: spaces.Dict) -> list[tuple[Any, spaces.Space]]:
    """The parts of a Dict in the order of their names, in which JAX holds them. ``TeguError`` where there is none."""
    try:
        return sorted(space.items())
    except TypeError:
        raise TeguError(
            f"the keys of a Dict space must all be text, or all be whole numbers: got {', '.join(map(repr, space))}"
        ) from None


def parts(space: spaces.Space, name: Any = None, start: int = 0) -> Iterator[tuple[Any, spaces.Space, int]]:
    """What a Dict holds at any depth that is no Dict, in its order, without the action mask: the name, the space and
    the index of the first of its features. A space that is no Dict is its only part, and has no name: None."""
    if not isinstance(space, spaces.Dict):
        yield name, space, start
        return
    for each, part in in_order(space):
        if each != ACTION_MASK:
            yield from parts(part, each, start)
            start += n_features(part)


def n_features(space: spaces.Space) -> int:
    """Length of ``features(space, observation)``'s last axis."""
    match space:
        case spaces.Box():
            return int(np.prod(space.shape))
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(np.sum(space.nvec))
        case spaces.MultiBinary():
            return int(np.prod(space.shape))
        case spaces.Dict():
            return sum(n_features(part) for name, part in in_order(space) if name != ACTION_MASK)
    raise TeguError(
        f"observation space {one_line(space)} is not supported: "
        "expected Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these"
    )


def features(space: spaces.Space, observation: PyTree) -> jax.Array:
    """Flatten observations ``[..., *shape]`` to float32 features ``[..., n]``.

    Boxes are flattened (uint8 images scaled to [0, 1]), discrete values become one-hot vectors, the entries of a Dict
    are joined in the order of their names; an action mask is not a feature.
    """
    match space:
        case spaces.Box():
            batch = observation.shape[: observation.ndim - len(space.shape)]
            flat = observation.reshape((*batch, -1)).astype(jnp.float32)
            return flat / 255.0 if space.dtype == np.uint8 else flat
        case spaces.Discrete():
            return jax.nn.one_hot(observation - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            index = (observation - space.start).reshape((*observation.shape[: -len(space.shape)], -1))
            return jnp.concatenate(
                [jax.nn.one_hot(index[..., i], int(n)) for i, n in enumerate(space.nvec.ravel())], axis=-1
            )
        case spaces.MultiBinary():
            return observation.reshape((*observation.shape[: -len(space.shape)], -1)).astype(jnp.float32)
        case spaces.Dict():
            seen = [(name, part) for name, part in in_order(space) if name != ACTION_MASK and n_features(part)]
            return jnp.concatenate([features(part, observation[name]) for name, part in seen], axis=-1)
    raise TeguError(f"observation space {space} is not supported")


def observes_goals(space: spaces.Space) -> bool:
    """Whether observations say which goal is desired and which is achieved, as Gymnasium-Robotics has it."""
    return isinstance(space, spaces.Dict) and {ACHIEVED_GOAL, DESIRED_GOAL} <= space.keys()


def action_mask(space: spaces.Space, observation: PyTree) -> jax.Array | None:
    """Legal actions ``[..., n]`` as bool where the observation carries them, else None: all are legal."""
    if isinstance(space, spaces.Dict) and ACTION_MASK in space.spaces:
        return observation[ACTION_MASK].astype(bool)
    return None


def require_mask(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Raise one clear line unless the action mask, if observations have one, has an entry for each action.

    What is deeper inside an observation would be no mask and no feature either.
    """
    if not isinstance(observation_space, spaces.Dict):
        return
    for name, part in observation_space.items():
        if name != ACTION_MASK:
            refuse_masks(part, f"observation[{name!r}]")
    if ACTION_MASK not in observation_space.spaces:
        return
    if not isinstance(action_space, spaces.Discrete | spaces.MultiDiscrete):
        raise TeguError(
            f"an {ACTION_MASK} needs Discrete or MultiDiscrete actions, the environment has {one_line(action_space)}"
        )
    expected, shape = (n_features(action_space),), observation_space[ACTION_MASK].shape
    if shape != expected:
        raise TeguError(
            f"the {ACTION_MASK} must have one entry for each action of {one_line(action_space)}: expected shape "
            f"{expected}, got {shape}"
        )


def refuse_masks(space: spaces.Space, place: str) -> None:
    """Raise one clear line if there is an action mask in a part of an observation where none is read."""
    for name, part in space.items() if isinstance(space, spaces.Dict) else ():
        if name == ACTION_MASK:
            raise TeguError(
                f"an {ACTION_MASK} is read at the top of an agent's own observation only, the environment has one in "
                f"{place}: move it up, or rename it if it is something to observe"
            )
        refuse_masks(part, f"{place}[{name!r}]")


def zeros(space: spaces.Space) -> PyTree:
    """An observation or action of zeros, as NumPy arrays: the shapes and dtypes the loops work with.

    float64 becomes float32 and int64 becomes int32, as JAX holds them.
    """
    match space:
        case spaces.Dict():
            return {name: zeros(part) for name, part in space.items()}
        case spaces.Discrete():
            return np.zeros((), np.int32)
        case _ if space.shape is None:
            n_features(space)  # says which spaces there are
    return np.zeros(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))


def require(algorithm: str, role: str, space: spaces.Space, *kinds: type[spaces.Space]) -> None:
    """Raise one clear line unless ``space`` is one of ``kinds``; ``role`` is ``"observation"`` or ``"action"``."""
    if not isinstance(space, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise TeguError(f"{algorithm} needs a {expected} {role} space, the environment has {one_line(space)}")
    if role == "action" and isinstance(space, spaces.Box) and not space.is_bounded():
        raise TeguError(f"{algorithm} needs finite action bounds, the environment has {one_line(space)}")
    if role == "action" and n_features(space) == 0:
        raise TeguError(f"{algorithm} needs something to choose, the environment has {one_line(space)}")
    if role == "observation" and n_features(space) == 0:
        raise TeguError(f"{algorithm} needs something to observe, the environment has {one_line(space)}")


def one_line(space: spaces.Space) -> str:
    """A space as text without the line breaks of its bounds."""
    return " ".join(str(space).split())
