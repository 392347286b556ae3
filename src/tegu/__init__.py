"""Tegu: reinforcement learning from the first Q-table to self-play Go."""

from importlib import import_module
from typing import Any

from tegu.core.runtime import configure as _configure

_configure()

__version__ = "0.1.0"

_PUBLIC = {
    "PPO": "tegu.algorithms.ppo",
    "DQN": "tegu.algorithms.dqn",
    "AlphaZero": "tegu.algorithms.alphazero",
    "DDPG": "tegu.algorithms.ddpg",
    "MADDPG": "tegu.algorithms.maddpg",
    "MATD3": "tegu.algorithms.maddpg",
    "IndependentDDPG": "tegu.algorithms.maddpg",
    "IPPO": "tegu.algorithms.mappo",
    "MAPPO": "tegu.algorithms.mappo",
    "QLearning": "tegu.algorithms.q_learning",
    "Linear": "tegu.core.schedule",
    "Algorithm": "tegu.algorithms.base",
    "Environment": "tegu.environments.base",
    "Timestep": "tegu.environments.base",
    "FiniteEnvironment": "tegu.environments.grids.finite",
    "Step": "tegu.core.step",
    "Decision": "tegu.core.step",
    "EnvironmentSpec": "tegu.core.spec",
    "TeguError": "tegu.core.errors",
    "Agent": "tegu.agents.agent",
    "load": "tegu.agents.agent",
    "train": "tegu.training.train",
    "resume": "tegu.training.train",
    "make": "tegu.environments.make",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that ``import tegu`` and ``tegu --help`` start at once."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tegu' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
