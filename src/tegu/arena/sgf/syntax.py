"""The grammar of the Smart Game Format, FF[4] (https://www.red-bean.com/sgf/sgf4.html): nodes and their properties."""

import codecs
import re
from collections.abc import Iterable

import numpy as np

from tegu.core.errors import TeguError
from tegu.core.text import printable

Node = dict[str, list[str]]
"""Properties, upper-case names to values as they stand between the brackets."""

_TOKEN = re.compile(r"\s*+(?:([();])|([A-Za-z]++)|\[((?:[^]\\]++|\\.)*+)])", re.DOTALL)  # nothing is read twice
_MOST_NODES = 20_000
_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("ascii", "utf-8", "cp1250", "cp1251", "cp1252", "cp1254", "cp874", "koi8-r", "koi8-u"),
        *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
        *("gb2312", "gbk", "gb18030", "big5", "hz", "shift_jis", "cp932", "euc-jp", "iso2022_jp", "euc-kr", "cp949"),
    )
)  # what people write in; Python knows others that are slow or no text


def decoded(data: bytes) -> str:
    """The text of a record in the encoding that its ``CA`` names, else in UTF-8, or Latin-1 where it is none.

    It comes before the grammar: in some encodings of Chinese a bracket can be half of a letter.
    """
    named = re.search(rb"CA\s*\[\s*([A-Za-z0-9_.:-]{1,40})\s*\]", data[:10_000])
    if named is None:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")
    name = named[1].decode("ascii")
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if encoding not in _ENCODINGS:
        raise TeguError(f"CA[{name}] is an unknown encoding: expected one such as UTF-8")
    return data.decode(encoding, "replace").removeprefix("\ufeff")


def main_line(text: str) -> list[Node]:
    """The nodes of the first game up to the end of its main line: at each branch the first one is followed.

    What stands before the game is no part of it, nor are other games after it. Lower-case letters in names do not
    count, as in FF[3]. Raises ``TeguError`` with the line where the grammar is broken.
    """
    start = re.search(r"\(\s*+;", text)
    if start is None:
        raise TeguError("no game record: expected '(;' and properties such as GM[1]SZ[9]")
    at, depth, node, nodes = start.start(), 0, Node(), list[Node]()
    values: list[str] | None = None  # of the property that is being read
    while (token := _TOKEN.match(text, at)) is not None:
        delimiter, name, value = token.groups()
        if value is not None:
            if values is None:
                raise _broken(text, at)
            values.append(value)
        elif values == []:
            raise _broken(text, at)
        elif name is not None:
            if (name := re.sub("[a-z]", "", name)) in node or not nodes:
                raise _broken(text, at, f": {name} comes twice in a node")
            values = node[name] = []
        else:
            values = None
            if delimiter == ")":
                _check_branches(text, token.end(), depth)
                return nodes
            depth += delimiter == "("
            if delimiter == ";":
                node = Node()
                nodes.append(node)
        if len(nodes) > _MOST_NODES:
            raise TeguError(f"a game record with more than {_MOST_NODES:,} nodes in its main line")
        at = token.end()
    raise _broken(text, at)


def simple_text(value: str) -> str:
    """A value as text on one line: ``\\`` stands before characters that mean themselves."""
    return re.sub(r"\s+", " ", re.sub(r"\\(\r\n|\n\r|.)", _unescaped, value, flags=re.DOTALL)).strip()


def written_node(properties: Iterable[tuple[str, Iterable[str]]]) -> str:
    """A node with all properties that have values."""
    lists = [(name, [f"[{_escaped(value)}]" for value in values]) for name, values in properties]
    return ";" + "".join(name + "".join(values) for name, values in lists if values)


def _escaped(value: str) -> str:
    return re.sub(r"([]\\])", r"\\\1", value)


def _unescaped(found: re.Match[str]) -> str:
    return "" if found[1][0] in "\r\n" else found[1]


def _check_branches(text: str, at: int, depth: int) -> None:
    """That the brackets are closed of which ``depth`` are open before the end of the main line."""
    if depth == 1:
        return
    rest = re.sub(r"\[(?:[^]\\]++|\\.)*+]", "", text[at:], flags=re.DOTALL)
    codes = np.frombuffer(rest.encode("utf-32-le", "surrogatepass"), np.uint32)
    open_brackets = depth - 1 + np.cumsum((codes == ord("(")).astype(int) - (codes == ord(")")))
    closed = np.flatnonzero(open_brackets == 0)
    if not len(closed) or {"[", "]"} & set(rest[: closed[0]]):
        raise TeguError("broken game record: the brackets of its variations are not closed")


def _broken(text: str, at: int, why: str = "") -> TeguError:
    line = text.count("\n", 0, at) + 1
    rest = text[at : at + 20].strip()
    found = f"near {printable(rest)!r}" if rest else "at the end of the file"
    return TeguError(f"broken game record in line {line}, {found}{why}")
