"""What holds for all of our code alike."""

from pathlib import Path

import tegu

SOURCE = Path(tegu.__file__).parent


def test_files_are_short():
    """At most 300 lines each: a longer one is about more than one thing."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    long = [f"{path.relative_to(SOURCE)}: {length}" for path, length in lengths.items() if length > 300]
    assert not long
