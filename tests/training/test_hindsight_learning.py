"""Hindsight in both loops: what reaches ``update``, where it is refused, and what is learned by it alone."""

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from metronome import Only

import tegu
from tegu.algorithms.base import Algorithm, named
from tegu.core.step import Decision
from tegu.environments.base import Timestep
from tegu.experience.base import Hindsight, Replay

PAIR = spaces.Box(-np.inf, np.inf, (2,))
SEEN = spaces.Dict(observation=PAIR, achieved_goal=PAIR, desired_goal=PAIR)
ENDS = 0.2  #: probability of each step to end the episode


class Diary(tegu.GoalEnvironment):
    """Achieves a number of the episode's own and the time in it; desires what is never achieved."""

    id: str = eqx.field(static=True, kw_only=True, default="diary")
    observation_space, action_space = SEEN, spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        state = jnp.stack([jax.random.uniform(key), jnp.zeros(())])
        return state, self.seen(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state = state + jnp.array([0.0, 1.0])
        seen = self.seen(state)
        paid = self.compute_reward(seen["achieved_goal"], seen["desired_goal"])
        return Timestep(state, seen, paid, jax.random.bernoulli(key, ENDS))

    def seen(self, state: jax.Array) -> dict[str, jax.Array]:
        return {"observation": state, "achieved_goal": state, "desired_goal": -jnp.ones(2)}

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        return -jnp.abs(achieved_goal - desired_goal).sum()


class HostDiary(gymnasium.Env):
    """The same on the host, in NumPy."""

    observation_space, action_space = SEEN, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.state = np.array([self.np_random.random(), 0], np.float32)
        return self.seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.state = self.state + np.float32([0, 1])
        seen = self.seen()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        return seen, reward, bool(self.np_random.random() < ENDS), False, {}

    def seen(self) -> dict[str, np.ndarray]:
        return {"observation": self.state, "achieved_goal": self.state, "desired_goal": -np.ones(2, np.float32)}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: dict) -> Any:
        return -np.sum(np.abs(achieved_goal - desired_goal), axis=-1)


class Reader(Algorithm):
    """Says how many steps have goals or rewards that they cannot have."""

    name: str = named("reader")

    n_steps: int = eqx.field(static=True, default=1)
    k: int = eqx.field(static=True, default=3)

    @property
    def experience(self) -> Replay:
        return Replay(42, 32, 0, 6, 2, self.n_steps, Hindsight(self.k))

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jnp.zeros(len(observation["observation"]), jnp.int32), memory)

    def update(self, learner, batch, key):
        steps = jax.tree.map(
            lambda leaf: leaf.reshape((self.n_steps, 32, *leaf.shape[2 if self.n_steps > 1 else 1 :])), batch.rows
        )
        goal, achieved = steps.next_observation["desired_goal"], steps.next_observation["achieved_goal"]
        own = (goal == -1).all(axis=-1)
        reached = (goal[..., 0] == achieved[0, :, 0]) & (goal[..., 1] >= achieved[0, :, 1])
        paid = -jnp.abs(achieved - goal).sum(axis=-1)
        right = (own | reached) & (own == own[0]) & jnp.isclose(steps.reward, paid)
        right &= (steps.observation["desired_goal"] == goal).all(axis=-1)
        later = goal[0, :, 1] - achieved[0, :, 1]
        itself = (later == 0).sum() / jnp.maximum((~own[0]).sum(), 1)
        figures = {"wrong": (~right).sum(), "other": (~own).mean(), "itself": itself}
        return learner.reporting({name: value.astype(jnp.float32) for name, value in figures.items()})


@pytest.mark.parametrize(("environment", "n_steps"), [(Diary(), 3), (HostDiary, 1)], ids=["fused", "host"])
def test_goals_are_of_the_same_episode_and_not_of_its_past(environment: Any, n_steps: int) -> None:
    """Before the ring of 42 rows is full and long after, in chunks of any length; three of four rows have another goal
    on average: 0.75 of the 32 x 2 rows of each of 70 rounds, within five standard errors.

    Where an episode goes on with 0.8 from step to step, 0.4 of the rows get the goal that they reached themselves: the
    sum of 0.2 x 0.8^l / (l + 1) over l. It is a little more as the last episodes go on beyond the ring's end.
    """
    found: list[dict[str, float]] = []
    listen = (lambda progress: found.extend(progress.metrics),)
    settings: dict[str, Any] = {"steps": 450, "log_interval": 1, "n_envs": 3, "folder": None}
    tegu.train(environment, Reader(n_steps=n_steps), callbacks=listen, **settings)
    found = [figures for figures in found if "train/wrong" in figures]
    assert len(found) > 60
    assert all(figures["train/wrong"] == 0 for figures in found)
    other = np.mean([figures["train/other"] for figures in found])
    assert abs(other - 0.75) < 5 * np.sqrt(0.75 * 0.25 / (64 * len(found)))
    assert abs(np.mean([figures["train/itself"] for figures in found]) - 0.45) < 0.08


class Undefined(Diary):
    """Observes goals but does not say what they pay."""

    compute_reward = tegu.GoalEnvironment.compute_reward


class Plain(tegu.Environment):
    """Observes goals as ``Diary`` does, and is no ``GoalEnvironment``."""

    id: str = eqx.field(static=True, kw_only=True, default="plain")
    observation_space, action_space = SEEN, spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        return Diary().reset(key)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        return Diary().step(state, action, key)


