"""What is set up before JAX starts."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from tegu.core import runtime

# Faults of pages while 64 MiB are written for the first time, and again after they were freed.
WRITE_TWICE = """
import resource
import numpy as np
from tegu.core.runtime import configure_jax

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(2**26, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

configure_jax()
print(faults(), faults())
"""


def pages(**variables):
    set_by_others = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
    told = {name: value for name, value in os.environ.items() if not name.startswith(set_by_others)}
    command = [sys.executable, "-c", WRITE_TWICE]
    done = subprocess.run(command, env=told | variables, capture_output=True, text=True, timeout=100, check=True)
    return map(int, done.stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.36"), reason="older ones keep less, others nothing")
def test_freed_memory_is_kept_unless_a_person_says_how():
    first, again = pages()
    if not first:
        pytest.skip("this system does not count faults")
    assert again <= first / 10
    first, again = pages(MALLOC_MMAP_THRESHOLD_="1000000")
    assert again >= first / 2
    first, again = pages(GLIBC_TUNABLES="glibc.malloc.trim_threshold=1000000:glibc.malloc.mmap_threshold=1000000")
    assert again >= first / 2


@pytest.mark.parametrize(
    ("most", "expected"), [(2**31, [(-3, 2**28), (-1, 2**31 - 1)]), (2**25, [(-3, 2**25), (-1, 2**31 - 1)]), (0, [])]
)
def test_an_old_glibc_is_asked_for_less(monkeypatch, most, expected):
    """One that refuses the first threshold is not given the second, which would make matters worse."""
    done = []

    class Library:
        def __init__(self, _):
            pass

        def mallopt(self, parameter, value):
            if parameter == -3 and value > most:
                return 0
            done.append((parameter, value))
            return 1

    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    runtime._keep_freed_memory()
    assert done == expected
