"""Checks of JAX environments with several agents: does everything come by agent, and are the measures numbers?"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.check.findings import Facts, Findings, Halt
from tegu.check.spaces import check_mask, check_mask_space, describe, describe_each, form
from tegu.core.step import PyTree
from tegu.environments.base import Environment
from tegu.environments.games.base import Game
from tegu.spaces.features import ACTION_MASK, STATE, action_mask


def act_at_once(environment: Environment) -> bool:
    """Whether there are several agents who all act in every step, unlike the players of a board game."""
    return bool(environment.agents) and not isinstance(environment, Game)


def check_agents(
    environment: Environment, observation: spaces.Space, action: spaces.Space, findings: Findings
) -> Facts:
    """Names and spaces of the agents. Halts where actions could not be drawn by agent."""
    agents = environment.agents
    named = isinstance(agents, tuple) and all(isinstance(agent, str) for agent in agents)
    if not named or len(set(agents)) < len(agents):
        problem = "names an agent twice" if named else "is not a tuple of names"
        findings.error("agents", problem, '("adversary_0", "agent_0")', repr(agents))
        raise Halt
    if not act_at_once(environment):
        return {"players": ", ".join(agents)} if agents else {}
    fits = [
        _check_space(findings, name, space, agents)
        for name, space in (("observation_space", observation), ("action_space", action))
    ]
    if not all(fits):
        raise Halt
    assert isinstance(observation, spaces.Dict)
    assert isinstance(action, spaces.Dict)
    for agent in agents:
        check_mask_space(findings, f'observation_space["{agent}"]', observation[agent], action[agent])
    return {
        "agents": ", ".join(agents),
        "observation_space": describe_each(observation.spaces),
        "action_space": describe_each(action.spaces),
    }


def check_rewards(reward: PyTree, agents: tuple[str, ...], findings: Findings) -> bool:
    """Whether rewards come by agent, or as one where there are no agents; what they are is looked at elsewhere."""
    if not agents:
        if isinstance(reward, Mapping):
            hint = "name the agents in the property agents, if there are several"
            findings.error("step() -> reward", "is a dict, but agents names nobody", "float32[]", _keys(reward), hint)
        return not isinstance(reward, Mapping)
    if not isinstance(reward, Mapping):
        expected = f"a dict with the keys {', '.join(map(repr, agents))}"
        findings.error("step() -> reward", "is not given by agent", expected, form(reward))
        return False
    return _check_keys(findings, "step() -> reward", list(reward), agents)


def check_measures(environment: Environment, state: PyTree, findings: Findings) -> bool:
    """Whether ``measures`` and ``episode_measures`` give scalars, and the same ones every time they are asked.

    ``state`` as shapes will do.
    """
    steps, episodes = (_measures(environment, name, state, findings) for name in ("measures", "episode_measures"))
    if steps is None or episodes is None:
        return False
    if both := sorted(set(steps) & set(episodes)):
        findings.error("episode_measures()", "has names of measures()", "other names", ", ".join(map(repr, both)))
    told = [f"{name}/{part}" for name in steps for part in ("mean", "end")] + [f"{name}/end" for name in episodes]
    for name, (measure, _) in environment.milestones.items():
        if measure not in told:
            expected = f"one of {', '.join(told)}" if told else "a measure, of which there is none"
            findings.error(f'milestones -> "{name}"', "goes by no measure", expected, repr(measure))
    return not both


def _measures(environment: Environment, name: str, state: PyTree, findings: Findings) -> dict[str, Any] | None:
    """The shapes of what the method ``name`` measures; None if it is not such as it must be."""
    where = f"{name}()"
    with findings.calling(where):
        found, again = (jax.eval_shape(getattr(environment, name), state) for _ in range(2))
    if not isinstance(found, dict):
        findings.error(where, "is not a dict", "float32 scalars by name", form(found))
        return None
    if list(found) != list(again):
        hint = "a compiled loop sums them: their names never change"
        findings.error(where, "changes its names", _keys(found), _keys(again), hint)
        return None
    wrong = {name: value for name, value in found.items() if form(value) != f"{np.dtype(np.float32)}[]"}
    for key, value in wrong.items():
        hint = "jnp.float32(value); a mean or a sum for several"
        findings.error(f'{where} -> "{key}"', "is not the scalar it should be", "float32[]", form(value), hint)
    return None if wrong else found


def masks(environment: Environment, observation: PyTree) -> PyTree:
    """The legal actions, by agent where several act; None where all are legal."""
    space = environment.observation_space
    if act_at_once(environment) and isinstance(space, spaces.Dict):
        return {agent: action_mask(space[agent], observation[agent]) for agent in environment.agents}
    return action_mask(space, observation)


def legal(space: spaces.Space, mask: PyTree, action: PyTree, keys: jax.Array) -> PyTree:
    """Actions ``[N, ...]``, drawn anew among the legal ones where a mask says which these are."""
    if isinstance(mask, dict) and isinstance(space, spaces.Dict):
        return {agent: legal(space[agent], mask[agent], action[agent], keys) for agent in mask}
    if mask is None or not isinstance(space, spaces.Discrete):
        return action
    return int(space.start) + jax.vmap(jax.random.categorical)(keys, jnp.where(mask, 0.0, -jnp.inf))


def check_masks(findings: Findings, space: spaces.Space, observation: PyTree, where: str) -> None:
    """Report masks ``[..., n]`` of the observation, or of an agent's, that leave no legal action."""
    if not isinstance(space, spaces.Dict):
        return
    if ACTION_MASK in space.spaces:
        check_mask(findings, observation[ACTION_MASK], where)
    for name, part in space.items():
        check_masks(findings, part, observation[name], f'{where}["{name}"]')


def _check_space(findings: Findings, name: str, space: spaces.Space, agents: tuple[str, ...]) -> bool:
    if isinstance(space, spaces.Dict):
        beside = (STATE,) if name == "observation_space" else ()
        return _check_keys(findings, name, [key for key in space if key not in beside], agents)
    expected = f"a Dict with the keys {', '.join(map(repr, agents))}"
    findings.error(name, "is not given by agent", expected, describe(space), "or let agents be empty, if there is one")
    return False


def _check_keys(findings: Findings, where: str, keys: list[Any], agents: tuple[str, ...]) -> bool:
    """Whether the keys are the agents."""
    for agent in (agent for agent in agents if agent not in keys):
        hint = f"give {agent!r} an entry, or take it out of agents"
        findings.error(f'{where}["{agent}"]', "is missing", "an entry for every agent", _keys(keys), hint)
    for key in (key for key in keys if key not in agents):
        findings.error(f'{where}["{key}"]', "belongs to nobody in agents", f"one of {', '.join(agents)}", repr(key))
    return set(keys) == set(agents)


def _keys(names: Any) -> str:
    return f"only {', '.join(map(str, names))}" if names else "nothing"
