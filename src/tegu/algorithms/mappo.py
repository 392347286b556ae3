"""PPO for several agents: independent (IPPO, de Witt et al. 2020) and with a central critic (MAPPO, Yu et al. 2022)."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.base import Learner, Metrics
from tegu.algorithms.ppo import PPO, PPOLearner
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, own
from tegu.nn.heads import ActorCritic
from tegu.spaces.features import ACTION_MASK, n_features


class MultiAgentLearner(NamedTuple):
    teams: tuple[PPOLearner, ...]  #: agents who learn one policy; ``network.spec.agents`` says who
    clock: Clock


class IPPO(PPO):
    """PPO for each agent on its own observation and reward. A team of several fills one batch ``[..., N * B, ...]``."""

    name: ClassVar[str] = "ippo"
    several: ClassVar[bool] = True

    share_parameters: bool = eqx.field(static=True, default=False)  #: agents with equal spaces learn one policy
    centralised: bool = eqx.field(static=True, default=False)  #: value functions see what all agents see

    def validate(self, spec: EnvironmentSpec) -> None:
        if not spec.agents or not isinstance(spec.action_space, spaces.Dict):
            raise TeguError(
                f"{type(self).__name__} needs an environment of several agents that act at once, {spec.id} is none"
            )
        for team in self.teams(spec):
            PPO.validate(self, team)

    def teams(self, spec: EnvironmentSpec) -> list[EnvironmentSpec]:
        """What each team knows of the environment; its ``n_envs`` counts every agent of it."""
        found: dict[Any, list[str]] = {}
        for agent in spec.agents:
            alone = spec.alone(agent)
            kind = repr((alone.observation_space, alone.action_space)) if self.share_parameters else agent
            found.setdefault(kind, []).append(agent)
        return [
            EnvironmentSpec(
                spec.id,
                self.view(spec.observation_space, members[0]),
                spec.action_space[members[0]],
                spec.n_envs * len(members),
                tuple(members),
            )
            for members in found.values()
        ]

    def view(self, of_all: Any, agent: str) -> Any:
        """What an agent's networks see, of the space or the observation of all agents.

        With a central critic it is the agent's own observation and that of all; the legal actions stay on top.
        """
        if not self.centralised:
            return of_all[agent]
        several = spaces.Dict if isinstance(of_all, spaces.Dict) else dict
        mine = of_all[agent]
        mask = {ACTION_MASK: mine[ACTION_MASK]} if ACTION_MASK in _names(mine) else {}
        return several({"own": mine, "state": of_all, **mask})

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> Learner:
        teams = self.teams(spec)
        keys = jax.random.split(key, len(teams))
        return MultiAgentLearner(
            tuple(PPO.init(self, k, team) for k, team in zip(keys, teams, strict=True)), Clock.start()
        )

    def network(self, key: jax.Array, spec: EnvironmentSpec) -> ActorCritic:
        space = spec.observation_space
        actor_inputs = n_features(space["own"]) if self.centralised else None  # "own" comes before "state"
        return ActorCritic(key, spec, self.net_arch, self.activation, self.log_std_init, actor_inputs)

    def gathered(self, members: tuple[str, ...], observation: PyTree, axis: int) -> PyTree:
        """The observations of a team's members, one after the other along the axis of environments."""
        return joined([self.view(observation, agent) for agent in members], axis)

    def act(self, learner: Learner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool) -> Decision:
        action, log_prob = {}, {}
        for its, k in zip(learner.teams, jax.random.split(key, len(learner.teams)), strict=True):
            members = its.network.spec.agents
            seen = self.gathered(members, observation, axis=0)
            decision = PPO.act(self, its, seen, (), k, explore=explore)
            for agent, *part in zip(
                members,
                jnp.split(decision.action, len(members)),
                jnp.split(decision.extras, len(members)),
                strict=True,
            ):
                action[agent], log_prob[agent] = part
        return Decision(action, memory, extras=log_prob)

    def update(self, learner: Learner, batch: Step, key: jax.Array) -> tuple[Learner, Metrics]:
        """PPO's update of every team; the figures are means over the teams."""
        teams, metrics = [], []
        for its, k in zip(learner.teams, jax.random.split(key, len(learner.teams)), strict=True):
            members = its.network.spec.agents
            rollout = Step(
                self.gathered(members, batch.observation, axis=1),
                joined([batch.action[agent] for agent in members], axis=1),
                joined([batch.reward[agent] for agent in members], axis=1),
                self.gathered(members, batch.next_observation, axis=1),
                joined([own(batch.terminated, agent) for agent in members], axis=1),
                joined([own(batch.truncated, agent) for agent in members], axis=1),
                joined([batch.extras[agent] for agent in members], axis=1),
            )
            taught, report = PPO.update(self, its._replace(clock=learner.clock), rollout, k)
            teams.append(taught)
            metrics.append(report)
        return learner._replace(teams=tuple(teams)), {
            name: jnp.stack([report[name] for report in metrics if name in report]).mean()
            for name in sorted({name for report in metrics for name in report})
        }


class MAPPO(IPPO):
    """IPPO whose value functions see what all agents see: other defaults, no more."""

    name: ClassVar[str] = "mappo"

    centralised: bool = eqx.field(static=True, default=True)


def joined(trees: list[PyTree], axis: int) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis), *trees)


def _names(observation: Any) -> Any:
    if isinstance(observation, spaces.Dict):
        return observation.spaces  # ``in`` asks a space itself for members, not for names
    return observation if isinstance(observation, dict) else ()
