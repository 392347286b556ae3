"""What steps pay in tasks of Gymnasium's, and which end them, as functions of observations and actions alone.

Every one of them is called with observations ``[..., o]``, the environment's actions ``[..., k]`` and the next
observations ``[..., o]``, and returns rewards, float, and ends, bool, ``[...]``. They are those of the environment with
the options with which it was made, as far as its observations tell them: see ``EnvironmentSpec.reward``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp

from tegu.environments.adapters.contract import bare
from tegu.environments.classic.pendulum import PendulumReward

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Locomotion:
    """HalfCheetah, Hopper, Swimmer and Walker2d: the way forward by the time it takes, less the cost of the actions.

    The position x is the first number that is observed.
    """

    dt: float  #: seconds per step
    forward_weight: float
    control_weight: float
    health: "Health | None" = None  #: None: there is no unhealthy state

    def __call__(
        self, observation: jax.Array, action: jax.Array, next_observation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        velocity = (next_observation[..., 0] - observation[..., 0]) / self.dt
        reward = self.forward_weight * velocity - self.control_weight * (action**2).sum(axis=-1)
        if self.health is None:
            return reward, jnp.zeros(reward.shape, bool)
        healthy = self.health.of(next_observation)
        return reward + self.health.reward * healthy, ~healthy & self.health.terminates


@dataclass(frozen=True)
class Health:
    """When a Hopper or a Walker2d has not fallen, by its height and its angle, what that pays, and whether a fall ends
    the episode. Gymnasium bounds a Hopper's velocities, too, at 100; they are observed up to 10 alone."""

    reward: float
    terminates: bool
    z: Bounds
    angle: Bounds
    state: Bounds  #: of all that is observed from the angle on

    def of(self, observation: jax.Array) -> jax.Array:
        """Whether it has not ``[...]``."""
        z, angle, state = observation[..., 1], observation[..., 2], observation[..., 2:]
        return _within(z, self.z) & _within(angle, self.angle) & _within(state, self.state).all(axis=-1)


@dataclass(frozen=True)
class Balance:
    """InvertedPendulum: 1 for each step after which the pole leans by at most 0.2 rad."""

    def __call__(
        self, observation: jax.Array, action: jax.Array, next_observation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        terminated = jnp.abs(next_observation[..., 1]) > 0.2
        return 1.0 - terminated, terminated


@dataclass(frozen=True)
class Reach:
    """Reacher: minus the distance from the fingertip to the target, which is observed, and the cost of the actions."""

    distance_weight: float
    control_weight: float

    def __call__(
        self, observation: jax.Array, action: jax.Array, next_observation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        distance = jnp.linalg.norm(next_observation[..., 8:10], axis=-1)
        reward = -self.distance_weight * distance - self.control_weight * (action**2).sum(axis=-1)
        return reward, jnp.zeros(reward.shape, bool)


@dataclass(frozen=True)
class Push:
    """Pusher: minus the distances from the arm's tip to the object and from there to the goal, and the cost of the
    actions."""

    near_weight: float
    distance_weight: float
    control_weight: float

    def __call__(
        self, observation: jax.Array, action: jax.Array, next_observation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        tip, thing, goal = (next_observation[..., start : start + 3] for start in (14, 17, 20))
        near, far = jnp.linalg.norm(thing - tip, axis=-1), jnp.linalg.norm(thing - goal, axis=-1)
        costs = self.near_weight * near + self.distance_weight * far + self.control_weight * (action**2).sum(axis=-1)
        return -costs, jnp.zeros(costs.shape, bool)


def reward_of(environment: gymnasium.Env) -> Any:
    """What a step pays in an environment of Gymnasium's own, and whether it ends the task; None where that is not
    known, or does not follow from what is observed."""
    inner = bare(environment)
    found = _TASKS.get(f"{type(inner).__module__}.{type(inner).__name__}")
    return found(inner) if found is not None else None


def _locomotion(inner: Any, health: Callable[[Any], Health] | None = None) -> Locomotion | None:
    if inner._exclude_current_positions_from_observation:
        return None
    weights = float(inner._forward_reward_weight), float(inner._ctrl_cost_weight)
    return Locomotion(float(inner.dt), *weights, health(inner) if health is not None else None)


def _health(inner: Any) -> Health:
    return Health(
        reward=float(inner._healthy_reward),
        terminates=bool(inner._terminate_when_unhealthy),
        z=_bounds(inner._healthy_z_range),
        angle=_bounds(inner._healthy_angle_range),
        state=_bounds(getattr(inner, "_healthy_state_range", (-math.inf, math.inf))),
    )


def _bounds(given: Any) -> Bounds:
    low, high = given
    return float(low), float(high)


def _reach(inner: Any) -> Reach:
    return Reach(float(inner._reward_dist_weight), float(inner._reward_control_weight))


def _push(inner: Any) -> Push:
    weights = inner._reward_near_weight, inner._reward_dist_weight, inner._reward_control_weight
    return Push(*map(float, weights))


def _within(value: jax.Array, bounds: Bounds) -> jax.Array:
    return (bounds[0] < value) & (value < bounds[1])


_TASKS: dict[str, Callable[[Any], Any]] = {
    "gymnasium.envs.classic_control.pendulum.PendulumEnv": lambda inner: PendulumReward(float(inner.max_torque)),
    "gymnasium.envs.mujoco.half_cheetah_v5.HalfCheetahEnv": _locomotion,
    "gymnasium.envs.mujoco.swimmer_v5.SwimmerEnv": _locomotion,
    "gymnasium.envs.mujoco.hopper_v5.HopperEnv": lambda inner: _locomotion(inner, _health),
    "gymnasium.envs.mujoco.walker2d_v5.Walker2dEnv": lambda inner: _locomotion(inner, _health),
    "gymnasium.envs.mujoco.inverted_pendulum_v5.InvertedPendulumEnv": lambda inner: Balance(),
    "gymnasium.envs.mujoco.reacher_v5.ReacherEnv": _reach,
    "gymnasium.envs.mujoco.pusher_v5.PusherEnv": _push,
}
