"""What is set up before JAX starts."""

import os
import subprocess
import sys

import pytest

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
    told = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", WRITE_TWICE]
    done = subprocess.run(command, env=told | variables, capture_output=True, text=True, timeout=100, check=True)
    return map(int, done.stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no glibc")
def test_freed_memory_is_kept_unless_a_person_says_how():
    first, again = pages()
    assert first >= 2**26 // 2**21  # pages have 2 MiB at most
    assert again <= first / 10
    first, again = pages(MALLOC_MMAP_THRESHOLD_="1000000")
    assert again >= first / 2
