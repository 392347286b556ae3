"""What goals pay, written with NumPy and computed by JAX: the same numbers."""

from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.environments.adapters.goals import HostGoals

REAL, BITS = spaces.Box(-np.inf, np.inf, (3,), np.float64), spaces.MultiBinary(4)


def distance(achieved: Any, desired: Any) -> Any:
    assert achieved.shape == desired.shape
    return np.linalg.norm(achieved - desired, axis=-1)


def in_parts(achieved: Any, desired: Any) -> Any:
    x, y, z = achieved - desired
    return -abs(x) - 2 * np.maximum(y, z).clip(-1, 1) ** 2 + len(desired)


REWARDS: dict[str, tuple[spaces.Space, Callable[..., Any]]] = {
    "sparse": (REAL, lambda a, d: -(distance(a, d) > 0.05).astype(np.float32)),
    "dense": (REAL, lambda a, d: -distance(a, d)),
    "doubles": (REAL, lambda a, d: (distance(a, d) <= 0.45).astype(np.float64)),
    "exponential": (REAL, lambda a, d: np.exp(-distance(a, d))),
    "cases": (REAL, lambda a, d: np.where(np.all(np.abs(a - d) < [0.1, 0.2, 0.3]), 1.0, np.dot(a, d))),
    "a few": (REAL, lambda a, d: np.sum(np.stack([a[..., :2], d[..., 1:]]), dtype=np.float64)),
    "in parts": (REAL, in_parts),
    "bits": (BITS, lambda a, d: np.float32(1) * (a == d).all(axis=-1) - 1),
    "constant": (REAL, lambda a, d: 2),
}


def environment(space: spaces.Space, pays: Callable[..., Any], ends: Callable[..., Any] | None = None) -> gymnasium.Env:
    class Goals(gymnasium.Env):
        observation_space = spaces.Dict(observation=REAL, achieved_goal=space, desired_goal=space)
        action_space = spaces.Discrete(2)

        def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
            assert info == {}
            return pays(achieved_goal, desired_goal)

    if ends is not None:
        Goals.compute_terminated = lambda self, achieved, desired, info: ends(achieved, desired)  # type: ignore
    return gymnasium.wrappers.TimeLimit(Goals(), 9)


def pairs(space: spaces.Space) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of goals that are far from each other, near, and equal."""
    space.seed(3)
    far = [(space.sample(), space.sample()) for _ in range(20)]
    return [*far, *((a, a) for a, _ in far), *((a, a + (a.dtype.kind == "f") * 0.02) for a, _ in far)]


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_are_those_of_numpy(name: str) -> None:
    space, pays = REWARDS[name]
    goals = HostGoals.of(environment(space, pays))
    assert goals is not None
    goals.check()
    given = pairs(space)
    theirs = [float(pays(*pair)) for pair in given]
    ours = jax.vmap(goals.compute_reward)(*map(np.stack, zip(*given, strict=True)))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert name == "constant" or len(set(theirs)) > 1


def test_terminations_are_those_of_numpy_or_never() -> None:
    given = list(map(np.stack, zip(*pairs(REAL), strict=True)))
    never = HostGoals.of(environment(REAL, distance))
    always_false = HostGoals.of(environment(REAL, distance, lambda a, d: False))
    near = HostGoals.of(environment(REAL, distance, lambda a, d: distance(a, d) < 0.1))
    found = [np.asarray(jax.vmap(goals.compute_terminated)(*given)) for goals in (never, always_false, near)]
    assert {each.dtype for each in found} == {np.dtype(bool)}
    assert not found[0].any()
    assert not found[1].any()
    np.testing.assert_array_equal(found[2], np.linalg.norm(given[0] - given[1], axis=1) < 0.1)
    assert set(found[2].tolist()) == {True, False}
    near.check()


@pytest.mark.parametrize(
    ("pays", "says"),
    [
        (
            lambda a, d: np.array(distance(a, d) > 1, np.float32),
            r"TypeError: no number is known yet, so no if, .*np\.array",
        ),
        (lambda a, d: 1.0 if (a == d).all() else 0.0, "no number is known yet"),
        (lambda a, d: float(distance(a, d)), "no number is known yet"),
        (lambda a, d: np.add(a, d, out=a).sum(), "out"),
        (lambda a, d: a - d, "reshape"),
        (lambda a, d: None, "None is not"),
        (lambda a, d: np.busday_count(a, d), "JAX has no busday_count"),
    ],
)
def test_what_jax_cannot_compute_is_said_in_one_line(pays: Callable[..., Any], says: str) -> None:
    goals = HostGoals.of(environment(REAL, pays))
    assert goals is not None
    with pytest.raises(
        tegu.TeguError, match=f"^compute_reward of the environment cannot be computed by JAX: .*{says}"
    ) as e:
        goals.check()
    assert "\n" not in str(e.value)


def test_terminations_are_looked_at_too() -> None:
    goals = HostGoals.of(environment(REAL, distance, lambda a, d: bool(distance(a, d) < 1)))
    assert goals is not None
    with pytest.raises(tegu.TeguError, match=r"^compute_terminated of the environment cannot be computed by JAX"):
        goals.check()


def test_only_goals_that_are_observed_and_paid_count() -> None:
    assert HostGoals.of(gymnasium.make("CartPole-v1")) is None
    unpaid = environment(REAL, distance)
    del type(unpaid.unwrapped).compute_reward
    assert HostGoals.of(unpaid) is None
