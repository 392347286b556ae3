"""Environments of Brax (Freeman et al. 2021, arXiv:2106.13281) and MuJoCo Playground (Zakka et al. 2025,
arXiv:2502.08844), whose interface is the same, as Tegu's: trainings are compiled together with them.
"""

import atexit
import difflib
import importlib
import io
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from functools import lru_cache
from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.mujoco import renderer
from tegu.environments.base import Environment, Timestep


class BraxEnvironment(Environment):
    """An environment with Brax's interface: ``reset(key)`` and ``step(state, action)`` return a state with ``obs``,
    ``reward``, ``done``, ``metrics`` and ``info``.

    Actions lie in [-1, 1]. Observations are float32 without bounds, a Dict where Brax's are. An episode is terminated
    where it is ``done``, and truncated by ``max_episode_steps``, counted in actions, not in repetitions of them. An
    action is taken ``action_repeat`` times, but not after ``done``, and their rewards are added up. Where the physics
    diverges, that is where an observation or the reward is not finite, the episode is terminated, with a reward of 0
    and the observation and the measures before. The measures are Brax's metrics.
    """

    environment: Any = eqx.field(static=True)  #: Brax's own, without its wrappers
    action_repeat: int = eqx.field(static=True, kw_only=True, default=1)

    def __check_init__(self) -> None:
        whole_number(self.id, "action_repeat", self.action_repeat)

    @property
    def observation_space(self) -> gymnasium.Space:
        seen = _begun(self.environment).obs
        boxes = jax.tree.map(lambda leaf: gymnasium.spaces.Box(-np.inf, np.inf, leaf.shape, np.float32), seen)
        return gymnasium.spaces.Dict(dict(boxes)) if isinstance(seen, Mapping) else boxes

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-1, 1, (self.environment.action_size,), np.float32)

    def reset(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        state = self.environment.reset(jax.random.key_data(key))  # Brax hands on the words of keys
        return state, _float32(state.obs)

    def step(self, state: PyTree, action: jax.Array, key: jax.Array) -> Timestep:
        def once(
            carry: tuple[PyTree, jax.Array, jax.Array], _: None
        ) -> tuple[tuple[PyTree, jax.Array, jax.Array], None]:
            before, reward, ended = carry
            after = self.environment.step(_copied(before), action)
            sound = jnp.isfinite(after.reward) & _finite(after.obs)
            kept = {name: _where(sound, getattr(after, name), getattr(before, name)) for name in ("obs", "metrics")}
            after = after.replace(**kept)
            reward += jnp.where(sound & ~ended, after.reward, 0)
            return (_where(ended, before, after), reward, ended | ~sound | (after.done > 0)), None

        begin = state, jnp.float32(0), jnp.bool_(False)
        (state, reward, terminated), _ = jax.lax.scan(once, begin, None, self.action_repeat)
        return Timestep(state, _float32(state.obs), reward, terminated)

    def measures(self, state: PyTree) -> dict[str, jax.Array]:
        return {name: jnp.float32(value) for name, value in state.metrics.items()}

    def image(self, state: PyTree) -> np.ndarray:
        """The bodies, drawn by MuJoCo from its free camera: ``[480, 480, 3]``."""
        import mujoco

        model, data, drawing = _stage(self.environment)
        brax = hasattr(state, "pipeline_state")
        places, speeds = (
            (state.pipeline_state.q, state.pipeline_state.qd) if brax else (state.data.qpos, state.data.qvel)
        )
        data.qpos[:], data.qvel[:] = places, speeds
        if not brax:
            data.mocap_pos[:], data.mocap_quat[:] = state.data.mocap_pos, state.data.mocap_quat
        mujoco.mj_forward(model, data)
        return drawing.render("rgb_array")


def made(name: str, **options: Any) -> BraxEnvironment:
    """The environment that ``brax/<name>`` or ``playground/<name>`` names.

    ``episode_length``, in steps of the environment, and ``action_repeat`` are as in Brax's own training. The other
    options go to Brax's constructor, ``physics`` as its ``backend``, or override Playground's configuration, in which a
    name may have parts, such as ``reward_config.scales.torques``.
    """
    package, _, task = name.partition("/")
    # of Brax and of jaxopt, that nobody maintains them; and Playground says on stdout what it downloads
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        environment, episode_length, action_repeat = PACKAGES[package](name, task, options)
    for option, value in (("episode_length", episode_length), ("action_repeat", action_repeat)):
        whole_number(name, option, value)
    limit = math.ceil(episode_length / action_repeat)
    return BraxEnvironment(environment, id=name, max_episode_steps=limit, action_repeat=action_repeat)


def whole_number(name: str, option: str, value: Any) -> None:
    """Raise ``TeguError`` unless ``value`` is a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TeguError(f"{name}: {option} must be a whole number from 1, got {value!r}")


def _from_brax(name: str, task: str, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    envs = _imported("brax.envs", name)
    _known(name, task, envs._envs)
    own = {"episode_length": 1000, "action_repeat": 1} | options  # the defaults of Brax's ``envs.create``
    length, repeat = own.pop("episode_length"), own.pop("action_repeat")
    if "physics" in own:
        own["backend"] = own.pop("physics")
    return envs.get_environment(task, **own), length, repeat


def _from_playground(name: str, task: str, options: dict[str, Any]) -> tuple[Any, Any, Any]:
    registry = _imported("mujoco_playground._src.registry", name)
    _known(name, task, registry.ALL_ENVS)
    config = registry.get_default_config(task)
    # Playground's own choice is Warp, whose sums depend on the order in which a GPU's threads come
    config.update_from_flattened_dict(({"impl": "jax"} if "impl" in config else {}) | options)
    return registry.load(task, config=config), config.episode_length, config.action_repeat


PACKAGES: dict[str, Callable[[str, str, dict[str, Any]], tuple[Any, Any, Any]]] = {
    "brax": _from_brax,
    "playground": _from_playground,
}
"""By the first part of a name: what makes its environment, and says how long an episode is and how often actions are
repeated."""


def _imported(module: str, name: str) -> Any:
    try:
        with redirect_stdout(io.StringIO()):  # MJX prints that Warp is not there, which is not needed
            return importlib.import_module(module)
    except ImportError as error:
        extra = f"tegu[{name.partition('/')[0]}]"
        raise TeguError(f"{name} needs {extra}: pip install '{extra}'") from error


def _known(name: str, task: str, tasks: Iterable[str]) -> None:
    if task not in tasks:
        package = name.partition("/")[0]
        near = difflib.get_close_matches(task, tasks, 3, 0.5) or sorted(tasks)
        raise TeguError(
            f"there is no environment {name}; did you mean {' or '.join(f'{package}/{each}' for each in near)}?"
        )


@lru_cache(maxsize=64)
def _begun(environment: Any) -> Any:
    """The shapes of a first state: tracing a body takes seconds."""
    return jax.eval_shape(environment.reset, jax.eval_shape(jax.random.key_data, jax.random.key(0)))


@lru_cache(maxsize=1)
def _stage(environment: Any) -> tuple[Any, Any, Any]:
    """MuJoCo's model and data, and what draws them, which is closed before Python ends."""
    import mujoco

    model = environment.mj_model if hasattr(environment, "mj_model") else environment.sys.mj_model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    drawing = renderer(model, data)
    drawing.render("rgb_array")  # with which MuJoCo opens, and registers the end of, what has to be closed before
    atexit.register(drawing.close)
    return model, data, drawing


def _float32(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), dict(tree) if isinstance(tree, Mapping) else tree)


def _copied(state: PyTree) -> PyTree:
    """The same arrays in new dicts: a step may write its metrics into those that it was given."""
    return jax.tree.map(lambda leaf: leaf, state)


def _finite(tree: PyTree) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _where(condition: jax.Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda one, other: jnp.where(condition, one, other), new, old)
