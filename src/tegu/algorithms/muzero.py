"""MuZero (Schrittwieser et al. 2020) and Gumbel MuZero (Danihelka et al. 2022): planning with a learned model."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.alphazero import SEARCHES
from tegu.algorithms.base import (
    Algorithm,
    ExpectedReturn,
    Update,
    check_reanalysed,
    check_replay,
    learning_metrics,
    named,
    replay,
)
from tegu.algorithms.latent_model import LatentModel, latent_search
from tegu.algorithms.muzero_targets import Searched, following_values, targets, unroll_losses, unroll_weights
from tegu.algorithms.ranges import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    PositiveFraction,
    Rate,
    Several,
    Width,
)
from tegu.algorithms.target_network import count, sync
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.environments.games.base import Game, own_reward
from tegu.experience.base import Batch, Feedback, Prioritized, Replay, Uniform
from tegu.nn.encoder import check_extractor
from tegu.nn.mlp import check_network
from tegu.nn.optimizers import adam, descend
from tegu.search.planning import Search, gumbel, puct
from tegu.spaces.features import require

BOOTSTRAPS = ("network", "search")


class MuZeroLearner(NamedTuple):
    online: LatentModel
    target: LatentModel  #: says what the last of n steps leads to, and searches again
    optimizer: optax.OptState
    since_sync: jax.Array  #: int32: environment steps since the target last followed the online network
    updates: jax.Array  #: int32: gradient steps so far


class MuZero(Algorithm):
    """A search in a model that is learned, of rewards, values and policies alone, for one agent or for board games."""

    multi_agent: ClassVar[bool] = True
    plans: ClassVar[bool] = True
    name: str = named("muzero")

    learning_rate: Rate = 1e-3  #: Adam's learning rate, a number or a schedule such as "lin_1e-3"
    simulations: Several = eqx.field(static=True, default=16)  #: simulations of each search
    search: str = eqx.field(static=True, default="gumbel")  #: gumbel or puct
    max_considered: Several = eqx.field(static=True, default=16)  #: gumbel: most actions that are tried at the root
    c_scale: Positive = 1.0  #: gumbel: how much values count beside the prior; 0.1 is usual in board games
    c_puct: NonNegative = 1.25  #: puct: exploration constant, the weight of the prior
    dirichlet_alpha: Positive = 0.3  #: puct: parameter of the Dirichlet noise at the root
    dirichlet_fraction: Fraction = 0.25  #: puct: fraction of noise in the prior of the root
    temperature: NonNegative = 1.0  #: puct: temperature of sampling actions from visit counts
    unroll_steps: Count = eqx.field(static=True, default=5)  #: steps that the model is unrolled, the paper's K
    n_steps: Count = eqx.field(static=True, default=10)  #: number of rewards in the target of a value (n-step return)
    bootstrap: str = eqx.field(static=True, default="network")  #: network or search: whose value follows these rewards
    gamma: Fraction = 0.997  #: discount factor; usually 1 in board games
    buffer_size: Count = eqx.field(static=True, default=100_000)  #: steps the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=1000)  #: steps of the fresh policy before learning begins
    batch_size: Count = eqx.field(static=True, default=128)  #: windows of steps per update
    train_freq: Count = eqx.field(static=True, default=8)  #: environment steps between two rounds of updates
    gradient_steps: int = eqx.field(static=True, default=1)  #: updates per round; -1: as many as steps were taken
    prioritized: bool = eqx.field(static=True, default=False)  #: draw steps in proportion to the error of their value
    prioritized_alpha: Fraction = 1.0  #: prioritized: exponent of the errors; 0 draws uniformly
    prioritized_beta: Fraction = 1.0  #: prioritized: exponent of the importance weights; 1 corrects fully
    n_reanalysed: Natural = eqx.field(static=True, default=0)  #: steps of each batch that are searched again
    target_update_interval: Count = eqx.field(static=True, default=1000)  #: environment steps between syncs
    tau: PositiveFraction = 1.0  #: how far the target follows the online network at each sync; 1 copies it
    vf_coef: NonNegative = 0.25  #: weight of the loss of values
    l2: NonNegative = 1e-4  #: weight of the squared parameters in the loss, c in the paper
    max_grad_norm: Positive = 5.0  #: the gradient's norm is clipped to this
    latent_size: Several = eqx.field(static=True, default=64)  #: numbers that a state of the model consists of
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(128,))  #: hidden layers of each of the networks
    support_size: Width = eqx.field(static=True, default=30)  #: largest value and reward, scaled by h; 30: about 930
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention

    @property
    def experience(self) -> Replay:
        draw = Prioritized(self.prioritized_alpha, self.prioritized_beta) if self.prioritized else Uniform()
        return replay(self, n_steps=self.unroll_steps + self.n_steps, draw=draw)

    def validate(self, spec: EnvironmentSpec) -> None:
        if self.search not in SEARCHES:
            raise TeguError(f"{self.title}: search must be one of {', '.join(SEARCHES)}, got {self.search!r}")
        if self.bootstrap not in BOOTSTRAPS:
            raise TeguError(f"{self.title}: bootstrap must be one of {', '.join(BOOTSTRAPS)}, got {self.bootstrap!r}")
        if spec.agents and not isinstance(spec.model, Game):
            raise TeguError(f"{self.title} needs a single agent or a board game in JAX, {spec.id} is neither")
        check_reanalysed(self)
        if spec.agents and self.features_extractor not in ("auto", "flatten"):
            raise TeguError(
                f"{self.title}: features_extractor must be auto or flatten in board games, got "
                f"{self.features_extractor!r}"
            )
        check_network("relu", self.net_arch)
        check_replay(self)
        if not spec.agents:
            require(self.title, "action", spec.action_space, spaces.Discrete)
            require(self.title, "observation", spec.observation_space, spaces.Space)
            check_extractor(self.title, self.features_extractor, spec.observation_space)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> MuZeroLearner:
        if spec.agents and spec.model is None:
            raise TeguError(f"{self.title} needs the rules of {spec.id}: name the game (environment=, --env or --game)")
        network = LatentModel(key, spec, self.latent_size, self.net_arch, self.features_extractor, self.support_size)
        zero = jnp.zeros((), jnp.int32)
        return MuZeroLearner(network, network, self.optimizer().init(network), zero, zero)

    def networks(self, learner: MuZeroLearner) -> Sequence[tuple[str, Any]]:
        network = learner.online
        parts = {
            "representation": (network.encoder, network.representation),
            "dynamics": network.dynamics,
            "reward": network.reward,
            "policy": network.policy,
            "value": network.value,
        }
        return tuple(parts.items())

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def discount(self, network: LatentModel) -> jax.Array:
        """What a step multiplies all that follows with: in a game that is the other player's gain."""
        return jnp.asarray(self.gamma if network.game is None else -self.gamma, jnp.float32)

    def plan(
        self, learner: MuZeroLearner, observation: PyTree, key: jax.Array, *, simulations: int, explore: bool
    ) -> Search:
        """Search observations ``[B, ...]`` with as many ``simulations``; ``explore=False`` plays the best it finds."""
        return self.plan_with(learner.online, observation, key, simulations, explore)

    def plan_with(
        self, network: LatentModel, observation: PyTree, key: jax.Array, simulations: int, explore: bool
    ) -> Search:
        """Search observations ``[B, ...]`` in the model that a ``network`` has learned."""
        given = latent_search(self.discount(network)), network, observation, key
        if self.search == "gumbel":
            found = gumbel(
                *given,
                simulations=simulations,
                max_considered=self.max_considered,
                noise=1.0 if explore else 0.0,
                c_scale=self.c_scale,
                normalize=network.game is None,
            )
        else:
            found = puct(
                *given,
                simulations=simulations,
                c_init=self.c_puct,
                dirichlet_alpha=self.dirichlet_alpha,
                dirichlet_fraction=self.dirichlet_fraction if explore else 0.0,
                temperature=self.temperature if explore else 0.0,
            )
        # only the first move is known to be legal
        return found if found.lines is None else found._replace(lines=found.lines.at[..., 1:].set(-1))

    def act(
        self, learner: MuZeroLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        """The extras are what the search said of the observation."""
        found = self.plan(learner, observation, key, simulations=self.simulations, explore=explore)
        action = found.action + int(learner.online.spaces.action.start)
        return Decision(action, memory, extras=Searched(found.policy, found.value))

    def take(self, learner: MuZeroLearner, steps: Step) -> tuple[MuZeroLearner, Step]:
        """Count the steps to the next sync, and keep all of them; of a game with the reward of the player to move."""
        if learner.online.game is not None:
            steps = steps._replace(reward=own_reward(steps.reward, steps.observation["to_play"]))
        return count(learner, steps), steps

    def update(self, learner: MuZeroLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` windows of steps ``[unroll_steps + n_steps, batch_size]``."""
        learner, steps = sync(learner, self), batch.rows
        feedback = Feedback()
        if self.n_reanalysed:
            steps, feedback = self.reanalysed(learner.target, steps, key)
        gamma = self.discount(learner.online)
        next_value = following_values(learner.target, steps, self.n_steps if self.bootstrap == "network" else None)
        known = targets(steps, next_value, self.unroll_steps, self.n_steps, gamma)
        weights = unroll_weights(self.unroll_steps)
        entropy = -(known.policy * jnp.log(known.policy + 1e-9)).sum(axis=-1)

        def loss(network: LatentModel) -> tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array]]:
            """Equation 1 of the paper: policy, value and reward of all states of the unroll, the parameters' size."""
            each, value = unroll_losses(network, steps, known)
            losses = {name: (weights * error).sum(axis=0) for name, error in each.items()}
            total = losses["policy_loss"] + self.vf_coef * losses["value_loss"] + losses["reward_loss"]
            size = optax.tree.norm(network, squared=True)
            return (batch.weight * total).mean() + self.l2 * size, (
                {name: error.mean() for name, error in losses.items()},
                value,
            )

        (error, (losses, value)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.online)
        rate = self.learning_rate
        network, optimizer = descend(self.optimizer(), rate, learner.online, gradient, learner.optimizer)
        learner = learner._replace(online=network, optimizer=optimizer, updates=learner.updates + 1)
        least = (weights * jnp.where(known.goes_on, entropy, 0.0)).sum(axis=0).mean()
        metrics = {
            "loss": error,
            **losses,
            "policy_kl": losses["policy_loss"] - least,
            "value_mean": value.mean(),
            "td_error": jnp.abs(known.value[0] - value).mean(),
            "grad_norm": optax.tree.norm(gradient),
            **learning_metrics(rate, learner.updates),
        }
        if self.prioritized:
            feedback = feedback._replace(priority=jnp.abs(known.value[0] - value))
        return Update(learner, metrics, feedback)

    def reanalysed(self, network: LatentModel, steps: Step, key: jax.Array) -> tuple[Step, Feedback]:
        """Windows of steps, of which the first ones of ``n_reanalysed`` hold what a search now says of them; and what
        the buffer is to keep of it (MuZero Reanalyze, appendix H)."""
        choice_key, search_key = jax.random.split(key)
        policy, value = steps.extras
        chosen = jax.random.permutation(choice_key, self.batch_size)[: self.n_reanalysed]
        observation = jax.tree.map(lambda leaf: leaf[0, chosen], steps.observation)
        found = self.plan_with(network, observation, search_key, self.simulations, explore=True)
        extras = Searched(policy.at[0, chosen].set(found.policy), value.at[0, chosen].set(found.value))
        kept = jax.tree.map(lambda leaf: leaf[0], extras)
        return steps._replace(extras=extras), Feedback(rows=Step(None, None, None, None, None, None, kept))

    def expected_return(self, learner: MuZeroLearner, observation: PyTree, memory: PyTree) -> ExpectedReturn | None:
        if learner.online.game is not None:
            return None
        return ExpectedReturn(learner.online.expected(observation), self.gamma)
