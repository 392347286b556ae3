"""``tegu.train``, ``tegu.resume`` and ``tegu.sweep`` as called from Python: they show how training goes."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from tegu.core.errors import TeguError
from tegu.training import sweep as sweeping
from tegu.training import train as training
from tegu.training.trainer import Callback

_SAYS = """

    ``progress_bar`` is as in Stable-Baselines3: True shows how training goes on stderr, as a panel on a terminal and as
    a line every few seconds elsewhere, and False shows nothing. By default it is shown on a terminal and in notebooks.
    """


def _shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a keyword ``progress_bar``."""

    @wraps(function)
    def call(*given: Any, progress_bar: bool | None = None, callbacks: Any = (), **options: Any) -> Any:
        callbacks, _, _ = training.several(callbacks)
        with _watching(progress_bar) as watching:
            return function(*given, callbacks=[*watching, *callbacks], **options)

    signature = inspect.signature(function)
    parts = list(signature.parameters.values())
    last = len(parts) - (parts[-1].kind is inspect.Parameter.VAR_KEYWORD)
    shown = inspect.Parameter("progress_bar", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=bool | None)
    call.__signature__ = signature.replace(parameters=[*parts[:last], shown, *parts[last:]])  # type: ignore[attr-defined]
    call.__doc__ = inspect.cleandoc((function.__doc__ or "") + _SAYS)
    return call


@contextmanager
def _watching(progress_bar: bool | None) -> Iterator[list[Callback]]:
    """The callback that shows a training, if it is to be shown. What draws is imported only then."""
    if not (progress_bar is None or isinstance(progress_bar, bool)):
        raise TeguError(f"progress_bar must be True, False or None, got {progress_bar!r}")
    if sys.stderr is None or not (_is_watched() if progress_bar is None else progress_bar):
        yield []
        return
    from tegu.cli.panel import tracker

    with tracker(quiet=False) as watching:
        yield [watching]


def _is_watched() -> bool:
    """Whether stderr is a terminal or a notebook, and no file that would be flooded."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")


train = _shown(training.train)
resume = _shown(training.resume)
sweep = _shown(sweeping.sweep)
