"""What a learner holds as named arrays, in the groups in which Stable-Baselines3 has its parameters."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tegu.algorithms.base import Learner
from tegu.core.trees import from_arrays, to_arrays
from tegu.sb3.errors import MismatchError

Parameters = Mapping[str, Mapping[str, np.ndarray]]

_ACTOR_CRITIC, _VALUES = ("network",), ("online", "target")
_SOFT, _DETERMINISTIC = ("actor", "critics", "target_critics"), ("actor", "critics", "target_actor", "target_critics")
NETWORKS = {
    "ppo": _ACTOR_CRITIC,
    "a2c": _ACTOR_CRITIC,
    "trpo": _ACTOR_CRITIC,
    "dqn": _VALUES,
    "qr-dqn": _VALUES,
    "sac": _SOFT,
    "tqc": _SOFT,
    "ddpg": _DETERMINISTIC,
    "td3": _DETERMINISTIC,
}
"""By algorithm, the fields of its learner that are the policy's parameters."""


def arrays_of(learner: Learner, networks: Collection[str]) -> dict[str, dict[str, np.ndarray]]:
    """Copies of a learner's arrays: the networks' under ``"policy"``, the optimizers' under names of their own.
    Those without a number are left out.

    ``networks``: the fields of the learner that are the policy's.
    """
    found: dict[str, dict[str, np.ndarray]] = {"policy": {}}
    for name, array in to_arrays(learner).items():
        if array.size and (group := _group(name, networks)) is not None:
            found.setdefault(group, {})[name] = np.array(array)
    return found


def with_arrays(learner: Learner, given: Parameters, networks: Collection[str], whole: Collection[str]) -> Learner:
    """The learner with the ``given`` arrays; the groups in ``whole`` must be there with all of theirs."""
    arrays, own = to_arrays(learner), arrays_of(learner, networks)
    new: dict[str, Any] = {}
    for group, parameters in given.items():
        if group not in own or not isinstance(parameters, Mapping):
            raise MismatchError(f"parameters do not match: {group} is unknown, expected {', '.join(own)}")
        if odd := sorted(set(parameters) - set(own[group])):
            raise MismatchError(f"parameters do not match: {odd[0]} is unknown")
        new |= parameters
    for group in whole:
        if missing := [name for name in own[group] if name not in new]:
            raise MismatchError(f"parameters do not match: {missing[0]} is missing")
    for name, array in new.items():
        if np.shape(array) != arrays[name].shape:
            shapes = list(arrays[name].shape), list(np.shape(array))
            raise MismatchError(f"parameters do not match: {name} should be {shapes[0]}, it is {shapes[1]}")
    arrays |= {name: np.asarray(array, arrays[name].dtype) for name, array in new.items()}
    return from_arrays(learner, arrays, "the given dict")


def _group(name: str, networks: Collection[str]) -> str | None:
    """Where an array of the learner, such as ``.network.actor.weights[0]``, belongs among the parameters."""
    field = name.removeprefix(".").partition(".")[0].partition("[")[0]
    if field in networks:
        return "policy"
    part, _, last = field.rpartition("_")
    return f"{part or 'policy'}.optimizer" if last == "optimizer" else None
