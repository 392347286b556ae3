"""Multi-agent deterministic policy gradients: MADDPG (Lowe et al. 2017), MATD3 (Ackermann et al. 2019), and DDPG for
each agent on its own."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Metrics
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Schedule, scheduled
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, own
from tegu.experience.base import Replay
from tegu.exploration import masked
from tegu.nn.mlp import MLP, check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import td_target
from tegu.spaces.features import action_mask, features, n_features, require
from tegu.spaces.relaxed import RELAXATIONS, ActionVectors

Vectors = dict[str, jax.Array]  #: by agent ``[B, n]``: observations, or actions as the critics see them


class Actor(eqx.Module):
    """One agent's policy, an ensemble of ``K`` networks of which an episode uses one."""

    members: tuple[MLP, ...]
    spec: EnvironmentSpec = eqx.field(static=True)  #: the agent's own
    actions: ActionVectors = eqx.field(static=True)

    def __call__(self, x: jax.Array, member: jax.Array | None) -> jax.Array:
        """What the network puts out ``[B, n]`` for features ``[B, m]``; ``member`` ``[B]`` says which network."""
        if member is None:
            return self.members[0](x)
        use = jax.nn.one_hot(member, len(self.members))
        return (use[..., None] * jnp.stack([network(x) for network in self.members], axis=1)).sum(axis=1)


class Guess(NamedTuple):
    """What one agent believes of another's policy."""

    actor: Actor
    target: Actor
    optimizer: optax.OptState


class AgentLearner(NamedTuple):
    """What one agent has learned."""

    actor: Actor
    critics: tuple[MLP, ...]  #: one, or two of which the lower counts
    target_actor: Actor
    target_critics: tuple[MLP, ...]
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    guesses: dict[str, Guess]  #: of the others' policies; empty unless they are inferred


class MADDPGLearner(NamedTuple):
    agents: dict[str, AgentLearner]
    updates: jax.Array  #: int32: gradient steps so far
    clock: Clock


