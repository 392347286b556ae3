"""Tables that fit a terminal: what matters less is left out before anything becomes unreadable."""

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

_LEAST = 20  # characters to which a column that wraps may shrink before others are left out
_GAP = 3  # characters between two columns


class Column(NamedTuple):
    """A column of a table."""

    name: str
    right: bool = True  #: aligned to the right, as numbers are
    wraps: bool = False  #: may take several lines
    rank: int = 0  #: 0 is always shown; of the others the highest are left out first


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, caption: str = "") -> Table:
    """A table of at most ``width`` characters, with a line that names the columns left out; ``None`` shows all."""
    shown = list(range(len(columns)))
    needs = [_need(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    while width is not None and sum(needs[i] + _GAP for i in shown) - _GAP > width:
        last = max(columns[i].rank for i in shown)
        if not last:
            break
        shown = [i for i in shown if columns[i].rank < last]
    hidden = dict.fromkeys(column.name for i, column in enumerate(columns) if i not in shown)
    narrow = f"no room for {', '.join(hidden)}: --json has all" if hidden else ""
    says = "\n".join(filter(None, (caption, narrow))) or None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, caption=says, caption_justify="left")
    for name, right, wraps, _ in (columns[i] for i in shown):
        table.add_column(name, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in shown))  # Text, because brackets would be read as markup
    return table


def _need(column: Column, cells: Sequence[str]) -> int:
    """The least width at which a column can be read."""
    longest = max(map(len, (column.name, *cells)))
    return min(longest, _LEAST) if column.wraps else longest
