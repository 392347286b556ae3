"""Rewards and ends as functions of what is observed, against the environments of Gymnasium themselves."""

from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.algorithms.learned_dynamics import GivenReward
from tegu.environments.adapters.rewards import reward_of
from tegu.environments.classic.pendulum import Pendulum, PendulumReward
from tegu.environments.make import find
from tegu.training.plan import make_plan, spec_at

WITH_X = {"exclude_current_positions_from_observation": False}
HEALTH = {"healthy_reward": 0.7, "healthy_z_range": (0.9, 1.6)}
TASKS: list[tuple[str, dict[str, Any]]] = [
    ("Pendulum-v1", {}),
    ("InvertedPendulum-v5", {}),
    ("Reacher-v5", {}),
    ("Reacher-v5", {"reward_dist_weight": 2.0, "reward_control_weight": 0.3}),
    ("Pusher-v5", {}),
    ("Pusher-v5", {"reward_near_weight": 0.2, "reward_dist_weight": 3.0, "reward_control_weight": 0.4}),
    ("HalfCheetah-v5", WITH_X),
    ("HalfCheetah-v5", WITH_X | {"forward_reward_weight": 2.0, "ctrl_cost_weight": 0.5, "frame_skip": 3}),
    ("Swimmer-v5", WITH_X),
    ("Hopper-v5", WITH_X),
    ("Hopper-v5", WITH_X | HEALTH | {"terminate_when_unhealthy": False}),
    ("Walker2d-v5", WITH_X),
    ("Walker2d-v5", WITH_X | HEALTH | {"healthy_angle_range": (-0.3, 0.4)}),
]
ENDS = {"InvertedPendulum-v5", "Hopper-v5", "Walker2d-v5"}


