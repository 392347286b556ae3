"""Stable-Baselines3's API on top of Tegu: change the imports of a script, keep the rest.

``from stable_baselines3 import PPO`` becomes ``from tegu.sb3 import PPO``; what lives in
``stable_baselines3.common.*`` (``make_vec_env``, ``evaluate_policy``, the callbacks, ``Monitor``...) is imported from
here too. Settings have SB3's names, order and defaults. What Tegu does not have raises ``TeguError`` with one line.
"""

from typing import Never

from tegu.sb3.base import BaseAlgorithm
from tegu.sb3.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EventCallback,
    EveryNTimesteps,
    ProgressBarCallback,
)
from tegu.sb3.environments import DummyVecEnv, VecEnv, make_vec_env
from tegu.sb3.evaluation import EvalCallback, StopTrainingOnRewardThreshold, evaluate_policy
from tegu.sb3.her import HerReplayBuffer
from tegu.sb3.logger import Logger
from tegu.sb3.missing import missing
from tegu.sb3.model import DQN, PPO
from tegu.sb3.monitor import Monitor

__all__ = [
    "DQN",
    "PPO",
    "BaseAlgorithm",
    "BaseCallback",
    "CallbackList",
    "CheckpointCallback",
    "ConvertCallback",
    "DummyVecEnv",
    "EvalCallback",
    "EventCallback",
    "EveryNTimesteps",
    "HerReplayBuffer",
    "Logger",
    "Monitor",
    "ProgressBarCallback",
    "StopTrainingOnRewardThreshold",
    "VecEnv",
    "evaluate_policy",
    "make_vec_env",
]


def __getattr__(name: str) -> Never:
    raise missing(name, __all__)
