"""Code of a person's own that an agent needs, and that only the program which runs can give it."""

import warnings
from collections.abc import Iterator
from typing import Any

from tegu.algorithms.base import Algorithm
from tegu.algorithms.own import own_network
from tegu.core.code import is_code, nameless
from tegu.environments.make import Source
from tegu.nn.custom import NamedNetwork


def warn_of_nameless(algorithm: Algorithm, source: Source | None) -> None:
    """Say what of a saved agent is code that no other program can name, and what to do."""
    for what, thing in _own_code(algorithm, source):
        where = nameless(thing)
        if where:
            name = thing.__qualname__.rpartition(".")[2]
            flag = "env" if what == "environment" else what
            purpose = "play with or resume" if what == "environment" else "load"
            warnings.warn(
                f"the {what} {name} is defined {where}: only this program can give it again ({what}=) to {purpose} "
                f"what is saved; put it in a module, and it can be named (--{flag} MODULE:{name})",
                stacklevel=3,
            )


def _own_code(algorithm: Algorithm, source: Source | None) -> Iterator[tuple[str, Any]]:
    """Classes and functions that did not come by their names, and what they are."""
    if is_code(algorithm.name):
        yield "algorithm", type(algorithm)
    network = own_network(algorithm)
    if isinstance(network, NamedNetwork):
        network = network.make
    if hasattr(network, "__qualname__"):
        yield "network", network
    if source is not None and source.kind is not None:
        yield "environment", source.kind
