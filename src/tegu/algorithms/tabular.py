"""What tabular algorithms share: a table of action values, how actions are chosen from it, and how it is changed."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Step
from tegu.spaces.features import require


class QTable(eqx.Module):
    """Action values ``[S, A]``, or several such tables ``[N, S, A]``."""

    values: jax.Array
    spaces: Spaces = eqx.field(static=True)

    def __call__(self, observation: jax.Array) -> jax.Array:
        """The values ``[B, A]`` of observations ``[B]``; of several tables ``[N, B, A]``."""
        return self.values[..., observation - int(self.spaces.observation.start), :]

    def indices(self, batch: Step) -> Step:
        """Steps whose observations and actions are counted from 0, as the table's rows and columns are."""
        first_state, first_action = int(self.spaces.observation.start), int(self.spaces.action.start)
        return batch._replace(
            observation=batch.observation - first_state,
            action=batch.action - first_action,
            next_observation=batch.next_observation - first_state,
        )

    def one_hot(self, observation: jax.Array, index: jax.Array) -> jax.Array:
        """1 at the entry of each observation ``[B]`` and column ``[B]``, else 0, ``[B, S, A]``."""
        states, actions = self.values.shape[-2:]
        state = jax.nn.one_hot(observation - int(self.spaces.observation.start), states)
        return state[:, :, None] * jax.nn.one_hot(index, actions)[:, None, :]

    def action(self, index: jax.Array) -> jax.Array:
        """The environment's actions ``[B]`` for columns ``[B]`` of the table."""
        return index.astype(jnp.int32) + int(self.spaces.action.start)


class TabularLearner(NamedTuple):
    table: QTable


def check_spaces(title: str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless states and actions can be counted."""
    require(title, "observation", spec.observation_space, spaces.Discrete)
    require(title, "action", spec.action_space, spaces.Discrete)


def new_table(spec: EnvironmentSpec, value: float, *leading: int) -> QTable:
    """A table ``[*leading, S, A]`` in which every entry is ``value``."""
    shape = (*leading, int(spec.observation_space.n), int(spec.action_space.n))
    return QTable(jnp.full(shape, value, float), spec.spaces)


def added(table: jax.Array, row: tuple[jax.Array, ...], column: jax.Array, amount: jax.Array) -> jax.Array:
    """``table`` ``[..., A]`` with ``amount`` added to one entry."""
    # one row rewritten in place: a slice update keeps a loop of these one small kernel where a scatter would not
    changed = table[row] + amount * jax.nn.one_hot(column, table.shape[-1], dtype=table.dtype)
    start = (*row, jnp.zeros_like(row[0]))
    return jax.lax.dynamic_update_slice(table, changed.reshape((1,) * len(row) + changed.shape), start)


def table_metrics(algorithm: Any, td_error: jax.Array) -> dict[str, jax.Array]:
    """What every update of a table reports; ``td_error`` is a mean absolute difference of target and value."""
    return {
        "td_error": td_error,
        "exploration_rate": algorithm.exploration_rate,
        "learning_rate": jnp.asarray(algorithm.learning_rate, jnp.float32),
    }
