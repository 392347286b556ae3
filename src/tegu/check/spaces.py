"""Do the spaces make sense to Tegu, and do values lie in them? Each answer names the entry, not only yes or no."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from tegu.check.findings import Findings
from tegu.core.step import PyTree
from tegu.spaces.features import ACTION_MASK
from tegu.spaces.frames import broken_promise
from tegu.spaces.observations import limits

Leaf = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
AnyArray = np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct

_INSTEAD = {
    spaces.Tuple: "give the parts names in a Dict, or several Discrete ones one MultiDiscrete",
    spaces.Text: "encode the characters as a MultiDiscrete of fixed length",
    spaces.Graph: "a Dict of fixed size: a Box of nodes and a MultiBinary of edges, padded",
    spaces.Sequence: "pad to a fixed length: a Dict of a Box and a MultiBinary that marks what is filled",
    spaces.OneOf: "a Dict of all alternatives and a Discrete that says which one counts",
}


def declared_spaces(environment: Any, findings: Findings) -> tuple[spaces.Space | None, spaces.Space | None]:
    """The observation and the action space, both checked; None for one that is missing."""
    observation, action = given_spaces(environment, findings)
    for name, space in (("observation_space", observation), ("action_space", action)):
        if space is not None:
            _check_kind(findings, name, space)
    check_actions(findings, "action_space", action)
    check_mask_space(findings, "observation_space", observation, action)
    return observation, action


def given_spaces(environment: Any, findings: Findings) -> tuple[spaces.Space | None, spaces.Space | None]:
    """The observation and the action space, of whatever kind; None for what is missing or no space at all."""
    found = []
    for name in ("observation_space", "action_space"):
        with findings.calling(name):
            space = getattr(environment, name, None)
        found.append(_given_space(findings, name, space, f"{name} = gymnasium.spaces.Box(...) or Discrete(n)"))
    return found[0], found[1]


def checked_space(findings: Findings, where: str, space: Any, hint: str) -> spaces.Space | None:
    """What is said to be a space, if it is one."""
    given = _given_space(findings, where, space, hint)
    if given is not None:
        _check_kind(findings, where, given)
    return given


def _given_space(findings: Findings, where: str, space: Any, hint: str) -> spaces.Space | None:
    if isinstance(space, spaces.Space):
        return space
    problem = "is missing" if space is None else "is not a Gymnasium space"
    got = "" if space is None else f"{type(space).__module__}.{type(space).__qualname__}"
    findings.error(where, problem, "a gymnasium.spaces.Space", got, hint)
    return None


def check_actions(findings: Findings, name: str, space: spaces.Space | None) -> None:
    """Report bounds that policies could not keep to, or would have trouble with.

    One of several agents may also give shares from 0 to 1, which MADDPG takes for a choice.
    """
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            if not is_shares(part):
                check_actions(findings, f'{name}["{key}"]', part)
    elif isinstance(space, spaces.Box) and not space.is_bounded():
        hint = "say how large an action can sensibly be; Box(-1, 1, shape) is the best, scaled inside step()"
        findings.error(name, "the actions have no finite bounds", "finite low and high", describe(space), hint)
    elif isinstance(space, spaces.Box) and not ((space.low == -1).all() and (space.high == 1).all()):
        findings.warning(
            name,
            "the actions do not range from -1 to 1",
            "Box(-1, 1, shape)",
            describe(space),
            "policies begin around 0 with a spread of 1: scale in step(), or by gymnasium.wrappers.RescaleAction",
        )


def is_shares(space: spaces.Space) -> bool:
    """Whether an action is a vector in [0, 1]."""
    return isinstance(space, spaces.Box) and bool((space.low == 0).all() and (space.high == 1).all())


def check_mask_space(
    findings: Findings, name: str, observation: spaces.Space | None, action: spaces.Space | None
) -> None:
    """Report a mask, if the observation has one, that does not have an entry for each action."""
    if not isinstance(observation, spaces.Dict) or ACTION_MASK not in observation.spaces or action is None:
        return
    mask, where = observation[ACTION_MASK], f'{name}["{ACTION_MASK}"]'
    match action:
        case spaces.Discrete():
            length = int(action.n)
        case spaces.MultiDiscrete():
            length = int(np.sum(action.nvec))
        case _:
            expected = "Discrete or MultiDiscrete actions"
            findings.error(where, "a mask needs discrete actions", expected, describe(action))
            return
    if mask.shape != (length,):
        expected, hint = (
            f"shape ({length},), one entry per action",
            f"MultiBinary({length}): 1 where the action is legal",
        )
        findings.error(where, "the mask does not fit the actions", expected, f"shape {mask.shape}", hint)


def describe(space: spaces.Space | None) -> str:
    """A space in one line."""
    return " ".join(str(space).split())


def describe_each(spaces_of: Mapping[str, spaces.Space]) -> str:
    """The spaces of several agents, those of a kind together."""
    kinds: dict[str, list[str]] = {}
    for agent, space in spaces_of.items():
        kinds.setdefault(describe(space), []).append(agent)
    return "; ".join(f"{space} of {', '.join(agents)}" for space, agents in kinds.items())


def is_supported(space: spaces.Space | None) -> bool:
    if isinstance(space, spaces.Dict):
        return all(map(is_supported, space.values()))
    return isinstance(space, Leaf)


def check_value(findings: Findings, space: spaces.Space | None, value: PyTree, where: str, when: str = "") -> None:
    """Report whatever keeps ``value`` from lying in ``space``. Of unsupported spaces nothing is said twice."""
    for part, leaf, place in _parts(findings, space, value, where):
        if _has_form(findings, part, leaf, place, when):
            _check_range(findings, part, leaf, place, when)


def has_form(findings: Findings, space: spaces.Space | None, value: PyTree, where: str) -> bool:
    """Whether keys, shapes and dtypes are those of ``space``. The leaves of ``value`` need no more than these."""
    known = len(findings.all())
    for part, leaf, place in _parts(findings, space, value, where):
        _has_form(findings, part, leaf, place, "")
    return len(findings.all()) == known


def check_ranges(findings: Findings, space: spaces.Space | None, batch: PyTree, where: str) -> None:
    """Report entries of ``batch`` ``[..., *shape]`` that are not finite or out of bounds."""
    for part, leaf, place in _parts(findings, space, batch, where):
        _check_range(findings, part, leaf, place, "")


def form(value: Any) -> str:
    """Dtype and shape of an array, or the type of anything else; of a tuple, these of its parts."""
    if type(value) is tuple:
        return f"({', '.join(map(form, value))})"
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, AnyArray) else type(value).__name__


def check_mask(findings: Findings, mask: PyTree, where: str) -> None:
    """Report where masks ``[..., n]`` leave no legal action."""
    if not np.asarray(mask).any(axis=-1).all():
        findings.error(
            f'{where}["{ACTION_MASK}"]',
            "no action is legal, and the episode goes on",
            expected="at least one entry of 1",
            got="only zeros",
            hint="terminate the episode when nobody can move, or add an action that passes",
        )


def check_frames(
    findings: Findings, space: spaces.Space, observation: PyTree, before: PyTree, where: str, when: str = ""
) -> None:
    """Report stacks of frames that do not begin, or go on, as a ``FrameStack`` promises; see ``broken_promise``."""
    if broken := broken_promise(space, observation, before, where):
        name, expected = broken
        findings.error(name, "breaks what its FrameStack promises", expected, f"other frames{when}")


def _check_kind(findings: Findings, name: str, space: spaces.Space) -> None:
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            _check_kind(findings, f'{name}["{key}"]', part)
    elif not isinstance(space, Leaf):
        hint = next((text for kind, text in _INSTEAD.items() if isinstance(space, kind)), "")
        supported = "Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these"
        findings.error(name, f"{type(space).__name__} spaces are not supported", supported, describe(space), hint)


def _parts(
    findings: Findings, space: spaces.Space | None, value: PyTree, where: str
) -> Iterator[tuple[Leaf, Any, str]]:
    """The leaves of a space with their part of the value and its place; reports keys that are missing or extra."""
    if isinstance(space, Leaf):
        yield space, value, where
    elif isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping):
            keys = f"a dict with the keys {', '.join(map(repr, space))}"
            findings.error(where, "is not a dict", keys, type(value).__name__, "return the parts by name")
            return
        for key in [*space, *(key for key in value if key not in space.spaces)]:
            place = f'{where}["{key}"]'
            if key not in value:
                hint = f"return {key!r} as well, or take it out of observation_space"
                findings.error(place, "the key is missing", describe(space[key]), "nothing", hint)
            elif key not in space.spaces:
                hint = f"add {key!r} to observation_space, or move it to info"
                findings.error(place, "the key is not in the space", "no such key", form(value[key]), hint)
            else:
                yield from _parts(findings, space[key], value[key], place)


def _has_form(findings: Findings, space: Leaf, value: Any, where: str, when: str) -> bool:
    """Whether one leaf is an array of the right shape and of a dtype that the space's holds without loss."""
    expected = "an integer" if isinstance(space, spaces.Discrete) else f"{space.dtype}{list(space.shape)}"
    got = f"{form(value)}{when}"
    if isinstance(space, spaces.Discrete) and isinstance(value, int):
        return True
    if not isinstance(value, AnyArray):
        findings.error(where, "is not an array", expected, got, f"np.asarray(value, np.{space.dtype})")
        return False
    if value.shape != space.shape:
        same = math.prod(value.shape) == math.prod(space.shape or ())
        hint = f"value.reshape({space.shape})" if same else "make the space and the array agree"
        findings.error(where, "wrong shape", expected, got, hint)
        return False
    if _holds(space, value.dtype):
        return True
    both_float = value.dtype.kind == "f" and space.dtype.kind == "f"
    cut_off = value.dtype.kind == "f" and not both_float
    hint = (
        "fractions are cut off: declare the space as a Box of np.float32"
        if cut_off
        else f"value.astype(np.{space.dtype})"
    )
    findings.error(where, "wrong dtype", expected, got, hint)
    return both_float  # rounded, they can still be compared with the bounds


