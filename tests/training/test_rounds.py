"""A round of updates: what each of them is given."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Update, named
from tegu.core.schedule import Clock, Linear, Schedule
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, Step
from tegu.experience.base import Replay
from tegu.experience.buffer import ReplayBuffer
from tegu.training.learning import replay, take

ROWS, BATCH, ROUND = 100, 8, 6
SPEC = EnvironmentSpec("test", None, None)


class Notes(NamedTuple):
    """The rows of every update of a round, and as many numbers drawn with its key."""

    rows: jax.Array
    drawn: jax.Array
    updates: jax.Array


class Noting(Algorithm):
    """Learns nothing but what it was given; what it keeps of rewards follows a schedule."""

    name: str = named("noting")
    experience = Replay(ROWS, BATCH, 0, 1, ROUND)
    falling: Schedule = Linear(1.0)

    def init(self, key: jax.Array, spec: Any) -> Notes:
        nothing = jnp.zeros((ROUND, BATCH), jnp.int32)
        return Notes(nothing, nothing, jnp.int32(0))

    def act(self, learner: Any, observation: Any, memory: Any, key: jax.Array, *, explore: bool) -> Decision:
        raise NotImplementedError

    def take(self, learner: Notes, steps: Step) -> tuple[Notes, Step]:
        return learner, steps._replace(reward=self.falling * steps.reward)

    def update(self, learner: Notes, batch: Any, key: jax.Array) -> Update:
        rows = learner.rows.at[learner.updates].set(batch.rows)
        drawn = learner.drawn.at[learner.updates].set(jax.random.randint(key, (BATCH,), 0, ROWS))
        return Update(Notes(rows, drawn, learner.updates + 1), {})


def test_every_update_of_a_round_draws_rows_and_numbers_of_its_own() -> None:
    """Of 100 rows numbered from 0, eight at a time; two equal draws have a probability of 10**-16."""
    algorithm, rows = Noting(), jnp.arange(ROWS, dtype=jnp.int32)
    buffer = ReplayBuffer.empty(rows, algorithm.experience).add(rows, algorithm.experience, 1)
    key, clock = jax.random.key(0), Clock.of(50, 100)
    learner, _, _ = replay(algorithm, algorithm.init(key, None), buffer, key, clock, SPEC)
    assert learner.updates == ROUND
    both = np.concatenate([learner.rows, learner.drawn])
    assert len(np.unique(both, axis=0)) == 2 * ROUND


def test_what_is_stored_of_fresh_steps_follows_the_schedule() -> None:
    """Half-way a share that falls to zero is a half."""
    algorithm, ones = Noting(), jnp.ones((3, 2))
    steps = Step(*[ones] * 6)
    learner = algorithm.init(jax.random.key(0), None)
    buffer = ReplayBuffer.empty(jax.tree.map(jnp.ravel, steps), algorithm.experience)
    _, advanced, block = take(algorithm, learner, buffer, steps, Clock.of(50, 100), 2)
    np.testing.assert_array_equal(block.reward, np.full(6, 0.5, np.float32))
    np.testing.assert_array_equal(block.observation, np.ones(6))
    assert advanced.size == 6
