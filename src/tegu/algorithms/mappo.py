"""PPO for several agents: independent (IPPO, de Witt et al. 2020) and with a central critic (MAPPO, Yu et al. 2022)."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.actor_critic import ActorCriticLearner
from tegu.algorithms.base import Algorithm, Update, named
from tegu.algorithms.multi_agent import OWN, act_in_parallel, check_parallel
from tegu.algorithms.ppo import PPO
from tegu.algorithms.sequences import NONE
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, episode_ended, of_agent
from tegu.experience.base import Rollout
from tegu.spaces.features import ACTION_MASK, STATE

Members = tuple[str, ...]  #: the agents that share a policy


class MultiAgentLearner(NamedTuple):
    policies: dict[Members, ActorCriticLearner]  #: one for each agent, or for the agents that share it


class IPPO(Algorithm):
    """PPO for each agent on its own observation and reward. ``N`` agents that share a policy fill one batch
    ``[..., N * B, ...]``."""

    multi_agent: ClassVar[bool] = True
    name: str = named("ippo")

    ppo: PPO = PPO()  #: with the hyper-parameters of every policy
    share_parameters: bool = eqx.field(static=True, default=False)  #: agents with equal spaces learn one policy
    centralised: bool = eqx.field(static=True, default=False)  #: critics see the state, or all agents' observations

    def __init__(
        self,
        *,
        ppo: PPO | None = None,
        share_parameters: bool = False,
        centralised: bool = False,
        name: str = "ippo",
        **settings: Any,
    ):
        """``settings`` are hyper-parameters of PPO."""
        self.ppo = ppo if ppo is not None else PPO(**settings)
        self.share_parameters, self.centralised, self.name = share_parameters, centralised, name

    @property
    def experience(self) -> Rollout:
        return self.ppo.experience

    @property
    def actor_sees(self) -> str | None:
        """The entry of a ``view`` that actors see; it comes before "state"."""
        return OWN if self.centralised else None

    def validate(self, spec: EnvironmentSpec) -> None:
        check_parallel(self.title, spec)
        if self.ppo.use_sde:
            raise TeguError(f"{self.title}: use_sde must be off")
        for seen in self.policies(spec).values():
            dataclasses.replace(self.ppo, name=self.name).validate(seen, actor_sees=self.actor_sees)

    def policies(self, spec: EnvironmentSpec) -> dict[Members, EnvironmentSpec]:
        """The environment as each policy sees it; its ``n_envs`` counts every agent that shares the policy."""
        found: dict[Any, list[str]] = {}
        for agent in spec.agents:
            alone = spec.of_agent(agent)
            kind = repr((alone.observation_space, alone.action_space)) if self.share_parameters else agent
            found.setdefault(kind, []).append(agent)
        return {
            tuple(members): EnvironmentSpec(
                spec.id,
                self.view(spec.observation_space, members[0]),
                spec.action_space[members[0]],
                spec.n_envs * len(members),
            )
            for members in found.values()
        }

    def samples_per_step(self, spec: EnvironmentSpec) -> int:
        """The greatest number that divides those of all policies, so that batches of each come out even."""
        return math.gcd(*map(len, self.policies(spec))) if act_in_parallel(spec) else 1

    def view(self, of_all: Any, agent: str) -> Any:
        """What an agent's networks see, of the space or the observation of all agents.

        With a central critic it is the agent's own observation and the state, or where there is none the observations
        of all; the legal actions stay on top.
        """
        if not self.centralised:
            return of_all[agent]
        several = spaces.Dict if isinstance(of_all, spaces.Dict) else dict
        own = of_all[agent]
        state = of_all[STATE] if STATE in _names(of_all) else of_all
        mask = {ACTION_MASK: own[ACTION_MASK]} if ACTION_MASK in _names(own) else {}
        return several({OWN: own, STATE: state, **mask})

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MultiAgentLearner:
        specs = self.policies(spec)
        learners = {}
        for (members, seen), k in zip(specs.items(), jax.random.split(key, len(specs)), strict=True):
            learners[members] = self.ppo.init(k, seen, actor_sees=self.actor_sees)
        return MultiAgentLearner(learners)

    def networks(self, learner: MultiAgentLearner) -> Sequence[tuple[str, Any]]:
        return [part for policy in learner.policies.values() for part in self.ppo.networks(policy)]

    def begin(self, learner: MultiAgentLearner, key: jax.Array, n: int) -> PyTree:
        """What each agent remembers, by agent; empty for policies without a memory."""
        if self.ppo.recurrent == NONE:
            return ()
        policies = learner.policies.items()
        return {agent: self.ppo.begin(policy, key, n) for members, policy in policies for agent in members}

    def act(
        self, learner: MultiAgentLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        decided: dict[str, Decision] = {}
        keys = jax.random.split(key, len(learner.policies))
        for (members, policy), k in zip(learner.policies.items(), keys, strict=True):
            seen = self.joined_views(members, observation, axis=0)
            remembered = joined([memory[agent] for agent in members], axis=0) if memory else ()
            decision = self.ppo.act(policy, seen, remembered, k, explore=explore)
            decided |= zip(members, parted(decision, len(members)), strict=True)
        action, after, extras = ({agent: each[part] for agent, each in decided.items()} for part in range(3))
        return Decision(action, after if memory else (), extras)

    def update(self, learner: MultiAgentLearner, batch: Step, key: jax.Array) -> Update:
        """PPO's update of every policy; the metrics are means over the policies."""
        policies, metrics = {}, []
        over = episode_ended(batch.terminated, batch.truncated)  # only then is a memory forgotten
        keys = jax.random.split(key, len(learner.policies))
        for (members, policy), k in zip(learner.policies.items(), keys, strict=True):
            rollout = Step(
                self.joined_views(members, batch.observation, axis=1),
                joined([batch.action[agent] for agent in members], axis=1),
                joined([batch.reward[agent] for agent in members], axis=1),
                self.joined_views(members, batch.next_observation, axis=1),
                joined([of_agent(batch.terminated, agent) for agent in members], axis=1),
                joined([of_agent(batch.truncated, agent) for agent in members], axis=1),
                joined([batch.extras[agent] for agent in members], axis=1),
            )
            forgets = jnp.tile(over, (1, len(members)))
            policies[members], report, _ = self.ppo.update(policy, rollout, k, forgets=forgets)
            metrics.append(report)
        means = {
            name: jnp.stack([report[name] for report in metrics if name in report]).mean()
            for name in sorted({name for report in metrics for name in report})
        }
        return Update(MultiAgentLearner(policies), means)

    def joined_views(self, members: Members, observation: PyTree, axis: int) -> PyTree:
        """What the agents that share a policy see, one after the other along the axis of environments."""
        return joined([self.view(observation, agent) for agent in members], axis)


def joined(trees: list[PyTree], axis: int) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *trees)


def parted(tree: Any, n: int) -> list[Any]:
    """``n`` equal parts of what is ``[n * B, ...]``."""
    return [jax.tree.map(lambda leaf, i=i: leaf.reshape((n, -1, *leaf.shape[1:]))[i], tree) for i in range(n)]


def _names(observation: Any) -> Any:
    if isinstance(observation, spaces.Dict):
        return observation.spaces  # ``in`` asks a space itself for members, not for names
    return observation if isinstance(observation, dict) else ()