def _holds(space: Leaf, dtype: np.dtype) -> bool:
    return np.can_cast(dtype, space.dtype) if isinstance(space, spaces.Box) else dtype.kind in "biu"


def _check_range(findings: Findings, space: Leaf, value: Any, where: str, when: str) -> None:
    """One leaf, with any number of batch axes in front."""
    low, high = limits(space)
    value = np.asarray(value)
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large for float32 becomes an infinity, and that is reported
            value = value.astype(space.dtype)
    finite = np.isfinite(value)
    if not finite.all():
        got, _ = _first(~finite, value, space)
        hint = "look for a division by zero, the logarithm of 0 or an overflow"
        findings.error(where, "not finite", "finite numbers", f"{got}{when}", hint)
    outside = finite & ((value < low) | (value > high))
    if outside.any():
        got, entry = _first(outside, value, space)
        hint = "widen the space, or clip what is returned"
        findings.error(where, "out of bounds", f"{low[entry]!s} to {high[entry]!s}", f"{got}{when}", hint)


def _first(wrong: np.ndarray, value: np.ndarray, space: Leaf) -> tuple[str, tuple[int, ...]]:
    """The first wrong number in words, and its index within one value of the space."""
    index = tuple(np.argwhere(wrong)[0].tolist())
    entry = index[wrong.ndim - len(space.shape or ()) :]
    place = f" at index {list(entry)}" if entry else ""
    more = f" (and {wrong.sum() - 1} more)" if wrong.sum() > 1 else ""
    return f"{value[index]!s}{place}{more}", entry
