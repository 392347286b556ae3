"""GNU Go 3.8, which plays by rules that others wrote: for tests that compare with it."""

import os
import shutil

import pytest

GNU_GO = shutil.which("gnugo") or shutil.which("/usr/games/gnugo")
if GNU_GO is None and os.environ.get("TEGU_REQUIRE_GNUGO"):
    raise RuntimeError("TEGU_REQUIRE_GNUGO is set, and there is no GNU Go: apt-get install gnugo")
needs_gnu_go = pytest.mark.skipif(GNU_GO is None, reason="needs GNU Go: apt-get install gnugo")
