"""A person's own networks: functions ``(key, spec) -> module`` in place of those that follow from the spaces.

A module is called with a batch ``[B, *shape]`` of observations as the environment gives them (integers stay integers),
and says itself what of it is a constant: all its arrays are parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.code import imported, is_code, one_line, qualified
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree
from tegu.spaces.features import zeros

Network = Callable[..., Any]  #: ``(key, spec) -> module``, or a tuple of modules

_B = 101  #: the batch with which shapes are looked at


@dataclass(frozen=True)
class NamedNetwork:
    """A function that makes a network, under the name by which files know it."""

    name: str
    make: Network

    def __call__(self, key: jax.Array, spec: EnvironmentSpec) -> Any:
        return self.make(key, spec)


def network_name(network: Network | str) -> str:
    """The name by which files know a network: ``module:function``, or what a function that was given is called."""
    if isinstance(network, str):
        return network
    name = network.name if isinstance(network, NamedNetwork) else getattr(network, "__qualname__", None)
    if name is None:
        raise TeguError(f"network must be a function with a name, as def gives it, got {type(network).__name__}")
    return name


def named_network(name: str) -> NamedNetwork:
    """The network that a person names ``module:function``."""
    if not is_code(name):
        raise TeguError(f"network must be module:function, got {name!r}")
    return NamedNetwork(name, _function(imported(name, "the network"), name))


def recorded_network(recorded: str, given: Network | str, whose: str) -> NamedNetwork:
    """The network that a file knows as ``recorded``, which a person has ``given`` again. ``TeguError`` if it is not."""
    found = named_network(given) if isinstance(given, str) else given
    function = found.make if isinstance(found, NamedNetwork) else found
    if recorded not in (network_name(found), network_name(function), qualified(function)):
        raise TeguError(f"{whose} was trained with the network {recorded}, not with {network_name(found)}")
    return NamedNetwork(recorded, function)


def _function(found: Any, name: str) -> Network:
    if not callable(found):
        raise TeguError(f"network {name} must be a function of a key and the spec, it is {type(found).__name__}")
    return found


@dataclass(frozen=True, eq=False)
class Structure:
    """All of a module but its parameters, and their shapes.

    Made once for each function and spec, and equal to itself alone: so functions that the module holds are the same
    ones every time, even if each call makes new ones.
    """

    title: str
    tree: Any  #: a ``PyTreeDef``
    leaves: tuple[tuple[str, Any], ...]  #: paths, and the constants among them
    shapes: dict[str, jax.ShapeDtypeStruct]  #: of the parameters

    def module(self, parameters: dict[str, jax.Array]) -> Callable[..., Any]:
        leaves = [parameters.get(path, constant) for path, constant in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


class CustomNetwork(eqx.Module):
    """One module of a person's own, for inputs of any batch shape ``[..., *shape]``."""

    parameters: dict[str, jax.Array]  #: by their path in the module, such as ``.layers[0].weight``
    structure: Structure = eqx.field(static=True)
    spaces: Spaces = eqx.field(static=True)  #: of what goes in: observations, and actions if the module takes them

    def __call__(self, *inputs: PyTree) -> Any:
        like = tuple(map(zeros, (self.spaces.observation, self.spaces.action)[: len(inputs)]))
        first, zero = jax.tree.leaves(inputs)[0], jax.tree.leaves(like)[0]
        batch = first.shape[: first.ndim - zero.ndim]
        flat = jax.tree.map(lambda zero, leaf: leaf.reshape((-1, *zero.shape)), like, inputs)
        output = self.structure.module(self.parameters)(*flat)
        return jax.tree.map(lambda leaf: leaf.reshape((*batch, *leaf.shape[1:])), output)


def custom_networks(
    network: Network | str, key: jax.Array, spec: EnvironmentSpec, seen: Spaces | None = None
) -> tuple[CustomNetwork, ...]:
    """The modules that ``network`` makes; ``seen``: what the first of several is given, if it is not all."""
    known = structures(network, spec)
    made = _modules(_callable(network)(key, spec))
    first = seen if seen is not None and len(known) > 1 else spec.spaces
    spaces = [first, *[spec.spaces] * (len(known) - 1)]
    return tuple(
        CustomNetwork({path: leaf for path, leaf in _leaves(module) if path in each.shapes}, each, space)
        for module, each, space in zip(made, known, spaces, strict=True)
    )


