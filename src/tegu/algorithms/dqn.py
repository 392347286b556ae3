"""Deep Q-network (Mnih et al. 2015)."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import Algorithm, Metrics
from tegu.core.errors import TeguError
from tegu.core.schedule import Clock, Linear, Schedule, scheduled
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Replay
from tegu.exploration import epsilon_greedy, masked
from tegu.nn.heads import QNetwork
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import n_step, td_target
from tegu.spaces.features import action_mask, require


class DQNLearner(NamedTuple):
    online: QNetwork
    target: QNetwork
    optimizer: optax.OptState
    synced: jax.Array  #: int32: environment step at which the target last followed the online network
    updates: jax.Array  #: int32: gradient steps so far
    clock: Clock


class DQN(Algorithm):
    """Q-learning with a network, a replay buffer and a target network (algorithm 1 of the paper)."""

    name: ClassVar[str] = "dqn"

    learning_rate: Schedule = 1e-4  #: Adam's step size, a number or a schedule such as "lin_1e-4"
    buffer_size: int = eqx.field(static=True, default=1_000_000)  #: steps the replay buffer keeps
    learning_starts: int = eqx.field(static=True, default=100)  #: random steps before learning begins
    batch_size: int = eqx.field(static=True, default=32)  #: steps per update
    tau: float = 1.0  #: how far the target follows the online network at each sync; 1 copies it
    gamma: float = 0.99  #: discount factor
    train_freq: int = eqx.field(static=True, default=4)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    n_steps: int = eqx.field(static=True, default=1)  #: rewards taken from experience before the network's estimate
    target_update_interval: int = eqx.field(static=True, default=10_000)  #: environment steps between syncs
    exploration_fraction: float = 0.1  #: share of training over which epsilon falls
    exploration_initial_eps: float = 1.0  #: epsilon at the start
    exploration_final_eps: float = 0.05  #: epsilon at the end
    max_grad_norm: float = 10.0  #: the gradient's norm is clipped to this
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers
    activation: str = eqx.field(static=True, default="relu")  #: tanh, relu, elu, gelu or silu

    @property
    def experience(self) -> Replay:
        return Replay(
            self.buffer_size,
            self.batch_size,
            self.learning_starts,
            self.train_freq,
            self.gradient_steps,
            self.n_steps,
        )

    def validate(self, spec: EnvironmentSpec) -> None:
        check_network(self.activation, self.net_arch)
        for name in ("batch_size", "train_freq", "buffer_size", "n_steps", "target_update_interval"):
            if getattr(self, name) < 1:
                raise TeguError(f"DQN: {name} must be at least 1, got {getattr(self, name)}")
        if self.n_steps > 1 and self.n_steps * spec.n_envs > self.buffer_size:
            raise TeguError(
                f"DQN: n_steps x n_envs must be at most buffer_size, got {self.n_steps} x {spec.n_envs} and "
                f"{self.buffer_size}"
            )
        if self.gradient_steps < 1 and self.gradient_steps != -1:
            raise TeguError(f"DQN: gradient_steps must be at least 1, or -1, got {self.gradient_steps}")
        require("DQN", "action", spec.action_space, spaces.Discrete)
        require("DQN", "observation", spec.observation_space, spaces.Space)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> DQNLearner:
        network = QNetwork(key, spec, self.net_arch, self.activation)
        return DQNLearner(
            online=network,
            target=network,
            optimizer=self.optimizer().init(network),
            synced=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
            clock=Clock.start(),
        )

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def epsilon(self, clock: Clock) -> jax.Array:
        schedule = Linear(self.exploration_initial_eps, self.exploration_final_eps, self.exploration_fraction)
        return jnp.where(clock.steps < self.learning_starts, 1.0, schedule(clock.progress))

    def act(
        self, learner: DQNLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        spec = learner.online.spec
        values, mask = learner.online(observation), action_mask(spec.observation_space, observation)
        if explore:
            action = epsilon_greedy(key, values, self.epsilon(learner.clock), mask)
        else:
            action = jnp.argmax(masked(values, mask), axis=-1)
        return Decision(action.astype(jnp.int32) + int(spec.action_space.start), memory)

    def update(self, learner: DQNLearner, batch: Step, key: jax.Array) -> tuple[DQNLearner, Metrics]:
        """One gradient step on ``batch_size`` random steps, or windows of ``n_steps``, as ``Replay`` declares."""
        learner, spec = self.follow(learner), learner.online.spec
        batch, gamma = n_step(batch, self.gamma) if self.n_steps > 1 else (batch, self.gamma)
        mask = action_mask(spec.observation_space, batch.next_observation)
        future = masked(learner.target(batch.next_observation), mask).max(axis=-1)
        target = td_target(batch.reward, future, batch.terminated, gamma)
        chosen = jax.nn.one_hot(batch.action - int(spec.action_space.start), int(spec.action_space.n))

        def loss(online: QNetwork) -> tuple[jax.Array, jax.Array]:
            value = (online(batch.observation) * chosen).sum(axis=-1)
            return optax.huber_loss(value, target).mean(), value.mean()

        (error, mean_value), gradient = jax.value_and_grad(loss, has_aux=True)(learner.online)
        learning_rate = scheduled(self.learning_rate, learner.clock)
        online, optimizer = descend(self.optimizer(), learning_rate, learner.online, gradient, learner.optimizer)

        learner = learner._replace(online=online, optimizer=optimizer, updates=learner.updates + 1)
        return learner, {
            "loss": error,
            "q_mean": mean_value,
            "exploration_rate": self.epsilon(learner.clock),
            "learning_rate": jnp.asarray(learning_rate, jnp.float32),
            "n_updates": learner.updates.astype(jnp.float32),
        }

    def follow(self, learner: DQNLearner) -> DQNLearner:
        """Let the target follow the online network if a multiple of ``target_update_interval`` has been passed."""
        interval, steps = self.target_update_interval, learner.clock.steps
        due = steps // interval > learner.synced // interval
        target = follow(learner.target, learner.online, jnp.where(due, self.tau, 0.0))
        return learner._replace(target=target, synced=jnp.where(due, steps, learner.synced))
