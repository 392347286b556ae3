"""Cart-pole swing-up against Lagrange's equations in float64, and the rewards of dm_control."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.environments.classic.cartpole_swing_up import END, CartPoleSwingUp, reward

KEY, SWING_UP = jax.random.key(0), CartPoleSwingUp()
CART, POLE, HALF, GRAVITY, SECONDS = 1.0, 0.1, 0.5, 9.8, 0.02
STEP = jax.jit(jax.vmap(SWING_UP.step, (0, 0, None)))


def moved(state, push):
    """Lagrange's equations, solved as a linear system, then velocities before positions."""
    x, x_dot, theta, theta_dot = state
    coupling = POLE * HALF * np.cos(theta)
    mass = [[CART + POLE, coupling], [coupling, 4 / 3 * POLE * HALF**2]]
    force = [10 * push + POLE * HALF * theta_dot**2 * np.sin(theta), POLE * GRAVITY * HALF * np.sin(theta)]
    x_acc, theta_acc = np.linalg.solve(mass, force)
    x_dot = x_dot + SECONDS * x_acc
    x = x + SECONDS * x_dot
    if abs(x) >= END:  # a pole that turns about a fixed axle
        x, x_dot, theta_acc = np.clip(x, -END, END), 0, force[1] / mass[1][1]
    theta_dot = theta_dot + SECONDS * theta_acc
    return [x, x_dot, theta + SECONDS * theta_dot, theta_dot]


def test_a_step_obeys_lagranges_equations():
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (400, 4)) * [1.85, 4, 2 * np.pi, 8]
    states[:, 0] = np.clip(states[:, 0], -END, END)
    pushes = rng.uniform(-1, 1, (400, 1))
    found = STEP(states.astype(np.float32), pushes.astype(np.float32), KEY)
    expected = np.array([moved(state, push) for state, (push,) in zip(states, pushes, strict=True)])
    assert (expected[:, 1] == 0).any(), "some carts must reach the end of the rail"
    np.testing.assert_allclose(found.state, expected, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(SWING_UP.state_of)(found.observation)[:, :2], expected[:, :2], atol=1e-5)
    np.testing.assert_allclose(
        np.cos(jax.vmap(SWING_UP.state_of)(found.observation)[:, 2]), np.cos(expected[:, 2]), atol=1e-5
    )
    assert not found.terminated.any()


def test_pushes_beyond_the_bounds_are_clipped():
    state = np.tile(np.float32([0.1, 0.2, 3.0, 0.4]), (2, 1))
    strong, strongest = (STEP(state, np.full((2, 1), push, np.float32), KEY) for push in (1, 7))
    jax.tree.map(np.testing.assert_array_equal, strong, strongest)


def test_left_alone_a_pole_keeps_swinging():
    """The energy, relative to that of a pole that hangs at rest, stays within a seventh for ten seconds."""

    def energy(state):
        _, x_dot, theta, theta_dot = np.asarray(state, np.float64)
        kinetic = (CART + POLE) * x_dot**2 / 2 + 4 / 3 * POLE * HALF**2 * theta_dot**2 / 2
        return kinetic + POLE * HALF * x_dot * theta_dot * np.cos(theta) + POLE * GRAVITY * HALF * (np.cos(theta) + 1)

    state = np.float32([[0, 0, 2.0, 0]])
    start = energy(state[0])
    for _ in range(500):
        state = STEP(state, np.zeros((1, 1), np.float32), KEY).state
        assert energy(state[0]) == pytest.approx(start, rel=1 / 7)


def test_rewards_are_those_of_the_control_suite():
    tolerance = pytest.importorskip("dm_control.utils.rewards").tolerance
    rng = np.random.default_rng(1)
    for state, push in zip(rng.normal(size=(50, 4)) * [1, 1, 2, 5], rng.uniform(-1, 1, 50), strict=True):
        upright = (np.cos(state[2]) + 1) / 2
        centred = (1 + tolerance(state[0], margin=2)) / 2
        gentle = (4 + tolerance(push, margin=1, value_at_margin=0, sigmoid="quadratic")) / 5
        still = (1 + tolerance(state[3], margin=5)) / 2
        assert reward(jnp.array(state), push) == pytest.approx(upright * centred * gentle * still, abs=1e-6)


def test_an_episode_begins_with_a_hanging_pole():
    states, _ = jax.vmap(SWING_UP.reset)(jax.random.split(KEY, 2000))
    np.testing.assert_allclose(states.mean(axis=0), [0, 0, np.pi, 0], atol=2e-3)
    np.testing.assert_allclose(states.std(axis=0), 0.01, rtol=0.1)
