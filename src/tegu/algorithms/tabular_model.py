"""A model of a finite environment, counted from the steps that were seen (Moore & Atkeson 1993, section 3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

_MOST_OUTCOMES = 50_000_000  #: numbers in the table of outcomes: 200 MB


class TabularModel(NamedTuple):
    """How often what came of an action; the maximum-likelihood estimate of the environment.

    The last outcome is the end of the episode, in whatever state that came. No action has been tried at the start.
    """

    outcomes: jax.Array  #: ``[S, A, S + 1]`` float32: how often each next state came, and the end
    rewards: jax.Array  #: ``[S, A]``: their sum
    visits: jax.Array  #: ``[S, A]`` float32: how often the action was taken


def check_model(title: str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` where a model of the environment would be too large."""
    states, actions = int(spec.observation_space.n), int(spec.action_space.n)
    if states * actions * (states + 1) > _MOST_OUTCOMES:
        raise TeguError(
            f"{title}: its model counts the outcomes of every action, at most {_MOST_OUTCOMES:,} numbers; "
            f"{states:,} states and {actions:,} actions need {states * actions * (states + 1):,}"
        )


def empty_model(states: int, actions: int) -> TabularModel:
    """A model that has seen nothing."""
    pairs = jnp.zeros((states, actions))
    return TabularModel(jnp.zeros((states, actions, states + 1)), pairs, pairs)


def seen(model: TabularModel, step: Step) -> TabularModel:
    """The model after one more step, whose states and actions are counted from 0."""
    end = model.outcomes.shape[-1] - 1
    outcome = jnp.where(step.terminated, end, step.next_observation)
    return TabularModel(
        model.outcomes.at[step.observation, step.action, outcome].add(1.0),
        model.rewards.at[step.observation, step.action].add(step.reward),
        model.visits.at[step.observation, step.action].add(1.0),
    )


def state_values(values: jax.Array) -> jax.Array:
    """What each outcome is worth, ``[S + 1]``, by action values ``[S, A]``: the end nothing."""
    return jnp.append(values.max(axis=-1), 0.0)


def backup(
    model: TabularModel, values: jax.Array, state: jax.Array, action: jax.Array, gamma: float | jax.Array
) -> jax.Array:
    """The mean reward of an action plus the discounted mean value of its outcomes, as far as they were seen (Sutton &
    Barto 2018, equation 8.1, right-hand side of the expected update). NaN for an action never taken."""
    future = model.outcomes[state, action] @ state_values(values)
    return (model.rewards[state, action] + gamma * future) / model.visits[state, action]


def sweep(model: TabularModel, values: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """Action values ``[S, A]`` after one expected update of all actions that were ever taken, at once: a step of value
    iteration (Sutton & Barto 2018, equation 4.10)."""
    future = model.outcomes @ state_values(values)
    updated = (model.rewards + gamma * future) / jnp.maximum(model.visits, 1.0)
    return jnp.where(model.visits > 0, updated, values)
