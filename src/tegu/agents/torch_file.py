"""Arrays out of a file that ``torch.save`` wrote, without PyTorch and without unpickling anything.

Such a file is a zip. ``data.pkl`` in it is a pickle: a program that builds a dict of tensors, whose numbers are other
members of the zip. The standard library's ``pickletools`` lists that program's instructions without running them. Here
the few that a dict of tensors takes are followed, and no others, so no code that is named in the file can be called.
"""

import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from tegu.core.errors import TeguError
from tegu.core.text import printable

LARGEST = 2**32  #: bytes of all members of a file: no agent's networks are larger
MOST_DIMENSIONS = 8  #: of a tensor
_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "BoolStorage": "?",
}


class _Name(NamedTuple):
    """What the pickle would import."""

    path: str


class _Storage(NamedTuple):
    """The numbers of one or more tensors, one after the other."""

    array: np.ndarray


_MARK, _DICT = object(), _Name("collections.OrderedDict")
_TENSOR, _PARAMETER = _Name("torch._utils._rebuild_tensor_v2"), _Name("torch._utils._rebuild_parameter")
_PUSHED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Refused(Exception):
    """The pickle does something else than to build a dict of tensors."""


def tensors(data: bytes, what: str) -> dict[str, np.ndarray]:
    """The tensors of a dict that ``torch.save`` wrote, read-only. ``TeguError`` if ``what`` is another file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
        program = members.get("data.pkl")
        if program is None or members.get("byteorder", b"little") != b"little":
            raise _Refused("it was not written by torch.save of PyTorch 1.6 or later on a little-endian machine")
        found = _follow(program, lambda kind, key: _storage(members, kind, key))
    except zipfile.BadZipFile as error:
        raise TeguError(f"{what} cannot be read: {error}") from error
    except _Refused as error:
        raise TeguError(f"{what} is not loaded: {error}") from error
    except Exception as error:  # whatever a broken pickle makes of the stack
        raise TeguError(f"{what} is damaged: {type(error).__name__}: {printable(str(error), 200)}") from error
    if not isinstance(found, dict) or not all(isinstance(leaf, np.ndarray) for leaf in found.values()):
        raise TeguError(f"{what} is not loaded: it holds something else than a dict of tensors")
    return found


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The files in an archive, without the folder that all of them are in."""
    inside = archive.infolist()
    if any(each.compress_type != zipfile.ZIP_STORED for each in inside):  # torch compresses nothing
        raise _Refused("it is compressed")
    if sum(each.file_size for each in inside) > LARGEST:
        raise _Refused(f"it holds more than {LARGEST:,} bytes")
    return {each.filename.partition("/")[2]: archive.read(each) for each in inside}


def _storage(members: dict[str, bytes], kind: Any, key: Any) -> _Storage:
    module, _, name = kind.path.rpartition(".") if isinstance(kind, _Name) else ("", "", type(kind).__name__)
    if module != "torch" or name not in _TYPES:
        raise _Refused(f"it holds numbers of an unknown type, {printable(name, 100)}")
    return _Storage(np.frombuffer(members[f"data/{key}"], _TYPES[name]))


def _follow(program: bytes, storage: Callable[[Any, Any], _Storage]) -> Any:
    """What a pickle builds, of dicts, tuples, literals and tensors. Raises ``_Refused`` at the first other instruction.

    ``storage`` finds the numbers for a type and a key.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def popped(n: int) -> tuple[Any, ...]:
        rest = tuple(stack[len(stack) - n :])
        del stack[len(stack) - n :]
        return rest

    def to_mark() -> tuple[Any, ...]:
        number = next(i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK)
        rest = popped(len(stack) - number)
        return rest[1:]

    for opcode, found, _ in pickletools.genops(program):
        name, argument = opcode.name, cast(Any, found)
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "STOP":
            return stack.pop()
        elif name in _PUSHED:
            stack.append(_PUSHED[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in _TUPLES:
            stack.append(popped(_TUPLES[name]))
        elif name == "TUPLE":
            stack.append(to_mark())
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_Name(argument.replace(" ", ".")))
        elif name == "BINPERSID":
            tag, kind, key, *_ = stack.pop()
            if not isinstance(tag, str) or tag != "storage" or not isinstance(key, str):
                raise _Refused("it refers to something else than numbers in the file")
            stack.append(storage(kind, key))
        elif name == "SETITEM":
            _set(stack[-3], popped(2))
        elif name == "SETITEMS":
            items = to_mark()
            _set(stack[-1], items)
        elif name == "BUILD":  # attributes of the dict, such as the versions of its modules
            stack.pop()
        elif name == "REDUCE":
            function, given = popped(2)
            stack.append(_result(function, given))
        else:
            raise _Refused(f"its pickle has the instruction {name}, which tensors do not need")
    raise _Refused("its pickle has no end")


def _set(table: Any, items: tuple[Any, ...]) -> None:
    """Set names and values, which follow each other. No other keys: hashing nested tuples can crash."""
    names, values = items[::2], items[1::2]
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in names):
        raise _Refused("it holds something else than tables with names")
    table.update(zip(names, values, strict=True))


def _result(function: Any, given: tuple[Any, ...]) -> Any:
    """What the call of a function, by its name, would return, for the three that state dicts are made of."""
    if isinstance(function, _Name):
        if function == _DICT and not given:
            return {}
        if function == _TENSOR:
            return _tensor(*given[:4])
        if function == _PARAMETER and isinstance(given[0], np.ndarray):
            return given[0]
    called = function.path if isinstance(function, _Name) else f"a {type(function).__name__}"
    raise _Refused(f"it would call {printable(called, 100)}, and only tensors are read")


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A tensor as a view of its numbers, so that many of one storage take no memory of their own.

    ``strides`` are in numbers, and ``offset`` is where it begins.
    """
    numbers = storage.array
    if max(len(shape), len(strides)) > MOST_DIMENSIONS or max((offset, *shape, *strides)) > LARGEST:
        raise _Refused("a tensor is too large")
    if min((offset, *shape, *strides)) < 0 or len(shape) != len(strides):
        raise _Refused("a tensor has negative sizes")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    size = math.prod(list(shape))
    if size > numbers.size or (size and last >= numbers.size):
        raise _Refused(f"a tensor of {list(shape)} has only {numbers.size} numbers")
    if not size:
        return np.zeros(shape, numbers.dtype)
    steps = tuple(stride * numbers.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
