"""Stable-Baselines3's wrappers around vectorised environments, but for ``VecNormalize``."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.sb3.errors import ArgumentError
from tegu.sb3.monitor import Monitor, ResultsWriter
from tegu.sb3.vec_env import VecEnv, VecEnvStep, VecEnvWrapper, is_vecenv_wrapped
from tegu.sb3.vec_parts import each, is_image, is_last, mapped, named, parts


class VecMonitor(VecEnvWrapper):
    """Adds ``info["episode"]`` to every last step of each environment, and writes it as ``Monitor`` does."""

    keeps_goals = True

    def __init__(self, venv: VecEnv, filename: str | None = None, info_keywords: tuple[str, ...] = ()):
        super().__init__(venv)
        if is_monitored(venv):
            warnings.warn(
                "The environment is already wrapped with a Monitor, whose episodes VecMonitor overwrites", stacklevel=2
            )
        self.t_start, self.info_keywords = time.time(), info_keywords
        self.results_writer = (
            None
            if filename is None
            else ResultsWriter(filename, {"t_start": self.t_start, "env_id": venv.id}, extra_keys=info_keywords)
        )
        self.episode_returns = np.zeros(self.num_envs)  #: of the running episodes
        self.episode_lengths = np.zeros(self.num_envs, int)

    def reset(self) -> PyTree:
        self.episode_returns[:], self.episode_lengths[:] = 0, 0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStep:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.episode_returns += rewards
        self.episode_lengths += 1
        infos = list(infos)
        for i in map(int, np.flatnonzero(dones)):
            episode = {
                "r": float(self.episode_returns[i]),
                "l": int(self.episode_lengths[i]),
                "t": round(time.time() - self.t_start, 6),
            } | {name: infos[i][name] for name in self.info_keywords}
            infos[i] = {**infos[i], "episode": episode}
            if self.results_writer is not None:
                self.results_writer.write_row(episode)
            self.episode_returns[i], self.episode_lengths[i] = 0, 0
        return observations, rewards, dones, infos

    def close(self) -> None:
        if self.results_writer is not None:
            self.results_writer.close()
        super().close()


def is_monitored(env: VecEnv) -> bool:
    """Whether infos of last steps hold ``episode``."""
    return is_vecenv_wrapped(env, VecMonitor) or all(env.env_is_wrapped(Monitor))


class VecObservations(VecEnvWrapper):
    """Changes observations ``[n, ...]`` one by one: derive from this and define ``observe``."""

    def observe(self, observation: PyTree) -> PyTree:
        """What becomes of observations ``[n, ...]``, also of the last ones of episodes."""
        raise NotImplementedError

    def reset(self) -> PyTree:
        return self.observe(self.venv.reset())

    def step_wait(self) -> VecEnvStep:
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = [self._last(info) for info in infos]
        return self.observe(observations), rewards, dones, infos

    def _last(self, info: dict[str, Any]) -> dict[str, Any]:
        if "terminal_observation" not in info:
            return info
        one = each(lambda part: np.asarray(part)[None], info["terminal_observation"])
        return {**info, "terminal_observation": each(lambda part: part[0], self.observe(one))}


class VecExtractDictObs(VecObservations):
    """Of observations in a Dict, only the entry ``key``."""

    def __init__(self, venv: VecEnv, key: str):
        if not isinstance(venv.observation_space, spaces.Dict):
            raise ArgumentError(f"VecExtractDictObs needs observations in a Dict, got {venv.observation_space}")
        super().__init__(venv, venv.observation_space[key])
        self.key = key

    def observe(self, observation: PyTree) -> PyTree:
        return observation[self.key]


class VecTransposeImage(VecObservations):
    """Images ``[H, W, C]`` as ``[C, H, W]``. Tegu's networks take both; with ``skip`` it does nothing."""

    def __init__(self, venv: VecEnv, skip: bool = False):
        self.skip = skip
        space = venv.observation_space
        self._images = {name for name, part in parts(space).items() if isinstance(part, spaces.Box) and is_image(part)}
        if not self._images:
            raise ArgumentError(f"VecTransposeImage needs images, got {space}")
        super().__init__(venv, space if skip else mapped(self._space, space))

    def observe(self, observation: PyTree) -> PyTree:
        if self.skip:
            return observation
        return named(lambda name, part: part.transpose(0, 3, 1, 2) if name in self._images else part, observation)

    def _space(self, name: str, space: gymnasium.Space) -> gymnasium.Space:
        if name not in self._images:
            return space
        assert isinstance(space, spaces.Box)
        assert space.shape is not None
        low, high = (bound.transpose(2, 0, 1) for bound in (space.low, space.high))
        return spaces.Box(low, high, dtype=space.dtype)


