"""Stable-Baselines3's wrappers for Atari games: what Mnih et al. (2015) and Machado et al. (2018) do to them."""

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from tegu.core.errors import TeguError
from tegu.sb3.environments import DummyVecEnv, make_vec_env

Reset = tuple[np.ndarray, dict[str, Any]]
Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  #: of red, green and blue (ITU-R BT.601)


class StickyActionEnv(gymnasium.Wrapper):
    """Takes the action before instead, with this probability."""

    def __init__(self, env: gymnasium.Env, action_repeat_probability: float):
        super().__init__(env)
        self.action_repeat_probability = action_repeat_probability
        self._sticky: Any = 0

    def reset(self, **arguments: Any) -> Reset:
        self._sticky = 0
        return self.env.reset(**arguments)

    def step(self, action: Any) -> Any:
        if self.np_random.random() >= self.action_repeat_probability:
            self._sticky = action
        return self.env.step(self._sticky)


class NoopResetEnv(gymnasium.Wrapper):
    """Begins episodes with 1 to ``noop_max`` actions that do nothing."""

    def __init__(self, env: gymnasium.Env, noop_max: int = 30):
        super().__init__(env)
        self.noop_max = noop_max

    def reset(self, **arguments: Any) -> Reset:
        observation, info = self.env.reset(**arguments)
        for _ in range(self.unwrapped.np_random.integers(1, self.noop_max + 1)):
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                observation, info = self.env.reset()
        return observation, info


class FireResetEnv(gymnasium.Wrapper):
    """Begins episodes with the two actions that start a game which waits for them."""

    def reset(self, **arguments: Any) -> Reset:
        observation, info = self.env.reset(**arguments)
        for action in (1, 2):
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset()
        return observation, info


class EpisodicLifeEnv(gymnasium.Wrapper):
    """Says that an episode has ended where a life is lost; the game goes on, and begins anew when all are."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.lives, self.was_real_done = 0, True

    def reset(self, **arguments: Any) -> Reset:
        if self.was_real_done:
            observation, info = self.env.reset(**arguments)
        else:
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                observation, info = self.env.reset(**arguments)
        self.lives = self._lives()
        return observation, info

    def step(self, action: Any) -> Step:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.was_real_done = terminated or truncated
        lives, before = self._lives(), self.lives
        self.lives = lives
        return observation, float(reward), bool(terminated or 0 < lives < before), truncated, info

    def _lives(self) -> int:
        return self.unwrapped.ale.lives()  # type: ignore[attr-defined]


class MaxAndSkipEnv(gymnasium.Wrapper):
    """Repeats each action for ``skip`` frames; shows the brighter of the last two in every pixel."""

    def __init__(self, env: gymnasium.Env, skip: int = 4):
        super().__init__(env)
        self._skip = skip

    def step(self, action: Any) -> Step:
        total, frames = 0.0, list[np.ndarray]()
        for _ in range(self._skip):
            observation, reward, terminated, truncated, info = self.env.step(action)
            frames = [*frames[-1:], observation]
            total += float(reward)
            if terminated or truncated:
                break
        return np.maximum(frames[0], frames[-1]), total, bool(terminated), bool(truncated), info


class ClipRewardEnv(gymnasium.RewardWrapper):
    """Rewards as their signs."""

    def reward(self, reward: Any) -> float:
        return float(np.sign(reward))


class WarpFrame(gymnasium.ObservationWrapper):
    """Colours as one of grey, ``[height, width, 1]``, each pixel the mean of the area that it covers."""

    def __init__(self, env: gymnasium.Env, width: int = 84, height: int = 84):
        super().__init__(env)
        self.width, self.height = width, height
        self.observation_space = gymnasium.spaces.Box(0, 255, (height, width, 1), np.uint8)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        rows, columns = self._means
        grey = np.rint(observation @ _LUMA)
        return np.rint(rows @ grey @ columns.T).astype(np.uint8)[..., None]

    @cached_property
    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.env.observation_space.shape is not None
        height, width, _ = self.env.observation_space.shape
        return _overlaps(height, self.height), _overlaps(width, self.width)


class AtariWrapper(gymnasium.Wrapper):
    """All of the others, with the usual settings; ``noop_max=0``, ``frame_skip=1``... leave theirs out."""

    def __init__(
        self,
        env: gymnasium.Env,
        noop_max: int = 30,
        frame_skip: int = 4,
        screen_size: int = 84,
        terminal_on_life_loss: bool = True,
        clip_reward: bool = True,
        action_repeat_probability: float = 0.0,
    ):
        if action_repeat_probability > 0:
            env = StickyActionEnv(env, action_repeat_probability)
        if noop_max > 0:
            env = NoopResetEnv(env, noop_max)
        if frame_skip > 1:
            env = MaxAndSkipEnv(env, frame_skip)
        if terminal_on_life_loss:
            env = EpisodicLifeEnv(env)
        if "FIRE" in env.unwrapped.get_action_meanings():  # type: ignore[attr-defined]
            env = FireResetEnv(env)
        env = WarpFrame(env, screen_size, screen_size)
        super().__init__(ClipRewardEnv(env) if clip_reward else env)


def make_atari_env(
    env_id: str | Callable[..., gymnasium.Env],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: Callable[..., Any] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
) -> DummyVecEnv:
    """``make_vec_env`` of a game such as ``PongNoFrameskip-v4`` within an ``AtariWrapper``."""
    try:
        import ale_py
    except ImportError as error:
        raise TeguError("make_atari_env needs tegu[atari]: pip install 'tegu[atari]'") from error
    gymnasium.register_envs(ale_py)
    options = dict(env_kwargs or {})

    def make(**more: Any) -> gymnasium.Env:
        if not isinstance(env_id, str):
            return env_id(**options, **more)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of names with old versions
            return gymnasium.make(env_id, **{"render_mode": "rgb_array", **options}, **more)

    return make_vec_env(
        make,
        n_envs,
        seed,
        start_index,
        monitor_dir,
        AtariWrapper,
        None,
        vec_env_cls,
        vec_env_kwargs,
        monitor_kwargs,
        wrapper_kwargs,
    )


def _overlaps(size: int, smaller: int) -> np.ndarray:
    """The matrix ``[smaller, size]`` that takes means over areas: how much of each pixel each new one covers."""
    edges = np.linspace(0, size, smaller + 1)
    first, last = edges[:-1, None], edges[1:, None]
    pixels = np.arange(size)
    covered = np.clip(np.minimum(last, pixels + 1) - np.maximum(first, pixels), 0, None)
    return (covered * smaller / size).astype(np.float32)
