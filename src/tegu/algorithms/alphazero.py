"""AlphaZero (Silver et al. 2018) and Gumbel AlphaZero (Danihelka et al. 2022)."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces

from tegu.algorithms.base import (
    Algorithm,
    Metrics,
    Update,
    check_replay,
    learning_metrics,
    named,
    network_field,
    replay,
)
from tegu.algorithms.ranges import (
    Count,
    FewOrNone,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    Rate,
    Several,
    Width,
)
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.environments.games.base import Game, Position, own_reward
from tegu.experience.base import Batch, Replay
from tegu.exploration import masked
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks, network_name
from tegu.nn.optimizers import adam, descend
from tegu.nn.residual import ResidualConv, ResidualMLP
from tegu.returns import outcomes
from tegu.search.planning import Search, gumbel, puct
from tegu.spaces.features import ACTION_MASK

NETWORKS: dict[str, type[ResidualMLP] | type[ResidualConv]] = {"mlp": ResidualMLP, "conv": ResidualConv}
SEARCHES = ("gumbel", "puct")


class PolicyValue(eqx.Module):
    """A network that judges positions of a game: it always sees them from the side of the player to move."""

    network: ResidualMLP | ResidualConv | CustomNetwork
    game: Game = eqx.field(static=True)

    def __call__(self, positions: Position) -> tuple[jax.Array, jax.Array]:
        """Logits ``[B, A]`` and values ``[B]`` in [-1, 1] of positions ``[B, ...]``."""
        return self.network(jax.vmap(self.game.features)(positions))


class AlphaZeroLearner(NamedTuple):
    network: PolicyValue
    optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far


class SearchResult(NamedTuple):
    """What a search says of the position it was asked about."""

    policy: jax.Array  #: ``[B, A]``
    value: jax.Array  #: ``[B]``
    random: jax.Array  #: bool ``[B]``: whether a random move was played instead


class Example(NamedTuple):
    """What the replay buffer keeps of a move, ``[..., *shape]``."""

    position: Position
    policy: jax.Array  #: ``[..., A]``: what the search made of the position
    outcome: jax.Array  #: how the game went on for the player to move, in [-1, 1]


class AlphaZero(Algorithm):
    """Self-play with a search: the network learns the search's policy and the game's outcome, the search uses both."""

    multi_agent: ClassVar[bool] = True
    plans: ClassVar[bool] = True
    name: str = named("alphazero")

    learning_rate: Rate = 1e-3  #: Adam's learning rate, a number or a schedule such as "lin_1e-3"
    simulations: Several = eqx.field(static=True, default=32)  #: simulations of each search
    search: str = eqx.field(static=True, default="gumbel")  #: gumbel or puct
    max_considered: Several = eqx.field(static=True, default=16)  #: gumbel: actions at the root
    c_puct: NonNegative = 1.25  #: puct: exploration constant, the weight of the prior
    dirichlet_alpha: Positive = 0.3  #: puct: parameter of the Dirichlet noise at the root
    dirichlet_fraction: Fraction = 0.25  #: puct: fraction of noise in the prior of the root
    temperature: NonNegative = 1.0  #: puct: temperature of sampling actions from visit counts
    random_moves: Natural = eqx.field(static=True, default=0)  #: maximum number of random moves at the start of a game
    train_freq: Count = eqx.field(static=True, default=4096)  #: moves (over all games) between two rounds of updates
    buffer_size: Count = eqx.field(static=True, default=100_000)  #: moves the replay buffer keeps
    learning_starts: Natural = eqx.field(static=True, default=0)  #: moves before learning begins
    batch_size: Count = eqx.field(static=True, default=256)  #: moves per update
    gradient_steps: int = eqx.field(static=True, default=16)  #: updates per round; -1: as many as moves
    l2: NonNegative = 1e-4  #: weight of the squared parameters in the loss, c in the paper
    max_grad_norm: Positive = 1.0  #: the gradient's norm is clipped to this
    network: Callable[..., Any] | str = network_field(*NETWORKS)  #: mlp, conv, or your own as module:function
    width: Width = eqx.field(static=True, default=128)  #: units (mlp) or channels (conv) of each residual block
    blocks: FewOrNone = eqx.field(static=True, default=3)  #: residual blocks

    @property
    def experience(self) -> Replay:
        return replay(self)

    def validate(self, spec: EnvironmentSpec) -> None:
        if not isinstance(spec.model, Game):
            raise TeguError(f"AlphaZero needs a board game in JAX, {spec.id} is not one")
        if self.search not in SEARCHES:
            raise TeguError(f"AlphaZero: search must be one of {', '.join(SEARCHES)}, got {self.search!r}")
        if isinstance(self.network, str):
            if self.network not in NETWORKS:
                choices = f"one of {', '.join(NETWORKS)}, or module:function"
                raise TeguError(f"AlphaZero: network must be {choices}, got {self.network!r}")
        elif network_name(self.network) in NETWORKS:
            raise TeguError(f"AlphaZero has a network called {network_name(self.network)}: rename yours")
        else:
            planes = planes_spec(spec)
            logits_and_value = Signature((planes.observation_space,), ((int(spec.action_space.n),), ()))
            check_custom("AlphaZero", self.network, planes, (logits_and_value,))
        check_replay(self)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> AlphaZeroLearner:
        if spec.model is None:
            raise TeguError(f"AlphaZero needs the rules of {spec.id}: name the game (environment=, --env or --game)")
        planes = planes_spec(spec)
        if isinstance(self.network, str):
            shape, actions = planes.observation_space.shape, int(spec.action_space.n)
            network: Any = NETWORKS[self.network](key, shape, actions, self.width, self.blocks)
        else:
            network = custom_networks(self.network, key, planes)[0]
        judge = PolicyValue(network, spec.model)
        return AlphaZeroLearner(judge, self.optimizer().init(judge), jnp.zeros((), jnp.int32))

    def networks(self, learner: AlphaZeroLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.network.network),)

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def plan(
        self, learner: AlphaZeroLearner, positions: Position, key: jax.Array, *, simulations: int, explore: bool
    ) -> Search:
        """Search positions ``[B, ...]`` with as many ``simulations``; ``explore=False`` plays the best it finds."""
        positions = positions | {ACTION_MASK: positions[ACTION_MASK].astype(bool)}  # which may come as a MultiBinary's
        given = learner.network.game, PolicyValue.__call__, learner.network, positions, key
        if self.search == "gumbel":
            noise = 1.0 if explore else 0.0
            return gumbel(*given, simulations=simulations, max_considered=self.max_considered, noise=noise)
        return puct(
            *given,
            simulations=simulations,
            c_init=self.c_puct,
            dirichlet_alpha=self.dirichlet_alpha,
            dirichlet_fraction=self.dirichlet_fraction if explore else 0.0,
            temperature=self.temperature if explore else 0.0,
        )

    def begin(self, learner: AlphaZeroLearner, key: jax.Array, n: int) -> PyTree:
        """With how many random moves each game begins, int32 ``[n]``: from none to ``random_moves``."""
        return jax.random.randint(key, (n,), 0, self.random_moves + 1)

    def act(
        self, learner: AlphaZeroLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        search_key, random_key = jax.random.split(key)
        found = self.plan(learner, observation, search_key, simulations=self.simulations, explore=explore)
        random = (memory > 0) & explore
        noise = jax.random.uniform(random_key, found.policy.shape)
        legal = observation[ACTION_MASK].astype(bool)
        random_action = masked(noise, legal).argmax(axis=-1).astype(found.action.dtype)
        action = jnp.where(random, random_action, found.action)
        return Decision(action, memory - 1, extras=SearchResult(found.policy, found.value, random))

    def take(self, learner: AlphaZeroLearner, steps: Step) -> tuple[AlphaZeroLearner, Example]:
        """What was played in ``[T, B]``: each position with the search's policy and the outcome for its player.

        Before a random move, and where a game goes on after the last one, the outcome is what the search expected.
        """
        policy, value, random = steps.extras
        reward = own_reward(steps.reward, steps.observation["to_play"])
        outcome = outcomes(reward, steps.terminated & ~random, steps.truncated | random, value)
        return learner, Example(steps.observation, policy, outcome)

    def update(self, learner: AlphaZeroLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` moves, each turned or mirrored at random."""
        game, examples = learner.network.game, batch.rows
        index = jax.random.randint(key, examples.outcome.shape, 0, game.n_symmetries)
        planes = jax.vmap(game.features)(examples.position)
        planes, policy = jax.vmap(game.symmetric)(index, planes, examples.policy)
        # the symmetric image of the legal actions: what an illegal one's logit is does not matter
        _, legal = jax.vmap(game.symmetric)(index, planes, examples.position["action_mask"])

        def loss(network: PolicyValue) -> tuple[jax.Array, Metrics]:
            """Equation 1 of the paper: cross-entropy, squared error and the size of the parameters."""
            logits, value = network.network(planes)
            log_prior = jax.nn.log_softmax(masked(logits, legal))
            policy_loss = -(policy * log_prior).sum(axis=-1).mean()
            value_loss = ((value - examples.outcome) ** 2).mean()
            size = sum((leaf**2).sum() for leaf in jax.tree.leaves(network))
            entropy = -(policy * jnp.log(policy + 1e-9)).sum(axis=-1).mean()
            total = policy_loss + value_loss + self.l2 * size
            return total, {
                "loss": total,
                "policy_loss": policy_loss,
                "policy_kl": policy_loss - entropy,
                "value_loss": value_loss,
            }

        gradient, metrics = jax.grad(loss, has_aux=True)(learner.network)
        rate = self.learning_rate
        network, optimizer = descend(self.optimizer(), rate, learner.network, gradient, learner.optimizer)
        learner = AlphaZeroLearner(network, optimizer, learner.updates + 1)
        return Update(learner, dict(metrics) | learning_metrics(rate, learner.updates))


def planes_spec(spec: EnvironmentSpec) -> EnvironmentSpec:
    """What a network knows of a game: the planes ``[H, W, C]`` that it sees in place of a position, and the moves."""
    _, position = jax.eval_shape(spec.model.reset, jax.random.key(0))
    planes = jax.eval_shape(spec.model.features, position)
    box = spaces.Box(-np.inf, np.inf, planes.shape, np.float32)
    return EnvironmentSpec(spec.id, box, spec.action_space, spec.n_envs, model=spec.model)
