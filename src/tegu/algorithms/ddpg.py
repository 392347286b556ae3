"""Deep deterministic policy gradient (Lillicrap et al. 2016)."""

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
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Replay
from tegu.nn.heads import ActionValue, DeterministicPolicy
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import td_target
from tegu.spaces.features import require


class DDPGLearner(NamedTuple):
    actor: DeterministicPolicy
    critic: ActionValue
    target_actor: DeterministicPolicy
    target_critic: ActionValue
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far
    clock: Clock


class DDPG(Algorithm):
    """A deterministic policy for continuous actions that climbs its critic's gradient (algorithm 1 of the paper)."""

    name: ClassVar[str] = "ddpg"

    learning_rate: Schedule = 1e-3  #: Adam's step size for actor and critic, a number or a schedule such as "lin_1e-3"
    buffer_size: int = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: int = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: int = eqx.field(static=True, default=256)  #: steps per update
    tau: float = 0.005  #: how far the targets follow at each update
    gamma: float = 0.99  #: discount factor
    train_freq: int = eqx.field(static=True, default=1)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    action_noise: float = 0.1  #: standard deviation of the exploring noise; 1 is half the range of the actions
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(400, 300))  #: hidden layers of actor and critic each
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu

    @property
    def experience(self) -> Replay:
        return Replay(self.buffer_size, self.batch_size, self.learning_starts, self.train_freq, self.gradient_steps)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_network(self.activation, self.net_arch)
        for name in ("batch_size", "train_freq", "buffer_size"):
            if getattr(self, name) < 1:
                raise TeguError(f"DDPG: {name} must be at least 1, got {getattr(self, name)}")
        if self.gradient_steps < 1 and self.gradient_steps != -1:
            raise TeguError(f"DDPG: gradient_steps must be at least 1, or -1, got {self.gradient_steps}")
        require("DDPG", "action", spec.action_space, spaces.Box)
        require("DDPG", "observation", spec.observation_space, spaces.Space)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DDPGLearner:
        actor_key, critic_key = jax.random.split(key)
        actor = DeterministicPolicy(actor_key, spec, self.net_arch, self.activation)
        critic = ActionValue(critic_key, spec, self.net_arch, self.activation)
        return DDPGLearner(
            actor=actor,
            critic=critic,
            target_actor=actor,
            target_critic=critic,
            actor_optimizer=adam().init(actor),
            critic_optimizer=adam().init(critic),
            updates=jnp.zeros((), jnp.int32),
            clock=Clock.start(),
        )

    def act(
        self, learner: DDPGLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        action = learner.actor(observation)
        if explore:
            box, (noise_key, random_key) = learner.actor.spec.action_space, jax.random.split(key)
            low, high = jnp.float32(box.low), jnp.float32(box.high)
            noise = self.action_noise * (high - low) / 2 * jax.random.normal(noise_key, action.shape)
            random = jax.random.uniform(random_key, action.shape, minval=low, maxval=high)
            starting = learner.clock.steps < self.learning_starts
            action = jnp.where(starting, random, jnp.clip(action + noise, low, high))
        return Decision(action, memory)

    def update(self, learner: DDPGLearner, batch: Step, key: jax.Array) -> tuple[DDPGLearner, Metrics]:
        """One gradient step of critic and actor on ``batch_size`` random steps ``[batch_size, ...]``."""
        future = learner.target_critic(batch.next_observation, learner.target_actor(batch.next_observation))
        target = td_target(batch.reward, future, batch.terminated, self.gamma)

        def critic_loss(critic: ActionValue) -> jax.Array:
            return ((critic(batch.observation, batch.action) - target) ** 2).mean()

        def actor_loss(actor: DeterministicPolicy) -> jax.Array:
            return -learner.critic(batch.observation, actor(batch.observation)).mean()

        error, critic_gradient = jax.value_and_grad(critic_loss)(learner.critic)
        loss, actor_gradient = jax.value_and_grad(actor_loss)(learner.actor)
        rate = scheduled(self.learning_rate, learner.clock)
        critic, critic_optimizer = descend(adam(), rate, learner.critic, critic_gradient, learner.critic_optimizer)
        actor, actor_optimizer = descend(adam(), rate, learner.actor, actor_gradient, learner.actor_optimizer)
        learner = learner._replace(
            actor=actor,
            critic=critic,
            target_actor=follow(learner.target_actor, actor, self.tau),
            target_critic=follow(learner.target_critic, critic, self.tau),
            actor_optimizer=actor_optimizer,
            critic_optimizer=critic_optimizer,
            updates=learner.updates + 1,
        )
        return learner, {
            "actor_loss": loss,
            "critic_loss": error,
            "learning_rate": jnp.asarray(rate, jnp.float32),
            "n_updates": learner.updates.astype(jnp.float32),
        }
