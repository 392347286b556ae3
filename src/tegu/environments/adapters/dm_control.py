"""The tasks of dm_control's suite (Tassa et al. 2018, arXiv:1801.00690) in the shape of Gymnasium's environments.

Importing this registers them with Gymnasium as ``dm_control/<domain>-<task>-v0``, the names that Shimmy gives them; of
one that is registered already, as by Shimmy, the name stays what it is.
"""

import importlib
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.environments.adapters.mujoco import MujocoState, NoRendererError, choose_renderer, renderer, without_notices


def _imported() -> Any:
    """dm_control's suite. Its ``quadruped-escape`` needs OpenGL, of which dm_control chooses the kind when imported:
    what can draw without a display, or else its own choice.

    MuJoCo's notices, Gymnasium's as well, would go to a log of dm_control's: they do not.
    """
    told = os.environ.get("MUJOCO_GL")
    with without_notices():
        try:
            with suppress(NoRendererError):
                choose_renderer()
            return importlib.import_module("dm_control.suite")
        except ImportError:
            if os.environ.get("MUJOCO_GL") == told:
                raise
            del os.environ["MUJOCO_GL"]
            return importlib.import_module("dm_control.suite")


suite = _imported()
PhysicsError = importlib.import_module("dm_control.rl.control").PhysicsError

NAMESPACE = "dm_control/"


def limited(**options: Any) -> gymnasium.Env:
    """A ``SuiteTask`` that takes ``options``, with its time limit, if it has one, in Gymnasium's way."""
    task = SuiteTask(**options)
    return task if task.limit is None else gymnasium.wrappers.TimeLimit(task, task.limit)


class SuiteTask(gymnasium.Env):
    """One task. It observes a Dict of float32 arrays without bounds, one for each of dm_control's observations.

    An episode is terminated where dm_control's last step has a discount of 0, and truncated where that is more, as at
    the time limit. It is terminated, too, with a reward of 0 and the observation before, where the physics diverges,
    as dm_control's composer has it.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's way

    def __init__(
        self,
        domain_name: str,
        task_name: str,
        render_mode: str | None = None,
        height: int = 480,
        width: int = 480,
        camera_id: int = 0,
        environment_kwargs: Mapping[str, Any] | None = None,
        **task_kwargs: Any,
    ):
        """``height`` and ``width`` of the pictures are in pixels. The others are ``suite.load``'s; such a
        ``task_kwargs`` as ``time_limit``, in seconds, is given by its name."""
        if render_mode not in (None, "rgb_array"):
            raise TeguError(f"render_mode of a task of dm_control must be rgb_array, got {render_mode!r}")
        self.render_mode = render_mode
        self._random = np.random.RandomState(0)  # of which the bodies of lqr's tasks are made: always the same ones
        task_kwargs |= {"random": self._random}
        with without_notices():
            self._environment = suite.load(domain_name, task_name, task_kwargs, environment_kwargs)
        self._random.seed()
        standing = self._standing()
        self._renderer = renderer(standing.model, standing.data, height, width, camera_id) if render_mode else None
        limit = self._environment._step_limit
        self.limit = math.ceil(limit) if math.isfinite(limit) else None  #: steps after which an episode is truncated
        self.metadata = self.metadata | {"render_fps": 1 / self._environment.control_timestep()}
        self.observation_space = spaces.Dict(
            {
                name: spaces.Box(-np.inf, np.inf, spec.shape, np.float32)
                for name, spec in self._environment.observation_spec().items()
            }
        )
        self.action_space = _action_space(self._environment.action_spec())
        self._seen: dict[str, np.ndarray] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self._random.seed(self.np_random.integers(2**32, dtype=np.uint32))
        self._seen = _float32(self._environment.reset().observation)
        return self._seen, {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        try:
            taken = self._environment.step(np.asarray(action, np.float64))
        except PhysicsError:
            return self._seen, 0.0, True, False, {}
        self._seen = _float32(taken.observation)
        terminated = taken.last() and taken.discount == 0
        return self._seen, float(taken.reward), terminated, taken.last() and not terminated, {}

    def render(self) -> np.ndarray:
        """A picture ``[height, width, 3]`` uint8."""
        assert self._renderer is not None
        return self._renderer.render("rgb_array")

    def save_state(self) -> dict[str, np.ndarray]:
        """All that the next step follows from, once the episode has begun from the same seed: where MuJoCo stands.

        The suite's tasks draw random numbers, and change models and themselves, where an episode begins and never
        later.
        """
        return self._standing().save_state()

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``save_state`` returned. ``TeguError`` where that does not fit the model."""
        import mujoco

        standing = self._standing()
        standing.load_state(arrays)
        mujoco.mj_step1(standing.model, standing.data)  # with which dm_control's steps end

    def _standing(self) -> MujocoState:
        physics = self._environment.physics
        return MujocoState(physics.model.ptr, physics.data.ptr)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        self._environment.close()


def _action_space(spec: Any) -> spaces.Box:
    """The bounds of a ``BoundedArray``, and none where dm_control writes MuJoCo's largest number."""
    import mujoco

    low, high = (
        np.where(np.abs(bound) < mujoco.mjMAXVAL, bound, np.sign(bound) * np.inf).astype(np.float32)
        for bound in (np.broadcast_to(bound, spec.shape) for bound in (spec.minimum, spec.maximum))
    )
    return spaces.Box(low, high, spec.shape, np.float32)


def _float32(observation: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.float32) for name, value in observation.items()}


for _domain, _task in suite.ALL_TASKS:
    if (_name := f"{NAMESPACE}{_domain}-{_task}-v0") not in gymnasium.registry:
        gymnasium.register(_name, f"{__name__}:{limited.__name__}", kwargs={"domain_name": _domain, "task_name": _task})
