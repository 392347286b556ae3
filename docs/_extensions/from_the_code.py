"""Two directives that read the code, so that what they show cannot go stale.

``{hyper-parameters} ppo`` is a table of an algorithm's settings with the ``#:`` comments beside its fields,
``{command-help} train CartPole-v1`` the help that the command line prints.
"""

import contextlib
import io
import os
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from tegu.algorithms.registry import settings
from tegu.cli import main


def rows(algorithm: str) -> list[tuple[str, str, str]]:
    """Name, default and meaning of every hyper-parameter."""
    return [(setting.name, _typed(setting.default), setting.help) for setting in settings(algorithm).values()]


def _typed(value: Any) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else repr(value)


class HyperParameters(Directive):
    """A table of three columns."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        group = nodes.tgroup(cols=3)
        for width in (30, 15, 55):
            group += nodes.colspec(colwidth=width)
        head, body = nodes.thead(), nodes.tbody()
        head += _row(*(nodes.paragraph("", text) for text in ("Name", "Default", "Meaning")))
        for name, default, meaning in rows(self.arguments[0]):
            body += _row(
                nodes.paragraph("", "", nodes.literal("", name)),
                nodes.paragraph("", "", nodes.literal("", default)),
                nodes.paragraph("", meaning),
            )
        group += [head, body]
        table = nodes.table("", group)
        table["classes"] = ["hyper-parameters"]
        return [table]


class CommandHelp(Directive):
    """The help of a command, as printed."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            main([*self.arguments[0].split(), "--help"])
        printed = text.getvalue().rstrip()
        if not printed:
            raise self.error(f"tegu {self.arguments[0]} --help printed nothing")
        return [nodes.literal_block(printed, printed, language="text")]


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    os.environ["NO_COLOR"] = "1"
    app.add_directive("hyper-parameters", HyperParameters)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
