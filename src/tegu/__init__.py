"""Tegu: reinforcement learning from tabular Q-learning to AlphaZero."""

from importlib import import_module
from typing import Any

from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.registry import constructor
from tegu.core.runtime import configure as _configure

_configure()

__version__ = "0.1.0"

_ALGORITHMS = {entry.public: name for name, entry in ALGORITHMS.items()}

_PUBLIC = {
    "Linear": "tegu.core.schedule",
    "Step": "tegu.core.step",
    "Decision": "tegu.core.step",
    "EnvironmentSpec": "tegu.core.spec",
    "TeguError": "tegu.core.errors",
    "Algorithm": "tegu.algorithms.base",
    "Update": "tegu.algorithms.base",
    "ExpectedReturn": "tegu.algorithms.base",
    "Rollout": "tegu.experience.base",
    "Replay": "tegu.experience.base",
    "Environment": "tegu.environments.base",
    "GoalEnvironment": "tegu.environments.goals.base",
    "Timestep": "tegu.environments.base",
    "FiniteEnvironment": "tegu.environments.grids.finite",
    "FrameStack": "tegu.spaces.frames",
    "make": "tegu.environments.make",
    "as_pettingzoo": "tegu.environments.to_pettingzoo",
    "Agent": "tegu.agents.agent",
    "load": "tegu.agents.agent",
    "import_sb3": "tegu.agents.sb3_files",
    "train": "tegu.api",
    "resume": "tegu.api",
    "sweep": "tegu.api",
    "Phase": "tegu.training.train",
}

__all__ = ["__version__", *_ALGORITHMS, *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that ``import tegu`` and ``tegu --help`` start at once."""
    if name in _ALGORITHMS:
        return constructor(_ALGORITHMS[name])
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tegu' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
