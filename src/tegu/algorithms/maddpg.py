"""Multi-agent deterministic policy gradients: MADDPG (Lowe et al. 2017), MATD3 (Ackermann et al. 2019), and DDPG for
each agent on its own."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Update, check_replay, learning_metrics, named, network_field, replay
from tegu.algorithms.diagnostics import value_metrics
from tegu.algorithms.multi_agent import JOINT, agent_networks, check_agent_networks, check_parallel, critic_view
from tegu.algorithms.ranges import Count, Few, Fraction, Natural, NonNegative, Positive, PositiveFraction, Rate
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, of_agent
from tegu.experience.base import Batch, Replay
from tegu.exploration import masked
from tegu.nn.mlp import MLP, check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.nn.relaxed_policy import RelaxedPolicy
from tegu.returns import td_target
from tegu.spaces.features import STATE, action_mask, features, n_features, require
from tegu.spaces.relaxed import RELAXATIONS, RelaxedActions

Network = Any  #: an ``MLP``, or a person's own ``CustomNetwork``
Observed = dict[str, PyTree]  #: by agent: features ``[B, n]``, or the observation where a person's own network sees it
Vectors = dict[str, jax.Array]  #: by agent ``[B, n]``: actions as the critics see them


class InferredPolicy(NamedTuple):
    """What one agent believes of another's policy."""

    actor: RelaxedPolicy
    target: RelaxedPolicy
    optimizer: optax.OptState


class AgentLearner(NamedTuple):
    """What one agent has learned."""

    actor: RelaxedPolicy
    critics: tuple[Network, ...]  #: one, or two of which the lower counts
    target_actor: RelaxedPolicy
    target_critics: tuple[Network, ...]
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    inferred: dict[str, InferredPolicy]  #: the others' policies; empty unless they are inferred


class MADDPGLearner(NamedTuple):
    agents: dict[str, AgentLearner]
    updates: jax.Array  #: int32: gradient steps so far