def with_channels_first(venv: VecEnv) -> VecEnv:
    """A ``VecEnv`` of images ``[H, W, C]`` in a ``VecTransposeImage``, where SB3's models put it; any other as it is.

    So is one whose goals could not be said any more, and one with both kinds of images: networks take both. It is the
    same each time, so that it still knows where training left the environments.
    """
    boxes = [box for box in parts(venv.observation_space).values() if isinstance(box, spaces.Box) and is_image(box)]
    alike = bool(boxes) and all(map(is_last, boxes))
    if not alike or venv.goals is not None or is_vecenv_wrapped(venv, VecTransposeImage):
        return venv
    venv.turned = venv.turned or VecTransposeImage(venv)
    return venv.turned


class VecCheckNan(VecEnvWrapper):
    """Warns, or raises an error, where actions, observations or rewards are no finite numbers."""

    keeps_goals = True

    def __init__(self, venv: VecEnv, raise_exception: bool = False, warn_once: bool = True, check_inf: bool = True):
        super().__init__(venv)
        self.raise_exception, self.warn_once, self.check_inf = raise_exception, warn_once, check_inf
        self._warned = False

    def reset(self) -> PyTree:
        observations = self.venv.reset()
        self._check(observations=observations)
        return observations

    def step_async(self, actions: Any) -> None:
        self._check(actions=actions)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStep:
        observations, rewards, dones, infos = self.venv.step_wait()
        self._check(observations=observations, rewards=rewards)
        return observations, rewards, dones, infos

    def _check(self, **arrays: PyTree) -> None:
        for what, tree in arrays.items():
            for part in parts(tree).values():
                numbers = np.asarray(part, float)
                if (np.isfinite(numbers) if self.check_inf else ~np.isnan(numbers)).all():
                    continue
                says = f"{what} of the environment hold {'nan' if np.isnan(numbers).any() else 'inf'}"
                if self.raise_exception:
                    raise ArgumentError(says)
                if not (self.warn_once and self._warned):
                    warnings.warn(says, UserWarning, stacklevel=4)
                    self._warned = True


class VecVideoRecorder(VecEnvWrapper):
    """Films the environments, made with ``render_mode="rgb_array"``, into ``<video_folder>/<name_prefix>-....mp4``.

    A video of ``video_length`` steps begins at each step for which ``record_video_trigger`` is true.
    """

    keeps_goals = True

    def __init__(
        self,
        venv: VecEnv,
        video_folder: str,
        record_video_trigger: Callable[[int], bool],
        video_length: int = 200,
        name_prefix: str = "rl-video",
    ):
        super().__init__(venv)
        if self.render_mode != "rgb_array":
            raise ArgumentError(f"VecVideoRecorder needs render_mode='rgb_array', got {self.render_mode!r}")
        self.video_folder, self.name_prefix = Path(video_folder), name_prefix
        self.record_video_trigger, self.video_length = record_video_trigger, video_length
        self.step_id = 0
        self._frames: list[np.ndarray] = []
        self._began: int | None = None  # the step at which the video began

    def reset(self) -> PyTree:
        observations = self.venv.reset()
        self._film()
        return observations

    def step_wait(self) -> VecEnvStep:
        result = self.venv.step_wait()
        self.step_id += 1
        self._film()
        return result

    def close(self) -> None:
        self._finish()
        super().close()

    def _film(self) -> None:
        if self._began is None and self.record_video_trigger(self.step_id):
            self._began = self.step_id
        if self._began is not None:
            frame = self.venv.render()
            if not isinstance(frame, np.ndarray):
                raise TeguError(f"render() of the environment must return a picture, got {type(frame).__name__}")
            self._frames.append(frame)
            if len(self._frames) > self.video_length:
                self._finish()

    def _finish(self) -> None:
        """Write the video, if one is being made."""
        from tegu.analysis.video import video

        if self._began is not None:
            self.video_folder.mkdir(parents=True, exist_ok=True)
            name = f"{self.name_prefix}-step-{self._began}-to-step-{self._began + self.video_length}.mp4"
            video(self._frames, self.video_folder / name, self.metadata.get("render_fps", 30))
        self._frames, self._began = [], None
