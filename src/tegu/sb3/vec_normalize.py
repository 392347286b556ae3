"""Stable-Baselines3's ``VecNormalize``: observations and rewards by running statistics."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.sb3.errors import ArgumentError
from tegu.sb3.vec_env import VecEnv, VecEnvStep, VecEnvWrapper, unwrap_vec_wrapper
from tegu.sb3.vec_parts import each, named, parts

_SETTINGS = ("training", "norm_obs", "norm_reward", "clip_obs", "clip_reward", "gamma", "epsilon")


class RunningMeanStd:
    """Mean and variance of all rows seen, by the parallel algorithm (Chan et al. 1979)."""

    def __init__(self, epsilon: float = 1e-4, shape: tuple[int, ...] = ()):
        """``epsilon``: how many rows of mean 0 and variance 1 it begins with."""
        self.mean, self.var, self.count = np.zeros(shape), np.ones(shape), float(epsilon)

    def copy(self) -> "RunningMeanStd":
        other = RunningMeanStd()
        other.mean, other.var, other.count = self.mean.copy(), self.var.copy(), self.count
        return other

    def combine(self, other: "RunningMeanStd") -> None:
        self.update_from_moments(other.mean, other.var, other.count)

    def update(self, rows: np.ndarray) -> None:
        """``rows`` ``[n, *shape]``."""
        self.update_from_moments(np.mean(rows, axis=0), np.var(rows, axis=0), len(rows))

    def update_from_moments(self, mean: np.ndarray, var: np.ndarray, count: float) -> None:
        total, difference = self.count + count, mean - self.mean
        squares = self.var * self.count + var * count + difference**2 * self.count * count / total
        self.mean = self.mean + difference * count / total
        self.var, self.count = squares / total, total


class VecNormalize(VecEnvWrapper):
    """Observations of mean 0 and deviation 1, rewards divided by the deviation of the discounted sum of rewards.

    The statistics are those of all steps so far; ``training=False`` leaves them as they are. A replay buffer keeps what
    was seen, normalised by the statistics of that time. ``save`` writes NumPy's format, and no pickle.
    """

    def __init__(
        self,
        venv: VecEnv,
        training: bool = True,
        norm_obs: bool = True,
        norm_reward: bool = True,
        clip_obs: float = 10.0,
        clip_reward: float = 10.0,
        gamma: float = 0.99,
        epsilon: float = 1e-8,
        norm_obs_keys: list[str] | None = None,
    ):
        """``norm_obs_keys``: the entries of a Dict that are normalised; all of them by default."""
        super().__init__(venv)
        self.training, self.norm_obs, self.norm_reward = training, norm_obs, norm_reward
        self.clip_obs, self.clip_reward, self.gamma, self.epsilon = clip_obs, clip_reward, gamma, epsilon
        named_parts = isinstance(venv.observation_space, spaces.Dict)
        if norm_obs_keys is not None and not (named_parts and norm_obs):
            raise ArgumentError("VecNormalize: norm_obs_keys needs norm_obs and observations in a Dict")
        boxes = parts(venv.observation_space)
        self.norm_obs_keys = list(boxes) if norm_obs_keys is None else norm_obs_keys
        self._obs_rms: dict[str, RunningMeanStd] = {}
        if norm_obs:
            for name in self.norm_obs_keys:
                if not isinstance(boxes.get(name), spaces.Box):
                    raise ArgumentError(
                        f"VecNormalize: only a Box is normalised, not {boxes.get(name)}: name the entries in "
                        "norm_obs_keys, or set norm_obs=False"
                    )
                self._obs_rms[name] = RunningMeanStd(shape=boxes[name].shape)
            found = named(self._space, venv.observation_space)
            self.observation_space = spaces.Dict(found) if named_parts else found
        self.ret_rms = RunningMeanStd()
        self.returns = np.zeros(self.num_envs)  #: discounted sums of rewards
        self._observed: PyTree = None
        self._rewarded = np.zeros(self.num_envs, np.float32)

    @property
    def obs_rms(self) -> Any:
        """The statistics of observations; a dict for those in a Dict."""
        return self._obs_rms if isinstance(self.observation_space, spaces.Dict) else self._obs_rms[""]

    @obs_rms.setter
    def obs_rms(self, statistics: Any) -> None:
        self._obs_rms = parts(statistics)

    def reset(self) -> PyTree:
        self._observed = self.venv.reset()
        self.returns = np.zeros(self.num_envs)
        if self.training:
            self._learn(self._observed)
        return self.normalize_obs(self._observed)

    def step_wait(self) -> VecEnvStep:
        observations, rewards, dones, infos = self.venv.step_wait()
        self._observed, self._rewarded = observations, rewards
        if self.training:
            self._learn(observations)
            self.returns = self.returns * self.gamma + rewards
            self.ret_rms.update(self.returns)
        infos = [
            {**info, "terminal_observation": self.normalize_obs(info["terminal_observation"])}
            if "terminal_observation" in info
            else info
            for info in infos
        ]
        self.returns = np.where(dones, 0.0, self.returns)
        return self.normalize_obs(observations), self.normalize_reward(rewards), dones, infos

    def normalize_obs(self, obs: PyTree) -> PyTree:
        """Observations ``[..., *shape]`` as a policy sees them."""
        return named(lambda name, part: self._normalized(name, np.asarray(part)), obs)

    def unnormalize_obs(self, obs: PyTree) -> PyTree:
        """The inverse of ``normalize_obs``, where nothing was clipped."""
        return named(lambda name, part: self._unnormalized(name, np.asarray(part)), obs)

    def normalize_reward(self, reward: np.ndarray) -> np.ndarray:
        if not self.norm_reward:
            return reward
        scaled = reward / np.sqrt(self.ret_rms.var + self.epsilon)
        return np.clip(scaled, -self.clip_reward, self.clip_reward).astype(np.float32)

    def unnormalize_reward(self, reward: np.ndarray) -> np.ndarray:
        return reward * np.sqrt(self.ret_rms.var + self.epsilon) if self.norm_reward else reward

    def get_original_obs(self) -> PyTree:
        """The last observations, as they came."""
        return each(np.copy, self._observed)

    def get_original_reward(self) -> np.ndarray:
        """The last rewards, as they came."""
        return self._rewarded.copy()

    def set_venv(self, venv: VecEnv) -> None:
        """Go on around another ``VecEnv`` of the same spaces, with the same statistics."""
        if venv.observation_space != self.venv.observation_space or venv.num_envs != self.num_envs:
            raise ArgumentError(f"VecNormalize: venv must have the observations of the other, {venv.observation_space}")
        self.venv, self.render_mode = venv, venv.render_mode

    def save(self, save_path: str | Path) -> None:
        """Write settings and statistics to a file."""
        arrays = {name: np.asarray(getattr(self, name)) for name in (*_SETTINGS, "returns")}
        arrays["norm_obs_keys"] = np.array(self.norm_obs_keys, dtype=np.str_)
        for name, moments in self._statistics.items():
            arrays |= {f"{name}/{part}": np.asarray(getattr(moments, part)) for part in ("mean", "var", "count")}
        with Path(save_path).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, load_path: str | Path, venv: VecEnv) -> Self:
        """What was saved, around ``venv``."""
        try:
            with np.load(load_path, allow_pickle=False) as file:
                saved = dict(file)
            settings = {name: saved[name].item() for name in _SETTINGS}
            keys = saved["norm_obs_keys"].tolist()
            named_parts = isinstance(venv.observation_space, spaces.Dict) and settings["norm_obs"]
            made = cls(venv, **settings, norm_obs_keys=keys if named_parts else None)
            for name, moments in made._statistics.items():
                fits = saved[f"{name}/mean"].shape == moments.mean.shape
                if not fits:
                    raise ArgumentError(f"{load_path} does not fit the observations of the environment")
                moments.mean, moments.var = saved[f"{name}/mean"], saved[f"{name}/var"]
                moments.count = saved[f"{name}/count"].item()
        except (ValueError, KeyError, OSError, EOFError) as error:
            if isinstance(error, FileNotFoundError):
                raise ArgumentError(f"there is no file {load_path}") from error
            if isinstance(error, TeguError):
                raise
            raise TeguError(
                f"{load_path} was not written by VecNormalize of tegu.sb3: files of Stable-Baselines3 hold pickles, "
                "which can run any code"
            ) from error
        if len(saved["returns"]) == made.num_envs:
            made.returns = saved["returns"]
        return made

    @property
    def _statistics(self) -> dict[str, RunningMeanStd]:
        """All of them, as they are called in a file."""
        return {**{f"obs/{name}": moments for name, moments in self._obs_rms.items()}, "ret": self.ret_rms}

    def _space(self, name: str, space: Any) -> Any:
        if name not in self._obs_rms:
            return space
        return spaces.Box(-self.clip_obs, self.clip_obs, space.shape, np.float32)

    def _learn(self, observations: PyTree) -> None:
        for name, part in parts(observations).items():
            if name in self._obs_rms:
                self._obs_rms[name].update(part)

    def _normalized(self, name: str, part: np.ndarray) -> np.ndarray:
        if not (self.norm_obs and name in self._obs_rms):
            return part
        moments = self._obs_rms[name]
        scaled = (part - moments.mean) / np.sqrt(moments.var + self.epsilon)
        return np.clip(scaled, -self.clip_obs, self.clip_obs).astype(np.float32)

    def _unnormalized(self, name: str, part: np.ndarray) -> np.ndarray:
        if not (self.norm_obs and name in self._obs_rms):
            return part
        moments = self._obs_rms[name]
        return part * np.sqrt(moments.var + self.epsilon) + moments.mean


def unwrap_vec_normalize(env: VecEnv) -> VecNormalize | None:
    """The ``VecNormalize`` around a ``VecEnv``, or None."""
    return unwrap_vec_wrapper(env, VecNormalize)


def sync_envs_normalization(env: VecEnv, eval_env: VecEnv) -> None:
    """Give the ``VecNormalize`` around ``eval_env`` the statistics of that around ``env``."""
    ours, theirs = unwrap_vec_normalize(env), unwrap_vec_normalize(eval_env)
    if (ours is None) != (theirs is None):
        raise ArgumentError("VecNormalize must be around both environments, or around neither")
    if ours is not None and theirs is not None:
        theirs._obs_rms = {name: moments.copy() for name, moments in ours._obs_rms.items()}
        theirs.ret_rms = ours.ret_rms.copy()
