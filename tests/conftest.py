"""Fixtures for tests against float64 oracles."""

import tegu  # noqa: F401, I001 - before JAX, so that JAX is set up here as everywhere else
import ctypes
import gc
import jax
import pytest


gc.set_threshold(100_000, 20, 50)  # tracing makes many objects, and hardly any cycles of them


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_dropped():
    """After each module: those of the whole suite take gigabytes.

    The C library keeps what is freed unless it is told not to: a worker of 813 MiB came down to 319 then.
    """
    yield
    jax.clear_caches()
    gc.collect()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc's
        library.malloc_trim(0)


@pytest.fixture(scope="class")  # for a test outside a class that is the test alone, and Hypothesis accepts it
def x64():
    """JAX in float64, so that rounding hides nothing: request it with ``pytest.mark.usefixtures("x64")``."""
    with jax.enable_x64(True):
        yield