class MADDPG(Algorithm):
    """Each agent's actor sees its own observation, its critic those and the actions of all (algorithm 1 of the paper).

    Choices among actions are relaxed, see ``ActionVectors``.
    """

    name: ClassVar[str] = "maddpg"
    several: ClassVar[bool] = True

    learning_rate: Schedule = 0.01  #: Adam's step size for actors and critics, a number or a schedule
    buffer_size: int = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: int = eqx.field(static=True, default=25_600)  #: steps before learning begins
    batch_size: int = eqx.field(static=True, default=1024)  #: steps per update
    tau: float = 0.01  #: how far the targets follow at each update
    gamma: float = 0.95  #: discount factor
    train_freq: int = eqx.field(static=True, default=100)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    max_grad_norm: float = 0.5  #: each gradient's norm is clipped to this
    logit_penalty: float = 1e-3  #: weight of the squared outputs of the actors in their loss
    centralised: bool = eqx.field(static=True, default=True)  #: critics see all agents; if not, only their own
    twin: bool = eqx.field(static=True, default=False)  #: two critics, the lower one counts (TD3)
    policy_delay: int = eqx.field(static=True, default=1)  #: critic updates to one of the actors and targets (TD3)
    target_noise: float = 0.0  #: of the target policy's Box actions, in half ranges, clipped at 2.5 times this (TD3)
    action_noise: float = 0.1  #: standard deviation of the exploring noise of Box actions, in half ranges
    relax: str = eqx.field(static=True, default="soft")  #: soft, or straight_through: one-hot with the soft gradient
    word_after: int = eqx.field(static=True, default=5)  #: a relaxed action longer than this is a move and then a word
    ensemble: int = eqx.field(static=True, default=1)  #: policies per agent, one drawn for every episode
    infer_policies: bool = eqx.field(static=True, default=False)  #: learn the others' policies instead of being told
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of actors and critics each
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu

    @property
    def experience(self) -> Replay:
        return Replay(self.buffer_size, self.batch_size, self.learning_starts, self.train_freq, self.gradient_steps)

    def validate(self, spec: EnvironmentSpec) -> None:
        title = type(self).__name__
        check_network(self.activation, self.net_arch)
        if not spec.agents or not isinstance(spec.action_space, spaces.Dict):
            raise TeguError(f"{title} needs an environment of several agents that act at once, {spec.id} is none")
        for name in ("batch_size", "train_freq", "buffer_size", "ensemble", "policy_delay", "word_after"):
            if getattr(self, name) < 1:
                raise TeguError(f"{title}: {name} must be at least 1, got {getattr(self, name)}")
        if self.gradient_steps < 1 and self.gradient_steps != -1:
            raise TeguError(f"{title}: gradient_steps must be at least 1, or -1, got {self.gradient_steps}")
        if self.relax not in RELAXATIONS:
            raise TeguError(f"{title}: relax must be one of {', '.join(RELAXATIONS)}, got {self.relax!r}")
        for agent in spec.agents:
            alone = spec.alone(agent)
            require(f"{title} for {agent}", "action", alone.action_space, spaces.Box, spaces.Discrete)
            require(f"{title} for {agent}", "observation", alone.observation_space, spaces.Space)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MADDPGLearner:
        keys = dict(zip(spec.agents, jax.random.split(key, len(spec.agents)), strict=True))
        agents = {agent: self.init_agent(keys[agent], spec, agent) for agent in spec.agents}
        return MADDPGLearner(agents, jnp.zeros((), jnp.int32), Clock.start())

    def init_agent(self, key: jax.Array, spec: EnvironmentSpec, agent: str) -> AgentLearner:
        actor_key, critic_key, guess_key = jax.random.split(key, 3)
        seen = self.seen(agent, spec.agents)
        inputs = sum(n_features(spec.observation_space[a]) + n_features(spec.action_space[a]) for a in seen)
        sizes = (inputs, *self.net_arch, 1)
        critics = tuple(MLP(k, sizes, self.activation) for k in jax.random.split(critic_key, 2 if self.twin else 1))
        actor = self.actor(actor_key, spec.alone(agent), self.ensemble)
        others = [other for other in spec.agents if other != agent] if self.infer_policies else []
        guesses = {}
        for other, k in zip(others, jax.random.split(guess_key, max(len(others), 1)), strict=False):
            guess = self.actor(k, spec.alone(other), 1)
            guesses[other] = Guess(guess, guess, self.optimizer().init(guess))
        return AgentLearner(
            actor=actor,
            critics=critics,
            target_actor=actor,
            target_critics=critics,
            actor_optimizer=self.optimizer().init(actor),
            critic_optimizer=self.optimizer().init(critics),
            guesses=guesses,
        )

    def actor(self, key: jax.Array, alone: EnvironmentSpec, members: int) -> Actor:
        sizes = (n_features(alone.observation_space), *self.net_arch, n_features(alone.action_space))
        networks = tuple(MLP(k, sizes, self.activation) for k in jax.random.split(key, members))
        return Actor(networks, alone, ActionVectors(alone.action_space, self.relax, self.word_after))

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def seen(self, agent: str, agents: tuple[str, ...]) -> tuple[str, ...]:
        """Whose observations and actions the agent's critic is given."""
        return tuple(sorted(agents)) if self.centralised else (agent,)

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
        for agent, its in learner.agents.items():
            actor, seen = its.actor, observation[agent]
            out = actor(features(actor.spec.observation_space, seen), memory[agent] if memory else None)
            legal = action_mask(actor.spec.observation_space, seen)
            chosen = actor.actions.choose(masked(out, legal), keys[agent] if explore else None, self.action_noise)
            action[agent] = actor.actions.to_action(chosen)
        return Decision(action, memory, extras=memory)

    def update(self, learner: MADDPGLearner, batch: Step, key: jax.Array) -> tuple[MADDPGLearner, Metrics]:
        """One gradient step for every agent, all on the same ``batch_size`` random steps ``[batch_size, ...]``."""
        actors = {agent: its.actor for agent, its in learner.agents.items()}
        x, next_x = (
            {agent: features(actor.spec.observation_space, seen[agent]) for agent, actor in actors.items()}
            for seen in (batch.observation, batch.next_observation)
        )
        legal, next_legal = (
            {agent: action_mask(actor.spec.observation_space, seen[agent]) for agent, actor in actors.items()}
            for seen in (batch.observation, batch.next_observation)
        )
        taken = {agent: actor.actions.from_action(batch.action[agent]) for agent, actor in actors.items()}
        members = {agent: batch.extras[agent] if batch.extras else None for agent in actors}

        rate = scheduled(self.learning_rate, learner.clock)
        moving = (learner.updates + 1) % self.policy_delay == 0
        target_key, *keys = jax.random.split(key, 1 + len(actors))
        target_keys = dict(zip(actors, jax.random.split(target_key, len(actors)), strict=True))
        following = {}
        for agent, its in learner.agents.items():
            out = masked(its.target_actor(next_x[agent], members[agent]), next_legal[agent])
            following[agent] = its.target_actor.actions.choose(out, target_keys[agent], self.target_noise)

        agents: dict[str, AgentLearner] = {}
        metrics: dict[str, jax.Array] = {}
        for (agent, its), k in zip(learner.agents.items(), keys, strict=True):
            guess_key, actor_key = jax.random.split(k)
            its, imagined = self.infer(its, x, next_x, taken, guess_key, rate)
            future = self.value(its.target_critics, agent, next_x, following | imagined)
            target = td_target(own(batch.reward, agent), future, own(batch.terminated, agent), self.gamma)
            its, critic_loss = self.critic_step(its, agent, x, taken, target, rate)
            moved, actor_loss = self.actor_step(its, agent, x, taken, legal[agent], members[agent], actor_key, rate)
            agents[agent] = jax.tree.map(lambda new, old: jnp.where(moving, new, old), moved, its)
            metrics |= {f"critic_loss/{agent}": critic_loss, f"actor_loss/{agent}": actor_loss}

        learner = learner._replace(agents=agents, updates=learner.updates + 1)
        return learner, metrics | {
            "learning_rate": jnp.asarray(rate, jnp.float32),
            "n_updates": learner.updates.astype(jnp.float32),
        }

    def value(self, critics: tuple[MLP, ...], agent: str, x: Vectors, actions: Vectors) -> jax.Array:
        """The lowest value ``[B]`` that the agent's critics give to observations and actions."""
        return jnp.stack(self.values(critics, agent, x, actions)).min(axis=0)

    def values(self, critics: tuple[MLP, ...], agent: str, x: Vectors, actions: Vectors) -> list[jax.Array]:
        """The value ``[B]`` that each of the agent's critics gives to observations and actions."""
        seen = self.seen(agent, tuple(x))
        inputs = jnp.concatenate([x[a] for a in seen] + [actions[a] for a in seen], axis=-1)
        return [critic(inputs)[..., 0] for critic in critics]

    def critic_step(
        self, its: AgentLearner, agent: str, x: Vectors, taken: Vectors, target: jax.Array, rate: jax.Array | float
    ) -> tuple[AgentLearner, jax.Array]:
        """Equation 6 of the paper."""

        def loss(critics: tuple[MLP, ...]) -> jax.Array:
            return ((jnp.stack(self.values(critics, agent, x, taken)) - target) ** 2).mean(axis=1).sum()

        error, gradient = jax.value_and_grad(loss)(its.critics)
        critics, state = descend(self.optimizer(), rate, its.critics, gradient, its.critic_optimizer)
        return its._replace(critics=critics, critic_optimizer=state), error

    def actor_step(
        self,
        its: AgentLearner,
        agent: str,
        x: Vectors,
        taken: Vectors,
        legal: jax.Array | None,
        member: jax.Array | None,
        key: jax.Array,
        rate: jax.Array | float,
    ) -> tuple[AgentLearner, jax.Array]:
        """Equation 5 of the paper: only the agent's own action is chosen anew; then the targets follow.

        In an ensemble each policy learns from the steps of the episodes it played, which is its share of the buffer.
        """

        def loss(actor: Actor) -> jax.Array:
            out = actor(x[agent], member)
            chosen = actor.actions.choose(masked(out, legal), key)
            gain = self.values(its.critics[:1], agent, x, taken | {agent: chosen})[0]
            return -gain.mean() + self.logit_penalty * (out**2).mean()

        value, gradient = jax.value_and_grad(loss)(its.actor)
        actor, state = descend(self.optimizer(), rate, its.actor, gradient, its.actor_optimizer)
        return its._replace(
            actor=actor,
            actor_optimizer=state,
            target_actor=follow(its.target_actor, actor, self.tau),
            target_critics=follow(its.target_critics, its.critics, self.tau),
        ), value

    def infer(
        self, its: AgentLearner, x: Vectors, next_x: Vectors, taken: Vectors, key: jax.Array, rate: jax.Array | float
    ) -> tuple[AgentLearner, Vectors]:
        """Learn the others' policies from what they did, and say what they would do next (section 4.2 of the paper)."""
        guesses, imagined = {}, {}
        for k, (other, guess) in zip(
            jax.random.split(key, max(len(its.guesses), 1)), its.guesses.items(), strict=False
        ):

            def loss(actor: Actor, other: str = other) -> jax.Array:
                return actor.actions.surprise(actor(x[other], None), taken[other], entropy_coef=0.001)

            gradient = jax.grad(loss)(guess.actor)
            actor, state = descend(self.optimizer(), rate, guess.actor, gradient, guess.optimizer)
            target = follow(guess.target, actor, self.tau)
            guesses[other] = Guess(actor, target, state)
            imagined[other] = target.actions.choose(target(next_x[other], None), k, self.target_noise)
        return its._replace(guesses=guesses), imagined


class MATD3(MADDPG):
    """MADDPG with two critics, later actors and a smoothed target (Fujimoto et al. 2018): other defaults, no more."""

    name: ClassVar[str] = "matd3"

    twin: bool = eqx.field(static=True, default=True)
    policy_delay: int = eqx.field(static=True, default=2)
    target_noise: float = 0.2


class IndependentDDPG(MADDPG):
    """DDPG for each agent on its own, the baseline of the MADDPG paper: critics that see no other agent."""

    name: ClassVar[str] = "iddpg"

    centralised: bool = eqx.field(static=True, default=False)
