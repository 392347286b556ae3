"""What algorithms for several agents share."""

from typing import Any

import jax
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.nn.custom import CustomNetwork, Network, Signature, check_custom, custom_networks
from tegu.spaces.features import STATE, n_features

OWN = "own"  #: key of what an agent itself observes or does, beside that of all agents
JOINT = "joint"  #: key of the actions of all agents


def act_in_parallel(spec: EnvironmentSpec) -> bool:
    """Whether there are several agents that all act at every step."""
    return bool(spec.agents) and isinstance(spec.action_space, spaces.Dict)


def check_parallel(title: str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless there are several agents that all act at every step."""
    if not act_in_parallel(spec):
        raise TeguError(f"{title} needs a multi-agent environment whose agents act in parallel, {spec.id} is not one")


def critic_view(of_all: Any, agent: str, every: str, *, centralised: bool) -> Any:
    """What an agent's critic sees of what is given by agent: the agent's own part, or if it is ``centralised`` that as
    ``own`` and all of it under the name ``every``. Of a space, or of what is in it."""
    if not centralised:
        return of_all[agent]
    several = spaces.Dict if isinstance(of_all, spaces.Dict) else dict
    return several({OWN: of_all[agent], every: of_all})


def critic_spec(spec: EnvironmentSpec, agent: str, *, centralised: bool) -> EnvironmentSpec:
    """The environment as an agent's critic sees it, whose actions are vectors of ``RelaxedActions``."""
    observations = spaces.Dict({each: spec.observation_space[each] for each in spec.agents})
    actions = spaces.Dict({each: spaces.Box(-1, 1, (n_features(spec.action_space[each]),)) for each in spec.agents})
    seen = critic_view(observations, agent, STATE, centralised=centralised)
    done = critic_view(actions, agent, JOINT, centralised=centralised)
    return EnvironmentSpec(spec.id, seen, done, spec.n_envs)


def check_agent_networks(title: str, network: Network | str, spec: EnvironmentSpec, *, centralised: bool) -> None:
    """Raise ``TeguError`` in one line unless a person's own ``network`` is an actor and a critic for every agent.

    An actor sees its agent's observation. A critic sees what ``critic_spec`` says.
    """
    for agent in spec.agents:
        seen = critic_spec(spec, agent, centralised=centralised)
        actor = Signature((spec.observation_space[agent],), ((n_features(spec.action_space[agent]),),))
        critic = Signature((seen.observation_space, seen.action_space), ((),))
        check_custom(f"{title} for {agent}", network, seen, (actor, critic))


def agent_networks(
    network: Network | str, key: jax.Array, spec: EnvironmentSpec, agent: str, *, centralised: bool
) -> tuple[CustomNetwork, ...]:
    """A fresh actor and a fresh critic of a person's own for an agent."""
    seen = critic_spec(spec, agent, centralised=centralised)
    return custom_networks(network, key, seen, Spaces(spec.observation_space[agent], seen.action_space))