class Branching(HostDiary):
    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: dict) -> float:
        return 0.0 if np.linalg.norm(achieved_goal - desired_goal) < 1 else -1.0


class Moody(HostDiary):
    """Pays less from call to call."""

    calls = 0

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: dict) -> Any:
        self.calls += 1
        return np.linalg.norm(achieved_goal - desired_goal) - self.calls


class Informed(HostDiary):
    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: dict) -> Any:
        return np.linalg.norm(achieved_goal - desired_goal) - info["cost"]


class Uneven(HostDiary):
    observation_space = spaces.Dict(SEEN.spaces | {"achieved_goal": spaces.Box(-1, 1, (3,))})


needs = (
    r"^DQN: hindsight \(n_sampled_goal\) needs an environment that has compute_reward and observes achieved_goal and "
)


@pytest.mark.parametrize(
    ("environment", "algorithm", "says"),
    [
        (
            "CartPole-v1",
            "dqn",
            needs + r"desired_goal .*tegu\.GoalEnvironment\): CartPole-v1 observes Box",
        ),
        (gymnasium.make("CartPole-v1"), "dqn", needs),
        ("Pendulum-v1", "ddpg", r"^DDPG: hindsight \(n_sampled_goal\) needs .* Pendulum-v1 observes Box"),
        (Plain(), "dqn", needs + r"desired_goal .*: plain observes Dict"),
        (Undefined(), "dqn", r"not sound: .*Undefined must define compute_reward"),
        (Branching, "dqn", r"^compute_reward of the environment cannot be computed by JAX: .* no if, .*use np\.where"),
        (Informed, "dqn", r"^compute_reward of the environment cannot be computed by JAX: KeyError: .*cost"),
        (Moody, "dqn", r"^compute_reward of the environment gives .* with NumPy and .* with JAX for achieved_goal \["),
        (Uneven, "dqn", r"^achieved_goal and desired_goal must have the same shape, got \(3,\) and \(2,\)$"),
    ],
)
def test_where_goals_cannot_be_changed_it_is_said_in_one_line(environment: Any, algorithm: str, says: str) -> None:
    with pytest.raises(tegu.TeguError, match=says) as caught:
        tegu.train(environment, algorithm, steps=100, n_envs=1, n_sampled_goal=4, folder=None)
    assert "\n" not in str(caught.value)


def success(**settings: Any) -> list[float]:
    """The fraction of 100 deterministic episodes of each seed that end with success."""
    agent = tegu.train("BitFlip-v0", "dqn", folder=None, **settings)
    return agent.evaluate(100).measures["is_success/end"].mean(axis=1).tolist()


@pytest.mark.slow
def test_six_bits_are_soon_flipped() -> None:
    """Without hindsight it is one episode of ten."""
    settings: dict[str, Any] = {"steps": 4_000, "net_arch": (64,), "batch_size": 64, "gradient_steps": 8}
    settings |= {"target_update_interval": 100, "learning_starts": 200, "environment_options": {"n_bits": 6}}
    assert success(**settings)[0] >= 0.9


@pytest.mark.long
def test_fifteen_bits_are_flipped_with_hindsight_and_never_without() -> None:
    """The paper's figure 1: a policy that acts at random succeeds in hardly any episode, so that nothing is learned."""
    assert min(success(seeds=3)) >= 0.9
    assert max(success(seeds=3, n_sampled_goal=0)) < 0.1


class Reach(tegu.GoalEnvironment):
    """A point goes to another one on the square [-1, 1]; only who is within 0.04 of it is not charged."""

    id: str = eqx.field(static=True, kw_only=True, default="reach")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=25)
    observation_space = spaces.Dict(dict.fromkeys(SEEN, spaces.Box(-1, 1, (2,))))
    action_space = spaces.Box(-1, 1, (2,))

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        state = jax.random.uniform(key, (2, 2), minval=-1, maxval=1)
        return state, self.seen(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state = state.at[0].set(jnp.clip(state[0] + 0.15 * action, -1, 1))
        return Timestep(state, self.seen(state), self.compute_reward(*state), jnp.zeros((), bool))

    def seen(self, state: jax.Array) -> dict[str, jax.Array]:
        return {"observation": state[0], "achieved_goal": state[0], "desired_goal": state[1]}

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        return -(jnp.linalg.norm(achieved_goal - desired_goal) > 0.04).astype(jnp.float32)

    def measures(self, state: jax.Array) -> dict[str, jax.Array]:
        return {"is_success": self.compute_reward(*state) + 1}


@pytest.mark.long
def test_a_point_is_reached_with_hindsight_and_hardly_ever_without() -> None:
    """By DDPG, whose episodes go on at the goal: nothing terminates."""
    algorithm: dict[str, Any] = {"net_arch": (64, 64), "gamma": 0.95, "tau": 0.05, "batch_size": 128}
    algorithm |= {"learning_starts": 500, "train_freq": 8, "gradient_steps": 4}
    reached = {}
    for k in (4, 0):
        agent = tegu.train(Reach(), tegu.DDPG(n_sampled_goal=k, **algorithm), steps=10_000, seeds=3, folder=None)
        reached[k] = agent.evaluate(100).measures["is_success/end"].mean(axis=1)
    assert reached[4].min() >= 0.9
    assert reached[0].max() < 0.2
