"""Fixtures for tests against float64 oracles, and how XLA compiles for tests: soon rather than well."""

import ctypes
import gc
import os

import pytest

# Compiling is most of what the tests do: these halve it. XLA_FLAGS=" " tests the programs that everybody else has.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import tegu  # noqa: F401, I001 - before JAX, so that JAX is set up here as everywhere else
import jax


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
