"""How JAX is set up before it starts. Imports nothing heavy."""

import ctypes
import os
import sys
from pathlib import Path

# Compiles small loops (environment steps, scans over time) into one kernel each instead of dozens of small ones.
# Measured on 2 cores, jax 0.10.2: tabular Q-learning 0.6 -> 2.7 million steps/s, DQN 35 -> 50 thousand, PPO as before.
SMALL_LOOPS = "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=65536"

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  #: parameters of mallopt, as malloc.h numbers them
_KEPT = 2**31 - 1  #: bytes of free memory at the end of the heap
_LARGE = (2**28, 2**25)  #: bytes from which an array has memory of its own; the second is the most for an old glibc
_TOLD = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")


def configure() -> None:
    """Set flags and the compilation cache, unless JAX is already loaded or the person has set them.

    ``TEGU_COMPILATION_CACHE`` names another folder for the cache, or switches it off with ``0``. Where its usual folder
    cannot be written there is none: JAX would warn of every program.
    """
    if "jax" in sys.modules:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags:
        flags = f"{flags} {SMALL_LOOPS}".strip()
    os.environ["XLA_FLAGS"] = flags

    cache = _compilation_cache()
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")


def configure_jax() -> None:
    """Set what JAX reads no environment variable for. Call it after JAX is imported and before its first computation.

    Calls on the CPU run in the thread that makes them: acting on a small batch takes 30 us instead of 90 (PPO, 8
    environments, 2 cores).
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed for the next allocation, but for arrays of 256 MiB and more.

    Whenever a compiled program runs, it takes the memory for what it computes on the way in one piece, and frees it at
    the end. By default pieces above 32 MiB go back to the system, and each of their pages is cleared and mapped anew at
    the next call: an update of DQN with the Nature CNN made 50 GFLOP/s with 32 images and 57 with 256, now 59 and 76 (2
    cores, jax 0.10.2). Threads other than the main one still get pieces above 60 MiB anew each time.

    A person who has set how memory is allocated is left alone, and so are other C libraries.
    """
    told = any(name in os.environ for name in _TOLD) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not told else None
    # the second call alone would fix the first threshold at 128 KiB, which is much slower
    if mallopt is not None and any(mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGE):
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def user_cache(name: str) -> Path | None:
    """The folder ``name`` among this person's caches, which need not be there yet; None where it cannot be written."""
    caches = _user_caches()
    return caches / "tegu" / name if caches is not None and _can_be_written(caches / "tegu" / name) else None


def _compilation_cache() -> Path | None:
    told = os.environ.get("TEGU_COMPILATION_CACHE")
    if told:
        return None if told == "0" else Path(os.path.expanduser(told))
    return user_cache("xla")


def _user_caches() -> Path | None:
    """Where this person's caches live; None for someone without a home, as in a container with a user of its own."""
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():  # a relative one is to be ignored, says the XDG Base Directory Specification
        return told
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return None


def _can_be_written(folder: Path) -> bool:
    """Whether a folder, which need not be there yet, can be made and written to."""
    there = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)
