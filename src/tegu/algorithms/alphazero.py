"""AlphaZero (Silver et al. 2018) and Gumbel AlphaZero (Danihelka et al. 2022)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.base import (
    Algorithm,
    Metrics,
    Update,
    check_reanalysed,
    check_replay,
    learning_metrics,
    named,
    network_field,
    replay,
)
from tegu.algorithms.policy_value import NETWORKS, PolicyValue, check_policy_value, policy_value
from tegu.algorithms.ranges import (
    BelowOneOrNone,
    Count,
    FewOrNone,
    Fraction,
    FractionOrNone,
    Natural,
    NonNegative,
    NonNegativeOrNone,
    Positive,
    Rate,
    Several,
    SeveralOrNone,
    Width,
)
from tegu.algorithms.self_play_targets import (
    SearchResult,
    auxiliary_losses,
    check_auxiliary,
    mean_of,
    symmetric_targets,
    targets,
    weight_of,
)
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.environments.games.base import Game, Position, own_reward
from tegu.experience.base import Batch, Replay
from tegu.exploration import masked
from tegu.nn.optimizers import adam, descend, follow
from tegu.returns import outcomes
from tegu.search.planning import Search, gumbel, known_rules, puct
from tegu.spaces.features import ACTION_MASK

SEARCHES = ("gumbel", "puct")


class AlphaZeroLearner(NamedTuple):
    network: PolicyValue
    optimizer: optax.OptState
    updates: jax.Array  #: int32: gradient steps so far
    average: Any = None  #: ``PolicyValue``: the exponential moving average of the network, where there is one


class Example(NamedTuple):
    """What the replay buffer keeps of a move, ``[..., *shape]``."""

    position: Position
    policy: jax.Array  #: ``[..., A]``: what the search made of the position
    outcome: jax.Array  #: how the game went on for the player to move, in [-1, 1]
    full: jax.Array | None = None  #: bool ``[...]``: whether the policy is learned from; None: always
    weight: jax.Array | None = None  #: ``[...]``: how much it counts in learning; None: all alike
    targets: Any = ()  #: a ``Target`` of each auxiliary head, by name


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
    network: Callable[..., Any] | str = network_field(*NETWORKS)  #: mlp, conv, fully_conv, or your own module:function
    width: Width = eqx.field(static=True, default=128)  #: units (mlp) or channels (conv) of each residual block
    blocks: FewOrNone = eqx.field(static=True, default=3)  #: residual blocks
    fast_simulations: SeveralOrNone = eqx.field(static=True, default=None)  #: of fast searches; none: all are full
    full_search_fraction: Fraction = 0.25  #: with fast_simulations: moves after a search of all simulations
    ownership_weight: NonNegativeOrNone = None  #: of the loss of whose each point will be; none: not learned
    score_weight: NonNegativeOrNone = None  #: of the loss of the final score; none: not learned
    reply_weight: NonNegativeOrNone = None  #: of the loss of the other player's next search; none: not learned
    fork_fraction: FractionOrNone = None  #: games that begin in the middle of the game before; none: none do
    n_reanalysed: Natural = eqx.field(static=True, default=0)  #: moves of each batch that are searched again
    soft_resign: FractionOrNone = None  #: moves of games with values beyond it count less; none: all alike
    ema: BelowOneOrNone = None  #: decay of the moving average of the weights, which then plays; none: no average

    @property
    def experience(self) -> Replay:
        return replay(self)

    @property
    def weights(self) -> dict[str, Any]:
        """The weights of the auxiliary losses, by the names of the heads that there are."""
        weights = {"ownership": self.ownership_weight, "score": self.score_weight, "reply": self.reply_weight}
        return {name: weight for name, weight in weights.items() if weight is not None}

    def validate(self, spec: EnvironmentSpec) -> None:
        if not isinstance(spec.model, Game):
            raise TeguError(f"AlphaZero needs a board game in JAX, {spec.id} is not one")
        if self.search not in SEARCHES:
            raise TeguError(f"AlphaZero: search must be one of {', '.join(SEARCHES)}, got {self.search!r}")
        check_policy_value(self.network, spec)
        check_auxiliary("AlphaZero", self.weights, self.network, spec.model)
        check_reanalysed(self)
        check_replay(self)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> AlphaZeroLearner:
        if spec.model is None:
            raise TeguError(f"AlphaZero needs the rules of {spec.id}: name the game (environment=, --env or --game)")
        network = policy_value(self.network, key, spec, self.width, self.blocks, self.weights)
        average = None if self.ema is None else network
        return AlphaZeroLearner(network, self.optimizer().init(network), jnp.zeros((), jnp.int32), average)

    def networks(self, learner: AlphaZeroLearner) -> Sequence[tuple[str, Any]]:
        return (("", self.player(learner).network),)

    def player(self, learner: AlphaZeroLearner) -> PolicyValue:
        """The network that plays: the averaged one where there is one."""
        return learner.network if self.ema is None else learner.average

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def plan(
        self, learner: AlphaZeroLearner, positions: Position, key: jax.Array, *, simulations: int, explore: bool
    ) -> Search:
        """Search positions ``[B, ...]`` with as many ``simulations``; ``explore=False`` plays the best it finds."""
        positions = positions | {ACTION_MASK: positions[ACTION_MASK].astype(bool)}  # which may come as a MultiBinary's
        network = self.player(learner)
        given = known_rules(network.game, PolicyValue.__call__), network, positions, key
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

    def expected_end(self, learner: AlphaZeroLearner, positions: Position) -> dict[str, jax.Array]:
        """``"ownership"`` and ``"score"`` that are expected of the end of the game, where they are learned."""
        return self.player(learner).expected_end(positions)

    def begin(self, learner: AlphaZeroLearner, key: jax.Array, n: int) -> PyTree:
        """With how many random moves each game begins, int32 ``[n]``: from none to ``random_moves``."""
        return jax.random.randint(key, (n,), 0, self.random_moves + 1)

    @property
    def fork_probability(self) -> Any:
        return self.fork_fraction

    def fork(self, memory: PyTree) -> PyTree:
        """A forked game goes on with a random move, or with the random moves of its opening that were still to come
        (Wu 2019, appendix D)."""
        return jnp.maximum(memory, 1)

    def act(
        self, learner: AlphaZeroLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        search_key, random_key = jax.random.split(key)
        found, full = self.full_or_fast(learner, observation, search_key, explore=explore)
        random = (memory > 0) & explore
        noise = jax.random.uniform(random_key, found.policy.shape)
        legal = observation[ACTION_MASK].astype(bool)
        random_action = masked(noise, legal).argmax(axis=-1).astype(found.action.dtype)
        action = jnp.where(random, random_action, found.action)
        return Decision(action, memory - 1, extras=SearchResult(found.policy, found.value, random, full))

    def full_or_fast(
        self, learner: AlphaZeroLearner, positions: Position, key: jax.Array, *, explore: bool
    ) -> tuple[Search, jax.Array | None]:
        """A search of positions ``[B, ...]``, and whether it was a full one, bool ``[B]``: None where all are.

        Playout cap randomisation (Wu 2019, section 3.1): fast searches play the best they find, without noise. A coin
        decides for all positions at once, as all searches of a batch take equally many simulations. Where batches are
        ``vmap``-ped (on an accelerator), their coins differ, and both searches are computed.
        """
        fast = self.fast_simulations
        if fast is None or not explore:
            return self.plan(learner, positions, key, simulations=self.simulations, explore=explore), None
        coin_key, search_key = jax.random.split(key)
        search = partial(self.plan, learner, positions, search_key)
        full = jax.random.bernoulli(coin_key, self.full_search_fraction)
        found = jax.lax.cond(
            full,
            lambda: search(simulations=self.simulations, explore=True),
            lambda: search(simulations=fast, explore=False),
        )
        return found, jnp.broadcast_to(full, found.value.shape)

    def take(self, learner: AlphaZeroLearner, steps: Step) -> tuple[AlphaZeroLearner, Example]:
        """What was played in ``[T, B]``: each position with the search's policy and the outcome for its player.

        Before a random move, and where a game goes on after the last one, the outcome is what the search expected.
        """
        policy, value, random, full = steps.extras
        reward = own_reward(steps.reward, steps.observation["to_play"])
        outcome = outcomes(reward, steps.terminated & ~random, steps.truncated | random, value)
        auxiliary_targets = targets(learner.network.game, steps, self.weights) if self.weights else ()
        weight = None
        if self.soft_resign is not None:
            weight = weight_of(value, steps.terminated | steps.truncated, self.soft_resign)
        return learner, Example(steps.observation, policy, outcome, full, weight, auxiliary_targets)

    def update(self, learner: AlphaZeroLearner, batch: Batch, key: jax.Array) -> Update:
        """One gradient step on ``batch_size`` moves, each turned or mirrored at random."""
        game, examples = learner.network.game, batch.rows
        if self.n_reanalysed:
            key, search_key = jax.random.split(key)
            examples = self.reanalysed(learner, examples, search_key)
        index = jax.random.randint(key, examples.outcome.shape, 0, game.n_symmetries)
        planes = jax.vmap(game.features)(examples.position)
        planes, policy = jax.vmap(game.symmetric)(index, planes, examples.policy)
        # the symmetric image of the legal actions: what an illegal one's logit is does not matter
        _, legal = jax.vmap(game.symmetric)(index, planes, examples.position["action_mask"])
        auxiliary_targets = symmetric_targets(game, index, planes, policy, dict(examples.targets))

        def loss(network: PolicyValue) -> tuple[jax.Array, Metrics]:
            """Equation 1 of the paper: cross-entropy, squared error, the parameters' size; and auxiliary losses."""
            logits, value, others = network.predict(planes)
            log_prior = jax.nn.log_softmax(masked(logits, legal))
            policy_loss = mean_of(-(policy * log_prior).sum(axis=-1), examples.full, examples.weight)
            value_loss = mean_of((value - examples.outcome) ** 2, examples.weight)
            size = optax.tree.norm(network, squared=True)
            entropy = mean_of(-(policy * jnp.log(policy + 1e-9)).sum(axis=-1), examples.full, examples.weight)
            total = policy_loss + value_loss + self.l2 * size
            auxiliary = auxiliary_losses(others, auxiliary_targets)
            for name, weight in self.weights.items():
                total += weight * auxiliary[name]
            return total, {
                "loss": total,
                "policy_loss": policy_loss,
                "policy_kl": policy_loss - entropy,
                "value_loss": value_loss,
                **{f"{name}_loss": error for name, error in auxiliary.items()},
            }

        gradient, metrics = jax.grad(loss, has_aux=True)(learner.network)
        rate = self.learning_rate
        network, optimizer = descend(self.optimizer(), rate, learner.network, gradient, learner.optimizer)
        average = learner.average if self.ema is None else follow(learner.average, network, 1 - self.ema)
        learner = AlphaZeroLearner(network, optimizer, learner.updates + 1, average)
        return Update(learner, dict(metrics) | learning_metrics(rate, learner.updates))

    def reanalysed(self, learner: AlphaZeroLearner, examples: Example, key: jax.Array) -> Example:
        """Examples ``[batch_size, ...]``, of which the first ``n_reanalysed`` have the policy that a full search finds
        now (Schrittwieser et al. 2020, appendix H). They are a random draw, so that any others would do as well."""
        n = self.n_reanalysed
        positions = jax.tree.map(lambda leaf: leaf[:n], examples.position)
        found = self.plan(learner, positions, key, simulations=self.simulations, explore=True)
        policy = examples.policy.at[:n].set(found.policy)
        full = None if examples.full is None else examples.full.at[:n].set(True)
        return examples._replace(policy=policy, full=full)
