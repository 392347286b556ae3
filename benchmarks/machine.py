"""What the figures were measured on: processor, memory, versions."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.cases import OURS, PEERS
from benchmarks.execution import ROOT, cores

BUSY = 0.5  #: load above which something else is clearly running

_PACKAGES = {
    "Tegu's side": (OURS, ("tegu", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "ale-py")),
    "the peers' side": (
        PEERS,
        (
            "stable_baselines3",
            "sbx-rl",
            "torch",
            "jax",
            "jaxlib",
            "flax",
            "optax",
            "numpy",
            "gymnasium",
            "ale-py",
            "minatar",
        ),
    ),
}
_ASK = """
import importlib.metadata, json, platform, sys
found = {"Python": platform.python_version()}
for name in sys.argv[1:]:
    found[name] = importlib.metadata.version(name)
print(json.dumps(found))
"""


def surroundings(module: str) -> dict[str, Any]:
    """What ``python -m module`` is run on: to be stored beside its figures."""
    return {
        "command": command(module),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "load_before": load(),
    }


PLACES = ("--runs", "--output")  #: flags that say where things lie on one machine, and change no figure


def command(module: str) -> str:
    """``python -m module`` with the flags it was given, but for ``PLACES``."""
    given = sys.argv[1:]
    kept = [
        word
        for before, word in zip(["", *given], given, strict=False)
        if before not in PLACES and word.partition("=")[0] not in PLACES
    ]
    return " ".join([f"python -m {module}", *kept])


def machine() -> dict[str, Any]:
    """The computer."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor() -> str:
    """The processor's name as Linux gives it, else as Python does."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def load() -> float:
    """How busy the computer is before anything is measured; warns where that would spoil the figures."""
    busy = os.getloadavg()[0]
    if busy > BUSY:
        print(f"the machine is busy (load {busy:.1f} over the last minute): the figures will say little", flush=True)
    return busy


def versions() -> dict[str, dict[str, str]]:
    """Versions in both virtual environments, an empty dict for one that is not there."""
    return {side: _versions(ROOT / folder, packages) for side, (folder, packages) in _PACKAGES.items()}


def _versions(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    python = folder / "bin/python"
    if not python.exists():
        return {}
    done = subprocess.run([str(python), "-c", _ASK, *packages], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def commit() -> str:
    """The commit measured, with a ``+`` where tracked files differ from it."""
    try:
        name = _git("rev-parse", "--short", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
