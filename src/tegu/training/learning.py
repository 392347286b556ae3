"""How one iteration of a loop learns: pure functions that both loops compile, for one seed."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Learner, Metrics
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree, Step, flatten_time
from tegu.experience.base import Replay
from tegu.experience.buffer import ReplayBuffer, length_of

SAMPLES = 256  #: steps of which a network is diagnosed
_DIAGNOSIS = 0xD1A6  #: folded into a seed's key, so that drawing them changes nothing of what is drawn for learning


class Iteration:
    """An iteration in numbers: every environment takes ``n_steps``, then the algorithm learns."""

    def __init__(self, algorithm: Algorithm, n_envs: int):
        self.experience: Any = algorithm.experience
        self.n_envs = n_envs
        self.n_steps = self.experience.steps_per_env(n_envs)
        self.steps = self.n_steps * n_envs  #: over all environments
        self.replays = isinstance(self.experience, Replay)
        self.diagnoses = type(algorithm).diagnose is not Algorithm.diagnose  #: whether there is something to compile

    def warm_up(self, steps: int, stored: int) -> int:
        """How many iterations go by before one learns, after ``steps``, with ``stored`` rows in the replay buffer.

        An iteration learns from what was stored before it.
        """
        if not self.replays:
            return 0
        by_steps = max(self.experience.learning_starts - steps, 0) // self.steps
        by_rows = -(-(self.experience.window(self.n_envs) - stored) // self.steps)
        return max(by_steps, by_rows, 0)


def replay(
    algorithm: Algorithm, learner: Learner, buffer: ReplayBuffer, key: jax.Array, clock: Clock, spec: EnvironmentSpec
) -> tuple[Learner, ReplayBuffer, Metrics]:
    """A round of updates, each on rows drawn anew; metrics are means over the round."""
    algorithm = algorithm.at(clock)
    experience: Any = algorithm.experience
    # rows that no update changes stay out of what the scan carries, which might be copied at every update
    apart, stored = not revises_rows(algorithm, learner, buffer, spec), (buffer.rows, buffer.frames)

    def update(carry: tuple[Learner, ReplayBuffer], key: jax.Array) -> tuple[tuple[Learner, ReplayBuffer], Metrics]:
        learner, buffer = carry
        whole = buffer._replace(rows=stored[0], frames=stored[1]) if apart else buffer
        draw_key, update_key = jax.random.split(key)
        drawn = whole.draw(draw_key, experience, spec.n_envs, spec.goals)
        learner, metrics, feedback = algorithm.update(learner, drawn.batch, update_key)
        metrics = {**metrics, "replay_age": whole.age(drawn.indices).mean()}
        revised = whole.revise(drawn.indices, feedback, experience)
        return (learner, revised._replace(rows=(), frames=()) if apart else revised), metrics

    keys = jax.random.split(key, experience.updates(spec.n_envs))
    carried = buffer._replace(rows=(), frames=()) if apart else buffer
    (learner, carried), metrics = jax.lax.scan(update, (learner, carried), keys)
    buffer = carried._replace(rows=stored[0], frames=stored[1]) if apart else carried
    return learner, buffer, {name: value.mean() for name, value in metrics.items()}


def diagnose(
    algorithm: Algorithm,
    learner: Learner,
    buffer: Any,
    steps: Any,
    key: jax.Array,
    clock: Clock,
    spec: EnvironmentSpec,
) -> Metrics:
    """What the algorithm finds in ``SAMPLES`` steps, drawn as for an update, or out of a rollout's ``steps``."""
    algorithm, key = algorithm.at(clock), jax.random.fold_in(key, _DIAGNOSIS)
    experience = algorithm.experience
    if isinstance(experience, Replay):
        single = replace(experience, batch_size=SAMPLES, n_steps=1)
        return algorithm.diagnose(learner, buffer.draw(key, single, spec.n_envs, spec.goals).batch.rows)
    rows = flatten_time(steps)
    index = jax.random.randint(key, (SAMPLES,), 0, length_of(rows))
    return algorithm.diagnose(learner, jax.tree.map(lambda leaf: leaf[index], rows))


def take(
    algorithm: Algorithm, learner: Learner, buffer: ReplayBuffer, steps: Step, clock: Clock, n_envs: int
) -> tuple[Learner, ReplayBuffer, PyTree]:
    """What fresh ``steps`` ``[T, B, ...]`` teach at once, and the block of rows that is kept of them.

    The buffer has advanced by the block, which is still to be written.
    """
    learner, rows = algorithm.at(clock).take(learner, steps)
    experience = algorithm.experience
    assert isinstance(experience, Replay)
    block = buffer.block(flatten_time(rows), experience, n_envs)
    return learner, buffer.advance(block, experience, n_envs), block


def cut_episodes(buffer: Any, where: jax.Array) -> Any:
    """End the record of the running episodes ``where`` ``[B]``, so that no window of steps runs on into the next."""
    if not buffer or not isinstance(buffer.steps, Step):
        return buffer
    n_envs = where.shape[0]
    last = (buffer.position - n_envs + jnp.arange(n_envs)) % buffer.capacity

    def cut(flag: jax.Array) -> jax.Array:
        return flag.at[last].set(flag[last] | (where & (buffer.size > 0)))

    return buffer.with_steps(buffer.steps._replace(truncated=jax.tree.map(cut, buffer.steps.truncated)))


def empty_buffer(algorithm: Algorithm, learner: Learner, steps: Step, spec: EnvironmentSpec) -> Any:
    """The replay buffer before the first step, or () for on-policy algorithms; ``steps`` gives the shapes."""
    experience = algorithm.experience
    if not isinstance(experience, Replay):
        return ()
    return ReplayBuffer.empty(rows_of(algorithm, learner, steps), experience, spec.n_envs, spec.observation_space)


def revises_rows(algorithm: Algorithm, learner: Learner, buffer: ReplayBuffer, spec: EnvironmentSpec) -> bool:
    """Whether updates change the contents of rows that were stored."""
    algorithm = algorithm.at(Clock.of(0, 1))
    experience: Any = algorithm.experience

    def feedback(learner: Learner, buffer: ReplayBuffer, key: jax.Array) -> PyTree:
        drawn = buffer.draw(key, experience, spec.n_envs, spec.goals)
        return algorithm.update(learner, drawn.batch, key).feedback.rows

    return bool(jax.tree.leaves(jax.eval_shape(feedback, learner, buffer, jax.random.key(0))))


def rows_of(algorithm: Algorithm, learner: Learner, steps: Step) -> PyTree:
    """The shapes of the rows ``[n, ...]`` that are kept of an iteration's steps, of which the shapes are enough."""
    return jax.eval_shape(lambda learner, steps: flatten_time(algorithm.take(learner, steps)[1]), learner, steps)
