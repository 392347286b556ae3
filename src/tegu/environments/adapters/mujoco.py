"""What Gymnasium's MuJoCo environments (Todorov et al. 2012) do not do by themselves: say where they stand, keep quiet,
and draw without a display.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium
import numpy as np

from tegu.core.errors import TeguError

_MODULES = "gymnasium.envs.mujoco."

_READ_LATE = ("xpos", "xipos")
"""Where bodies are. A step leaves there where they were before its last substep, and the next one's reward counts from
there."""

_RENDERERS = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}
"""What draws without a display, as ``MUJOCO_GL`` names it, and the library that it needs."""


def is_mujoco(name: str) -> bool:
    """Whether a name is one of Gymnasium's own environments that MuJoCo steps."""
    return name in gymnasium.registry and str(gymnasium.registry[name].entry_point).startswith(_MODULES)


class MujocoState:
    """Where one of them stands in the middle of an episode. Chance has a part in how episodes begin, and no other."""

    def __init__(self, model: Any, data: Any):
        self.model, self.data = model, data

    @classmethod
    def of(cls, environment: gymnasium.Env) -> "MujocoState | None":
        """That of an environment of Gymnasium's own; one that a person derives from it may keep more, and has none."""
        own: Any = environment
        return cls(own.model, own.data) if type(own).__module__.startswith(_MODULES) else None

    def save_state(self) -> dict[str, np.ndarray]:
        """All that the next step follows from, to the bit: what MuJoCo integrates from, and what rewards count from."""
        import mujoco

        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        integrated = np.empty(mujoco.mj_stateSize(self.model, kind))
        mujoco.mj_getState(self.model, self.data, integrated, kind)
        return {"integrated": integrated} | {name: getattr(self.data, name).copy() for name in _READ_LATE}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what ``save_state`` returned. ``TeguError`` where that does not fit the model."""
        import mujoco

        for name, mine in self.save_state().items():
            if name not in arrays or (arrays[name].shape, arrays[name].dtype) != (mine.shape, mine.dtype):
                raise TeguError(
                    f"the checkpoint is damaged: of an environment's state {name} is not {mine.dtype}{list(mine.shape)}"
                )
        integrated = np.array(arrays["integrated"])
        mujoco.mj_setState(self.model, self.data, integrated, mujoco.mjtState.mjSTATE_INTEGRATION)
        for name in _READ_LATE:
            getattr(self.data, name)[:] = arrays[name]


@contextmanager
def without_notices() -> Iterator[None]:
    """MuJoCo keeps to itself what it notices about a model: those of Gymnasium are not the person's to change.

    It would print the same for every environment, and write it to a file in the current folder.
    """
    try:
        import mujoco
    except ImportError:  # Gymnasium says so
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda notice: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


class NoRendererError(TeguError):
    """Nothing can draw MuJoCo's bodies here."""


def choose_renderer() -> None:
    """Set ``MUJOCO_GL`` to what can draw here, unless it is set or there is a display; ``NoRendererError`` if nothing
    can.

    Gymnasium would choose what draws on a display, and fail at the first picture.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")):
        return
    for renderer, library in _RENDERERS.items():
        with suppress(OSError):
            ctypes.CDLL(library)
            os.environ["MUJOCO_GL"] = renderer
            return
    raise NoRendererError(
        f"MuJoCo needs a display to draw, or one of {', '.join(_RENDERERS.values())}, which Debian's libegl1 and "
        "libosmesa6 have"
    )


def renderer(model: Any, data: Any, height: int = 480, width: int = 480, camera_id: int = -1) -> Any:
    """What draws where ``data`` stands: its ``render("rgb_array")`` is a picture ``[height, width, 3]`` uint8.

    ``camera_id`` is the model's camera, or -1 for one that sees it all. ``NoRendererError`` where nothing can draw.
    """
    choose_renderer()
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    return MujocoRenderer(model, data, width=width, height=height, camera_id=camera_id)