def walked(environment: gymnasium.Env, n_steps: int = 400) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Observations, actions and next observations in float32, and what came: rewards and ends."""
    space: Any = environment.action_space
    space.seed(1)
    rows, (observation, _) = [], environment.reset(seed=2)
    for number in range(n_steps):
        action = space.sample()
        following, reward, terminated, truncated, _ = environment.step(action)
        rows.append((observation, action, following, reward, terminated))
        observation = environment.reset(seed=number)[0] if terminated or truncated else following
    *seen, rewards, ends = map(np.array, zip(*rows, strict=True))
    return [np.float32(each) for each in seen], rewards, ends


@pytest.mark.parametrize(("name", "options"), TASKS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(TASKS)])
def test_rewards_and_ends_are_the_environments(name: str, options: dict[str, Any]) -> None:
    if name != "Pendulum-v1":
        pytest.importorskip("mujoco")
    environment = gymnasium.make(name, **options)
    seen, rewards, ends = walked(environment)
    ours, ours_end = jax.jit(reward_of(environment))(*map(jnp.asarray, seen))
    # Positions in float32 are exact to 1e-7 of their size, and a velocity is their difference by dt, 0.008 s or more
    np.testing.assert_allclose(ours, rewards, rtol=1e-5, atol=2e-4)
    np.testing.assert_array_equal(ours_end, ends)
    assert ours_end.dtype == bool
    assert (ends.any() and not ends.all()) == (name in ENDS and options.get("terminate_when_unhealthy", True))
    assert np.std(rewards) > 0.01


def test_what_does_not_follow_from_observations_is_not_known() -> None:
    """Where x is not observed, its velocity at both ends of a step does not tell the way between them."""
    pytest.importorskip("mujoco")
    for name in ("HalfCheetah-v5", "Swimmer-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"):
        assert reward_of(gymnasium.make(name)) is None
    assert reward_of(gymnasium.make("MountainCarContinuous-v0")) is None
    scaled = gymnasium.wrappers.TransformReward(gymnasium.make("Pendulum-v1"), lambda reward: 2 * reward)
    assert reward_of(scaled) is None
    with pytest.raises(tegu.TeguError, match=r"^PETS: reward='given' needs .* Hopper-v5 is none; .* need exclude_curr"):
        tegu.train("Hopper-v5", tegu.PETS(reward="given"), steps=10, folder=None)


def test_velocities_do_not_tell_the_way_of_a_cheetah() -> None:
    """The mean of those at both ends of a step, which are observed without x, is far from what is paid."""
    pytest.importorskip("mujoco")
    (before, action, after), rewards, _ = walked(gymnasium.make("HalfCheetah-v5"))
    paid = rewards + 0.1 * (action**2).sum(axis=1)
    error = (before[:, 8] + after[:, 8]) / 2 - paid
    assert np.sqrt((error**2).mean()) > 0.2 * paid.std()


def test_the_pendulum_in_jax_pays_the_same() -> None:
    ours, theirs = tegu.make("Pendulum-v1").reward_function, reward_of(gymnasium.make("Pendulum-v1"))
    assert ours == theirs
    assert hash(ours) == hash(theirs), "a program is compiled anew"


@pytest.mark.slow
@pytest.mark.parametrize("made", [tegu.PETS, tegu.MBPO], ids=["pets", "mbpo"])
@pytest.mark.parametrize("name", ["Pendulum-v1", "InvertedPendulum-v5"])
def test_models_imagine_what_is_given(made: Any, name: str) -> None:
    """And the observations that they would have imagined anyway."""
    if name != "Pendulum-v1":
        pytest.importorskip("mujoco")
    learned, given = (made(net_arch=(4,), ensemble_size=2, reward=reward) for reward in ("learned", "given"))
    plan = make_plan(name, given, steps=10)
    spec = spec_at(plan.source, 1)
    observation = jnp.asarray(np.random.default_rng(0).normal(size=(200, *spec.observation_space.shape)) / 6, float)
    actions = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (3, 200, *spec.action_space.shape)), float)

    def imagined(algorithm: Any) -> Any:
        learner = algorithm.init(jax.random.key(0), spec)
        outputs = learner.dynamics.outputs
        dynamics = learner.dynamics._replace(outputs=outputs._replace(variance=100 * outputs.variance))  # large steps
        return algorithm.imagine(learner._replace(dynamics=dynamics), observation, actions, jax.random.key(1))

    found, other = map(imagined, (given, learned))
    np.testing.assert_array_equal(found.observation, other.observation)
    before = jnp.concatenate([jnp.broadcast_to(observation, (2, 1, *observation.shape)), found.observation[:, :-1]], 1)
    for network in range(2):
        ended = np.zeros(200, bool)
        for t in range(3):
            if name == "Pendulum-v1":
                angle = np.arctan2(before[network, t, :, 1], before[network, t, :, 0])
                reward = -(angle**2 + 0.1 * before[network, t, :, 2] ** 2 + 0.001 * actions[t, :, 0] ** 2)
            else:
                fell = np.abs(found.observation[network, t, :, 1]) > 0.2
                assert (fell != (np.abs(before[network, t, :, 1]) > 0.2)).any(), "a fall is not told from one before"
                reward, ended = 1.0 - fell, ended | fell
            np.testing.assert_allclose(found.reward[network, t], reward, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(found.terminated[network, t], ended)
    assert not np.allclose(found.reward, other.reward)


def test_wrong_values_are_named() -> None:
    for made in (tegu.PETS, tegu.MBPO):
        with pytest.raises(tegu.TeguError, match="reward must be one of learned, given, got 'known'"):
            tegu.train("Pendulum-v1", made(reward="known"), steps=10, folder=None)


def test_options_reach_the_function() -> None:
    pytest.importorskip("mujoco")
    source = find("Reacher-v5", options={"reward_dist_weight": 5.0})
    assert spec_at(source, 1).reward.distance_weight == 5.0


PLANNER: dict[str, Any] = {
    **{"reward": "given", "learning_starts": 4, "batch_size": 4, "buffer_size": 100, "net_arch": (8,), "train_freq": 8},
    **{"n_candidates": 8, "n_elite": 2, "horizon": 3, "ensemble_size": 2, "n_particles": 2},
}
OBSERVATION = np.array([1.0, 0.0, 0.5], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "gymnasium"])
def test_a_loaded_planner_knows_its_rewards(backend: str, tmp_path: Path) -> None:
    agent = tegu.train("Pendulum-v1", tegu.PETS(**PLANNER), steps=12, backend=backend, folder=tmp_path / "runs")
    agent.save(tmp_path / "agent")
    loaded = tegu.load(tmp_path / "agent")
    np.testing.assert_array_equal(loaded.predict(OBSERVATION)[0], agent.predict(OBSERVATION)[0])


def test_without_its_environment_a_loaded_model_says_what_it_needs() -> None:
    with pytest.raises(tegu.TeguError, match=r"^the model's rewards are those of its environment: load the agent with"):
        GivenReward(None)(OBSERVATION, np.zeros(1), OBSERVATION)


def test_a_class_of_its_own_may_pay_otherwise() -> None:
    class Own(Pendulum):
        pass

    assert Pendulum().reward_function == PendulumReward(2.0)
    assert Own().reward_function is None