@cache
def structures(network: Network | str, spec: EnvironmentSpec) -> tuple[Structure, ...]:
    """What is known of the modules that ``network`` makes, without any numbers."""
    name, key = network_name(network), jax.eval_shape(lambda: jax.random.key(0))
    try:
        made = _modules(eqx.filter_eval_shape(_callable(network), key, spec))
    except TeguError:
        raise
    except Exception as error:  # whatever a person's function does
        raise TeguError(f"the network {name} cannot be made: {one_line(error)}") from error
    return tuple(_structure(name, module) for module in made)


def _structure(name: str, module: Any) -> Structure:
    if not isinstance(module, eqx.Module) or not callable(module):
        raise TeguError(
            f"the network {name} must return an Equinox module to call, it returned {type(module).__name__}"
        )
    leaves = _leaves(module)
    shapes = {path: leaf for path, leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)}
    for path, leaf in shapes.items():
        if leaf.dtype != _float():
            raise TeguError(f"the network {name} has parameters {path} of {leaf.dtype}, expected {_float()}")
    if not shapes:
        raise TeguError(f"the network {name} has no parameters, so it cannot learn")
    constants = tuple((path, None if path in shapes else leaf) for path, leaf in leaves)
    called = type(module).__name__
    title = called if name.rpartition(":")[2] == called else f"{name} ({called})"
    return Structure(title, jax.tree.structure(module), constants, shapes)


class Signature(NamedTuple):
    """What a module must be: arguments by their spaces, and the shapes of its outputs without ``B``."""

    inputs: tuple[Any, ...]
    outputs: tuple[tuple[int, ...], ...]  #: a module of one output returns it alone, others a tuple


def check_custom(
    title: str, network: Network | str, spec: EnvironmentSpec, *expected: tuple[Signature, ...]
) -> tuple[Structure, ...]:
    """Raise ``TeguError`` in one line unless the modules have the signatures ``expected``: the modules of one of these.

    Nothing is computed. Returns what is known of the modules.
    """
    name, made = network_name(network), structures(network, spec)
    signatures = next((each for each in expected if len(each) == len(made)), None)
    if signatures is None:
        numbers = " or ".join("one module" if len(each) == 1 else f"a tuple of {len(each)}" for each in expected)
        raise TeguError(f"{title}: the network {name} must return {numbers}, it returned {len(made)}")
    for number, (structure, signature) in enumerate(zip(made, signatures, strict=True)):
        which = f"module {number} of the network {name}" if len(made) > 1 else f"the network {name}"
        _check_outputs(f"{title}: {which}", structure, signature)
    return made


def _check_outputs(which: str, structure: Structure, signature: Signature) -> None:
    def batch(zero: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((_B, *zero.shape), zero.dtype)

    given = [jax.tree.map(batch, zeros(space)) for space in signature.inputs]
    try:
        found = jax.eval_shape(lambda p, inputs: structure.module(p)(*inputs), structure.shapes, given)
    except Exception as error:  # whatever a person's module does
        raise TeguError(f"{which} cannot take {_text(given)}: {one_line(error)}") from error
    outputs = tuple(jax.ShapeDtypeStruct((_B, *shape), _float()) for shape in signature.outputs)
    expected = outputs if len(outputs) > 1 else outputs[0]
    if _text(found) != _text(expected):
        raise TeguError(f"{which} must return {_text(expected)} for {_text(given)}, it returned {_text(found)}")


def _text(shapes: PyTree) -> str:
    """``float32[B, 4]``, of several between brackets."""
    if isinstance(shapes, dict):
        return "{" + ", ".join(f"{name}: {_text(part)}" for name, part in shapes.items()) + "}"
    if isinstance(shapes, list):  # arguments
        return " and ".join(map(_text, shapes))
    if isinstance(shapes, tuple):
        return f"({', '.join(map(_text, shapes))})"
    if not hasattr(shapes, "dtype"):
        return type(shapes).__name__
    sizes = ["B" if size == _B else str(size) for size in shapes.shape]
    return f"{shapes.dtype}[{', '.join(sizes)}]"


def _callable(network: Network | str) -> Network:
    if isinstance(network, str):
        raise TeguError(f"the network {network} is only a name: pass the function, or let tegu.train look it up")
    return network


def _modules(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, tuple) else (made,)


def _leaves(module: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(module)]


def _float() -> Any:
    return jnp.zeros(()).dtype  # float32, unless float64 is switched on
