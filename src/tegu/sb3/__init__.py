"""Stable-Baselines3's API on top of Tegu: change the imports of a script, keep the rest.

``from stable_baselines3 import PPO`` becomes ``from tegu.sb3 import PPO``; what lives in
``stable_baselines3.common.*`` (``make_vec_env``, ``evaluate_policy``, the callbacks, ``Monitor``...) is imported from
here too. Settings have SB3's names, order and defaults. What Tegu does not have raises ``TeguError`` with one line.
"""

from typing import Never

from tegu.sb3 import results_plotter
from tegu.sb3.atari import AtariWrapper, MaxAndSkipEnv, make_atari_env
from tegu.sb3.base import BaseAlgorithm
from tegu.sb3.callbacks import BaseCallback, CallbackList, ConvertCallback, EventCallback, EveryNTimesteps
from tegu.sb3.environments import DummyVecEnv, SubprocVecEnv, make_vec_env
from tegu.sb3.eval_callback import EvalCallback, StopTrainingOnNoModelImprovement, StopTrainingOnRewardThreshold
from tegu.sb3.evaluation import evaluate_policy
from tegu.sb3.example_envs import BitFlippingEnv, SimpleMultiObsEnv
from tegu.sb3.her import GoalSelectionStrategy, HerReplayBuffer
from tegu.sb3.identity_envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from tegu.sb3.log_outputs import (
    CSVOutputFormat,
    Figure,
    FormatUnsupportedError,
    HParam,
    HumanOutputFormat,
    Image,
    JSONOutputFormat,
    KVWriter,
    TensorBoardOutputFormat,
    Video,
    make_output_format,
)
from tegu.sb3.logger import DEBUG, DISABLED, ERROR, INFO, WARN, Logger, configure
from tegu.sb3.missing import missing
from tegu.sb3.model import A2C, DDPG, DQN, PPO, QRDQN, SAC, TD3, TQC, TRPO
from tegu.sb3.monitor import (
    LoadMonitorResultsError,
    Monitor,
    get_monitor_files,
    is_wrapped,
    load_results,
    unwrap_wrapper,
)
from tegu.sb3.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from tegu.sb3.policies import RMSpropTFLike
from tegu.sb3.policy import CnnPolicy, MlpPolicy, MultiInputPolicy, get_device
from tegu.sb3.replay import ReplayBuffer
from tegu.sb3.results_plotter import plot_results, ts2xy
from tegu.sb3.schedules import (
    ConstantSchedule,
    FloatSchedule,
    LinearSchedule,
    constant_fn,
    get_linear_fn,
    get_schedule_fn,
)
from tegu.sb3.stock_callbacks import (
    CheckpointCallback,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
)
from tegu.sb3.utils import check_env, get_latest_run_id, get_system_info, safe_mean, set_random_seed
from tegu.sb3.vec_env import VecEnv, VecEnvWrapper, is_vecenv_wrapped
from tegu.sb3.vec_frame_stack import VecFrameStack
from tegu.sb3.vec_normalize import RunningMeanStd, VecNormalize, sync_envs_normalization, unwrap_vec_normalize
from tegu.sb3.vec_wrappers import (
    VecCheckNan,
    VecExtractDictObs,
    VecMonitor,
    VecTransposeImage,
    VecVideoRecorder,
)

__all__ = [
    "A2C",
    "DDPG",
    "DEBUG",
    "DISABLED",
    "DQN",
    "ERROR",
    "INFO",
    "PPO",
    "QRDQN",
    "SAC",
    "TD3",
    "TQC",
    "TRPO",
    "WARN",
    "ActionNoise",
    "AtariWrapper",
    "BaseAlgorithm",
    "BaseCallback",
    "BitFlippingEnv",
    "CSVOutputFormat",
    "CallbackList",
    "CheckpointCallback",
    "CnnPolicy",
    "ConstantSchedule",
    "ConvertCallback",
    "DummyVecEnv",
    "EvalCallback",
    "EventCallback",
    "EveryNTimesteps",
    "FakeImageEnv",
    "Figure",
    "FloatSchedule",
    "FormatUnsupportedError",
    "GoalSelectionStrategy",
    "HParam",
    "HerReplayBuffer",
    "HumanOutputFormat",
    "IdentityEnv",
    "IdentityEnvBox",
    "IdentityEnvMultiBinary",
    "IdentityEnvMultiDiscrete",
    "Image",
    "JSONOutputFormat",
    "KVWriter",
    "LinearSchedule",
    "LoadMonitorResultsError",
    "LogEveryNTimesteps",
    "Logger",
    "MaxAndSkipEnv",
    "MlpPolicy",
    "Monitor",
    "MultiInputPolicy",
    "NormalActionNoise",
    "OrnsteinUhlenbeckActionNoise",
    "ProgressBarCallback",
    "RMSpropTFLike",
    "ReplayBuffer",
    "RunningMeanStd",
    "SimpleMultiObsEnv",
    "StopTrainingOnMaxEpisodes",
    "StopTrainingOnNoModelImprovement",
    "StopTrainingOnRewardThreshold",
    "SubprocVecEnv",
    "TensorBoardOutputFormat",
    "VecCheckNan",
    "VecEnv",
    "VecEnvWrapper",
    "VecExtractDictObs",
    "VecFrameStack",
    "VecMonitor",
    "VecNormalize",
    "VecTransposeImage",
    "VecVideoRecorder",
    "Video",
    "check_env",
    "configure",
    "constant_fn",
    "evaluate_policy",
    "get_device",
    "get_latest_run_id",
    "get_linear_fn",
    "get_monitor_files",
    "get_schedule_fn",
    "get_system_info",
    "is_vecenv_wrapped",
    "is_wrapped",
    "load_results",
    "make_atari_env",
    "make_output_format",
    "make_vec_env",
    "plot_results",
    "results_plotter",
    "safe_mean",
    "set_random_seed",
    "sync_envs_normalization",
    "ts2xy",
    "unwrap_vec_normalize",
    "unwrap_wrapper",
]


def __getattr__(name: str) -> Never:
    raise missing(name, __all__)