class MADDPG(Algorithm):
    """Each agent's actor sees its own observation, its critic those and the actions of all (algorithm 1 of the paper).

    Choices among actions are relaxed, see ``RelaxedActions``.
    """

    multi_agent: ClassVar[bool] = True
    name: str = named("maddpg")

    learning_rate: Rate = 0.01  #: Adam's learning rate for actors and critics, a number or a schedule
    buffer_size: Count = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=25_600)  #: steps before learning begins
    batch_size: Count = eqx.field(static=True, default=1024)  #: steps per update
    tau: PositiveFraction = 0.01  #: how far the targets follow at each update
    gamma: Fraction = 0.95  #: discount factor
    train_freq: Count = eqx.field(static=True, default=100)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    max_grad_norm: Positive = 0.5  #: each gradient's norm is clipped to this
    logit_penalty: NonNegative = 1e-3  #: weight of the squared outputs of the actors in their loss
    centralised: bool = eqx.field(static=True, default=True)  #: critics see all agents; off: only their own agent
    twin: bool = eqx.field(static=True, default=False)  #: two critics, the target uses the lower value (TD3)
    policy_delay: Count = eqx.field(static=True, default=1)  #: critic updates per update of actors and targets (TD3)
    target_noise: NonNegative = 0.0  #: noise of the targets' Box actions, in half ranges, clipped at 2.5 times this
    action_noise: NonNegative = 0.1  #: standard deviation of exploration noise of Box actions; 1 is half their range
    relax: str = eqx.field(static=True, default="soft")  #: soft, or straight_through: one-hot with the soft gradient
    word_after: Count = eqx.field(static=True, default=5)  #: a relaxed action that is longer is a move and then a word
    ensemble: Few = eqx.field(static=True, default=1)  #: policies per agent, one is sampled for every episode
    infer_policies: bool = eqx.field(static=True, default=False)  #: targets use learned models of the other policies
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of actors and critics each
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu, silu or mish
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    @property
    def experience(self) -> Replay:
        return replay(self)

    def validate(self, spec: EnvironmentSpec) -> None:
        title = self.title
        check_network(self.activation, self.net_arch)
        check_parallel(title, spec)
        check_replay(self)
        if self.relax not in RELAXATIONS:
            raise TeguError(f"{title}: relax must be one of {', '.join(RELAXATIONS)}, got {self.relax!r}")
        for agent in spec.agents:
            alone = spec.of_agent(agent)
            require(f"{title} for {agent}", "action", alone.action_space, spaces.Box, spaces.Discrete)
            require(f"{title} for {agent}", "observation", alone.observation_space, spaces.Space)
        if self.network is not None:
            check_agent_networks(title, self.network, spec, centralised=self.centralised)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MADDPGLearner:
        keys = dict(zip(spec.agents, jax.random.split(key, len(spec.agents)), strict=True))
        agents = {agent: self.init_agent(keys[agent], spec, agent) for agent in spec.agents}
        return MADDPGLearner(agents, jnp.zeros((), jnp.int32))

    def init_agent(self, key: jax.Array, spec: EnvironmentSpec, agent: str) -> AgentLearner:
        actor_key, critic_key, inferred_key = jax.random.split(key, 3)
        actor = self.actor(actor_key, spec, agent, self.ensemble)
        critic_keys = jax.random.split(critic_key, 2 if self.twin else 1)
        critics = tuple(self.critic_network(k, spec, agent) for k in critic_keys)
        others = [other for other in spec.agents if other != agent] if self.infer_policies else []
        inferred = {}
        for other, k in zip(others, jax.random.split(inferred_key, max(len(others), 1)), strict=False):
            policy = self.actor(k, spec, other, 1)
            inferred[other] = InferredPolicy(policy, policy, self.optimizer().init(policy))
        return AgentLearner(
            actor=actor,
            critics=critics,
            target_actor=actor,
            target_critics=critics,
            actor_optimizer=self.optimizer().init(actor),
            critic_optimizer=self.optimizer().init(critics),
            inferred=inferred,
        )

    def actor(self, key: jax.Array, spec: EnvironmentSpec, agent: str, members: int) -> RelaxedPolicy:
        """A fresh policy of an agent."""
        networks = tuple(self.actor_network(k, spec, agent) for k in jax.random.split(key, members))
        actions = RelaxedActions(spec.action_space[agent], self.relax, self.word_after)
        return RelaxedPolicy(networks, spec.of_agent(agent).spaces, actions)

    def actor_network(self, key: jax.Array, spec: EnvironmentSpec, agent: str) -> Network:
        if self.network is not None:
            return agent_networks(self.network, key, spec, agent, centralised=self.centralised)[0]
        inputs, outputs = n_features(spec.observation_space[agent]), n_features(spec.action_space[agent])
        return MLP(key, (inputs, *self.net_arch, outputs), self.activation)

    def critic_network(self, key: jax.Array, spec: EnvironmentSpec, agent: str) -> Network:
        if self.network is not None:
            return agent_networks(self.network, key, spec, agent, centralised=self.centralised)[1]
        seen = sorted(spec.agents) if self.centralised else [agent]
        inputs = sum(n_features(spec.observation_space[a]) + n_features(spec.action_space[a]) for a in seen)
        return MLP(key, (inputs, *self.net_arch, 1), self.activation)

    def networks(self, learner: MADDPGLearner) -> Sequence[tuple[str, Any]]:
        actors = [("actor", network) for agent in learner.agents.values() for network in agent.actor.members]
        return actors + [("critic", network) for agent in learner.agents.values() for network in agent.critics]

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def inputs(self, actor: RelaxedPolicy, observation: PyTree) -> PyTree:
        """An agent's features ``[B, n]``; a person's own networks see the observation as it is."""
        return features(actor.spaces.observation, observation) if self.network is None else observation

    def begin(self, learner: MADDPGLearner, key: jax.Array, n: int) -> PyTree:
        """Which policy of its ensemble each agent plays, int32 ``[n]``; empty if there is no choice."""
        if self.ensemble == 1:
            return ()
        keys = jax.random.split(key, len(learner.agents))
        return {
            agent: jax.random.randint(k, (n,), 0, self.ensemble) for agent, k in zip(learner.agents, keys, strict=True)
        }

    def act(
        self, learner: MADDPGLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        keys = dict(zip(learner.agents, jax.random.split(key, len(learner.agents)), strict=True))
        action = {}
        for agent, part in learner.agents.items():
            actor, seen = part.actor, observation[agent]
            out = actor(self.inputs(actor, seen), memory[agent] if memory else None)
            legal = action_mask(actor.spaces.observation, seen)
            chosen = actor.actions.choose(masked(out, legal), keys[agent] if explore else None, self.action_noise)
            action[agent] = actor.actions.to_action(chosen)
        return Decision(action, memory, extras=memory)

    def update(self, learner: MADDPGLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step for every agent, all on the same ``batch_size`` random steps ``[batch_size, ...]``."""
        steps = batch.rows
        actors = {agent: part.actor for agent, part in learner.agents.items()}
        x, next_x = (
            {agent: self.inputs(actor, seen[agent]) for agent, actor in actors.items()}
            for seen in (steps.observation, steps.next_observation)
        )
        legal, next_legal = (
            {agent: action_mask(actor.spaces.observation, seen[agent]) for agent, actor in actors.items()}
            for seen in (steps.observation, steps.next_observation)
        )
        actions = {agent: actor.actions.from_action(steps.action[agent]) for agent, actor in actors.items()}
        members = {agent: steps.extras[agent] if steps.extras else None for agent in actors}

        target_key, *keys = jax.random.split(key, 1 + len(actors))
        target_keys = dict(zip(actors, jax.random.split(target_key, len(actors)), strict=True))
        next_actions = {}
        for agent, part in learner.agents.items():
            out = masked(part.target_actor(next_x[agent], members[agent]), next_legal[agent])
            next_actions[agent] = part.target_actor.actions.choose(out, target_keys[agent], self.target_noise)

        update_actors = (learner.updates + 1) % self.policy_delay == 0
        agents: dict[str, AgentLearner] = {}
        metrics: dict[str, jax.Array] = {}
        for (agent, part), k in zip(learner.agents.items(), keys, strict=True):
            infer_key, actor_key = jax.random.split(k)
            part, inferred_actions = self.infer(part, x, next_x, actions, infer_key)
            next_values = self.values(part.target_critics, agent, next_x, next_actions | inferred_actions)
            reward, terminated = of_agent(steps.reward, agent), of_agent(steps.terminated, agent)
            target = td_target(reward, next_values.min(axis=0), terminated, self.gamma)
            part, found = self.update_critic(part, agent, x, actions, target)
            updated, actor_loss = self.update_actor(part, agent, x, actions, legal[agent], members[agent], actor_key)
            agents[agent] = jax.tree.map(lambda new, old: jnp.where(update_actors, new, old), updated, part)
            metrics |= {f"{name}/{agent}": value for name, value in (found | {"actor_loss": actor_loss}).items()}

        learner = MADDPGLearner(agents, learner.updates + 1)
        return Update(learner, metrics | learning_metrics(self.learning_rate, learner.updates))

    def values(self, critics: tuple[Network, ...], agent: str, x: Observed, actions: Vectors) -> jax.Array:
        """The value ``[critics, B]`` that each of the agent's critics gives to observations and actions."""
        if self.network is not None:  # a person's own
            seen = critic_view(x, agent, STATE, centralised=self.centralised)
            done = critic_view(actions, agent, JOINT, centralised=self.centralised)
            return jnp.stack([critic(seen, done) for critic in critics])
        agents = sorted(x) if self.centralised else [agent]
        inputs = jnp.concatenate([x[a] for a in agents] + [actions[a] for a in agents], axis=-1)
        return jnp.stack([critic(inputs)[..., 0] for critic in critics])

    def update_critic(
        self, part: AgentLearner, agent: str, x: Observed, actions: Vectors, target: jax.Array
    ) -> tuple[AgentLearner, dict[str, jax.Array]]:
        """Equation 6 of the paper. Also returns metrics."""

        def loss(critics: tuple[Network, ...]) -> tuple[jax.Array, jax.Array]:
            values = self.values(critics, agent, x, actions)
            return ((values - target) ** 2).mean(axis=1).sum(), values

        (error, values), gradient = jax.value_and_grad(loss, has_aux=True)(part.critics)
        given = self.optimizer(), self.learning_rate, part.critics, gradient, part.critic_optimizer
        critics, optimizer = descend(*given)
        metrics = {"critic_loss": error} | value_metrics(values, target, gradient)
        return part._replace(critics=critics, critic_optimizer=optimizer), metrics

    def update_actor(
        self,
        part: AgentLearner,
        agent: str,
        x: Observed,
        actions: Vectors,
        legal: jax.Array | None,
        member: jax.Array | None,
        key: jax.Array,
    ) -> tuple[AgentLearner, jax.Array]:
        """Equation 5 of the paper: only the agent's own action is chosen anew; then the targets follow.

        In an ensemble each policy learns from the steps of the episodes it played, which is its part of the buffer.
        """

        def loss(actor: RelaxedPolicy) -> jax.Array:
            out = actor(x[agent], member)
            chosen = actor.actions.choose(masked(out, legal), key)
            value = self.values(part.critics[:1], agent, x, actions | {agent: chosen})[0]
            return -value.mean() + self.logit_penalty * (out**2).mean()

        error, gradient = jax.value_and_grad(loss)(part.actor)
        actor, optimizer = descend(self.optimizer(), self.learning_rate, part.actor, gradient, part.actor_optimizer)
        return part._replace(
            actor=actor,
            actor_optimizer=optimizer,
            target_actor=follow(part.target_actor, actor, self.tau),
            target_critics=follow(part.target_critics, part.critics, self.tau),
        ), error

    def infer(
        self, part: AgentLearner, x: Observed, next_x: Observed, actions: Vectors, key: jax.Array
    ) -> tuple[AgentLearner, Vectors]:
        """Learn the others' policies from what they did, and say what they would do next (section 4.2 of the paper)."""
        inferred, next_actions = {}, {}
        keys = jax.random.split(key, max(len(part.inferred), 1))
        for k, (other, policy) in zip(keys, part.inferred.items(), strict=False):

            def loss(actor: RelaxedPolicy, other: str = other) -> jax.Array:
                return actor.actions.negative_log_likelihood(actor(x[other], None), actions[other], entropy_coef=0.001)

            gradient = jax.grad(loss)(policy.actor)
            given = self.optimizer(), self.learning_rate, policy.actor, gradient, policy.optimizer
            actor, optimizer = descend(*given)
            target = follow(policy.target, actor, self.tau)
            inferred[other] = InferredPolicy(actor, target, optimizer)
            next_actions[other] = target.actions.choose(target(next_x[other], None), k, self.target_noise)
        return part._replace(inferred=inferred), next_actions
