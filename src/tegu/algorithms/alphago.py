"""AlphaGo (Silver et al. 2016): policies and values learned one after the other, and a search that uses them all."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.alphago_losses import (
    game_outcomes,
    imitation_loss,
    in_batches,
    in_random_symmetry,
    planes_of,
    policy_gradient_loss,
    value_loss,
)
from tegu.algorithms.base import Algorithm, Learner, Metrics, Stage, Update, learning_metrics, named
from tegu.algorithms.policy_value import NETWORKS, PolicyValue, planes_spec
from tegu.algorithms.ranges import (
    Count,
    Few,
    FewOrNone,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    Range,
    Rate,
    Several,
    Width,
)
from tegu.algorithms.self_play_targets import mean_of
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step, flatten_time
from tegu.environments.games.base import Game, Position
from tegu.environments.games.recorded import EXPERT, EXPERT_MOVE, RecordedGames
from tegu.experience.base import Rollout
from tegu.exploration import masked
from tegu.gtp.expert import expert_games
from tegu.nn.local_policy import LocalPolicy
from tegu.nn.optimizers import adam, descend
from tegu.search.planning import Search, known_rules, prior_alone, puct
from tegu.search.rollouts import rollout
from tegu.spaces.features import ACTION_MASK

STAGES = ("supervised", "reinforced", "value")
PARTS = ("rvp", "vp", "rp", "rv", "v", "r", "p")


class AlphaGoLearner(NamedTuple):
    supervised: (
        PolicyValue  #: the policy that imitates the expert, p_sigma in the paper; of each policy the logits count
    )
    rollout: LocalPolicy  #: the fast policy that imitates the expert, p_pi
    reinforced: PolicyValue  #: the policy improved by policy gradient, p_rho
    pool: PolicyValue  #: ``[pool_size, ...]``: earlier ones, its opponents
    opponent: jax.Array  #: int32: the index of the one that is played against until the next update
    value: PolicyValue  #: v_theta; it has no logits
    optimizers: dict[str, optax.OptState]  #: by stage
    updates: dict[str, jax.Array]  #: int32: gradient steps so far, by stage


class AlphaGo(Algorithm):
    """A policy learned from an expert's games and improved in self-play, a value network learned from the games of the
    improved one, and a search that mixes the value network with rollouts of a fast policy.

    It trains in three stages, each a phase of one run. ``act`` explores as the stage does to collect what it learns
    from, else it searches.
    """

    multi_agent: ClassVar[bool] = True
    plans: ClassVar[bool] = True
    name: str = named("alphago")

    expert_games: str | None = eqx.field(static=True, default=None)  #: file of an expert's games; none: GNU Go plays
    n_expert_games: Count = eqx.field(static=True, default=1000)  #: games that GNU Go plays
    expert_level: Annotated[int, Range(0, 10)] = eqx.field(static=True, default=1)  #: GNU Go's level
    expert_opening: Natural = eqx.field(static=True, default=4)  #: most random moves before GNU Go's
    expert_seed: Natural = eqx.field(static=True, default=0)  #: random seed of GNU Go's games, whatever the run's
    supervised_fraction: Fraction = 0.2  #: fraction of the steps that go into learning from the expert
    reinforced_fraction: Fraction = 0.3  #: fraction that goes into the policy gradient; the value network gets the rest
    n_steps: Count = eqx.field(static=True, default=4)  #: moves of each recorded game between two supervised updates
    learning_rate: Rate = 1e-3  #: Adam's learning rate of what imitates and of the value network, or a schedule
    reinforced_learning_rate: Rate = 1e-4  #: the same of the policy gradient
    pool_size: Few = eqx.field(static=True, default=8)  #: earlier policies that are kept as opponents
    pool_every: Count = eqx.field(static=True, default=10)  #: updates between two policies that join the pool
    one_position: bool = eqx.field(static=True, default=False)  #: learn the value of one position of a game, not of all
    value_batches: Count = eqx.field(static=True, default=8)  #: batches, and updates, at most, from each round of games
    l2: NonNegative = 1e-4  #: weight of the squared parameters in the supervised and the value loss
    max_grad_norm: Positive = 1.0  #: the gradient's norm is clipped to this
    parts: str = eqx.field(static=True, default="rvp")  #: what plays: r rollouts, v value network, p policy network
    simulations: Several = eqx.field(static=True, default=64)  #: simulations of each search
    mixing: Fraction = 0.5  #: weight of the rollout's outcome beside the value network's, lambda in the paper
    c_puct: NonNegative = 1.25  #: exploration constant of the search, the weight of the prior
    network: str = eqx.field(static=True, default="mlp")  #: mlp, conv or fully_conv, of the policies and the values
    width: Width = eqx.field(static=True, default=128)  #: units (mlp) or channels (conv) of each residual block
    blocks: FewOrNone = eqx.field(static=True, default=3)  #: residual blocks
    stage: str = eqx.field(static=True, kw_only=True, default="value", metadata={"derived": True})

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, whole=self.stage != "supervised")

    def validate(self, spec: EnvironmentSpec) -> None:
        game = spec.model
        if not isinstance(game, Game):
            raise TeguError(f"AlphaGo needs a board game in JAX, {spec.id} is not one")
        if (actions := int(spec.action_space.n)) not in (game.points, game.points + 1):
            raise TeguError(f"AlphaGo: moves must be {game.points} points of the board or a pass, got {actions}")
        for name, known in (("network", tuple(NETWORKS)), ("parts", PARTS)):
            if getattr(self, name) not in known:
                raise TeguError(f"AlphaGo: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        if (learned := self.supervised_fraction + self.reinforced_fraction) > 1:
            raise TeguError(f"AlphaGo: supervised_fraction and reinforced_fraction come to {learned:g}, more than 1")

    def stages(self, spec: EnvironmentSpec, steps: int) -> Sequence[Stage]:
        """Learn from the expert's games, improve the policy against its past, learn the value of its games."""
        asked = {"n": self.n_expert_games, "level": self.expert_level, "opening": self.expert_opening}
        games = partial(expert_games, spec.model, self.expert_games, **asked, seed=self.expert_seed)
        first, second = (max(round(steps * part), 1) for part in (self.supervised_fraction, self.reinforced_fraction))
        whole = {"n_steps": spec.model.most_moves}
        return (
            Stage(replace(self, stage="supervised"), first, lambda: RecordedGames.of(spec.model, games())),
            Stage(replace(self, stage="reinforced", **whole), second, hand_over=self.starting_from_supervised),
            Stage(replace(self, stage="value", **whole), max(steps - first - second, 1)),
        )

    def starting_from_supervised(self, learners: Learner, fresh: Learner) -> Learner:
        """Learners ``[S, ...]`` whose reinforced policy, and all opponents in the pool, are the supervised policy."""
        pool = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], self.pool_size, axis=1), learners.supervised)
        return learners._replace(reinforced=learners.supervised, pool=pool)

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> AlphaGoLearner:
        if spec.model is None:
            raise TeguError(f"AlphaGo needs the rules of {spec.id}: name the game (environment=, --env or --game)")
        shape, actions = planes_spec(spec).observation_space.shape, int(spec.action_space.n)
        policy_key, value_key, rollout_key = jax.random.split(key, 3)
        made, size = NETWORKS[self.network], (self.width, self.blocks)
        policy = PolicyValue(made(policy_key, shape, actions, *size), spec.model)
        value = PolicyValue(made(value_key, shape, 0, *size), spec.model)
        fast = LocalPolicy(rollout_key, shape[-1], passes=actions > spec.model.points)
        learned = dict(zip(STAGES, ((policy.network, fast), policy.network, value.network), strict=True))
        return AlphaGoLearner(
            policy,
            fast,
            policy,
            jax.tree.map(lambda leaf: jnp.repeat(leaf[None], self.pool_size, axis=0), policy),
            jnp.zeros((), jnp.int32),
            value,
            {stage: self.optimizer().init(part) for stage, part in learned.items()},
            {stage: jnp.zeros((), jnp.int32) for stage in STAGES},
        )

    def networks(self, learner: AlphaGoLearner) -> Sequence[tuple[str, Any]]:
        return (("policy", learner.supervised.network), ("value", learner.value.network))

    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.max_grad_norm)

    def plan(
        self, learner: AlphaGoLearner, positions: Position, key: jax.Array, *, simulations: int, explore: bool
    ) -> Search:
        """Search positions ``[B, ...]`` with as many ``simulations``; ``explore`` draws the move from the visits.

        The policy network alone (``parts`` p) does not search.
        """
        positions = positions | {ACTION_MASK: positions[ACTION_MASK].astype(bool)}  # which may come as a MultiBinary's
        key, rollout_key = jax.random.split(key)
        if self.parts == "p":
            return prior_alone(self.evaluate, (learner, rollout_key), positions, key, explore=explore)
        return puct(
            known_rules(learner.supervised.game, self.evaluate),
            (learner, rollout_key),
            positions,
            key,
            simulations=simulations,
            c_init=self.c_puct,
            dirichlet_fraction=0.0,
            temperature=1.0 if explore else 0.0,
        )

    def evaluate(self, given: tuple[AlphaGoLearner, jax.Array], positions: Position) -> tuple[jax.Array, jax.Array]:
        """Prior logits ``[B, A]`` and the mixed value (1 - lambda) v + lambda z ``[B]`` of positions ``[B, ...]``.

        ``given``: the learner, and the key of the rollouts.
        """
        learner, key = given
        game = learner.supervised.game

        def fast(positions: Position) -> jax.Array:
            return learner.rollout(jax.vmap(game.features)(positions))

        logits = learner.supervised(positions)[0] if "p" in self.parts else fast(positions)
        if "r" not in self.parts:
            return logits, learner.value(positions)[1]
        outcome = rollout(game, fast, positions, key)
        if "v" not in self.parts:
            return logits, outcome
        return logits, (1 - self.mixing) * learner.value(positions)[1] + self.mixing * outcome

    def begin(self, learner: AlphaGoLearner, key: jax.Array, n: int) -> PyTree:
        """int32 ``[n]``. Reinforced: which player the policy is; value: how many moves there are before the random one,
        U - 1 in the paper."""
        most = {"supervised": 1, "reinforced": 2, "value": learner.supervised.game.points}[self.stage]
        return jax.random.randint(key, (n,), 0, most)

    def act(
        self, learner: AlphaGoLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        """Decide. What ``update`` sees again is which moves count."""
        if not explore:
            found = self.plan(learner, observation, key, simulations=self.simulations, explore=False)
            return Decision(found.action, memory, jnp.ones(memory.shape, bool))
        if self.stage == "supervised":
            return Decision(observation[EXPERT_MOVE], memory, observation[EXPERT])
        legal = observation[ACTION_MASK].astype(bool)
        logits = learner.reinforced(observation)[0]
        if self.stage == "reinforced":
            opponent = jax.tree.map(lambda leaf: leaf[learner.opponent], learner.pool)
            counts, after = observation["to_play"] == memory, memory
            logits = jnp.where(counts[:, None], logits, opponent(observation)[0])
        else:
            counts, after = memory == -1 if self.one_position else memory < 0, memory - 1
            logits = jnp.where((memory > 0)[:, None], learner.supervised(observation)[0], logits)
            logits = jnp.where((memory == 0)[:, None], 0.0, logits)
        return Decision(jax.random.categorical(key, masked(logits, legal)).astype(jnp.int32), after, counts)

    def update(self, learner: AlphaGoLearner, batch: Step, key: jax.Array) -> Update:
        """Gradient steps on the moves of a rollout ``[T, B, ...]``."""
        updated = {"supervised": self.imitate, "reinforced": self.reinforce, "value": self.fit_value}[self.stage]
        learner, metrics = updated(learner, batch, key)
        return Update(learner, dict(metrics) | learning_metrics(self.rate, learner.updates[self.stage]))

    @property
    def rate(self) -> Any:
        """The learning rate of the stage."""
        return self.reinforced_learning_rate if self.stage == "reinforced" else self.learning_rate

    def imitate(self, learner: AlphaGoLearner, batch: Step, key: jax.Array) -> tuple[AlphaGoLearner, Metrics]:
        """One gradient step of both policies towards the expert's moves, each turned or mirrored at random."""
        game, steps = learner.supervised.game, flatten_time(batch)
        legal = steps.observation[ACTION_MASK]
        played = jax.nn.one_hot(steps.action, legal.shape[-1])
        planes, *policies = in_random_symmetry(game, key, planes_of(game, steps.observation, 1), played, legal)
        networks = learner.supervised.network, learner.rollout
        gradient, metrics = jax.grad(imitation_loss, has_aux=True)(networks, planes, *policies, steps.extras, self.l2)
        (network, fast), learner = self.gradient_step(learner, networks, gradient)
        return learner._replace(supervised=PolicyValue(network, game), rollout=fast), metrics

    def reinforce(self, learner: AlphaGoLearner, batch: Step, key: jax.Array) -> tuple[AlphaGoLearner, Metrics]:
        """One step along the policy gradient (REINFORCE) of a game in each environment, and a new opponent."""
        game, position = learner.supervised.game, batch.observation
        outcome, first = game_outcomes(batch)
        counts = first & batch.extras
        given = planes_of(game, position, 2), batch.action, position[ACTION_MASK], outcome, counts
        loss, gradient = jax.value_and_grad(policy_gradient_loss)(learner.reinforced.network, *given)
        network, learner = self.gradient_step(learner, learner.reinforced.network, gradient)
        reinforced, done = PolicyValue(network, game), learner.updates["reinforced"]
        joins, place = done % self.pool_every == 0, done // self.pool_every % self.pool_size
        pool = jax.tree.map(
            lambda kept, new: kept.at[place].set(jnp.where(joins, new, kept[place])), learner.pool, reinforced
        )
        opponent = jax.random.randint(key, (), 0, self.pool_size)
        learner = learner._replace(reinforced=reinforced, pool=pool, opponent=opponent)
        return learner, {"policy_loss": loss, "outcome_against_pool": mean_of(outcome, counts)}

    def fit_value(self, learner: AlphaGoLearner, batch: Step, key: jax.Array) -> tuple[AlphaGoLearner, Metrics]:
        """Gradient steps of the value network towards the outcomes of a game in each environment, each on some of the
        games, positions turned or mirrored at random."""
        game = learner.supervised.game
        outcome, first = game_outcomes(batch)
        planes = planes_of(game, batch.observation, 2)
        n_actions = batch.observation[ACTION_MASK].shape[-1]
        batches = math.gcd(self.value_batches, outcome.shape[1])

        def step(learner: AlphaGoLearner, given: tuple[jax.Array, ...]) -> tuple[AlphaGoLearner, Metrics]:
            key, planes, *known = given
            planes, _ = in_random_symmetry(game, key, planes, jnp.zeros((len(planes), n_actions)))
            gradient, metrics = jax.grad(value_loss, has_aux=True)(learner.value.network, planes, *known, self.l2)
            network, learner = self.gradient_step(learner, learner.value.network, gradient)
            return learner._replace(value=PolicyValue(network, game)), metrics

        given = (in_batches(leaf, batches) for leaf in (planes, outcome, first & batch.extras))
        learner, metrics = jax.lax.scan(step, learner, (jax.random.split(key, batches), *given))
        return learner, {name: values.mean() for name, values in metrics.items()}

    def gradient_step(self, learner: AlphaGoLearner, networks: Any, gradient: Any) -> tuple[Any, AlphaGoLearner]:
        """The stage's ``networks`` after a step against the ``gradient``, and the learner that has counted it."""
        state, count = learner.optimizers[self.stage], learner.updates[self.stage]
        networks, state = descend(self.optimizer(), self.rate, networks, gradient, state)
        optimizers, updates = learner.optimizers | {self.stage: state}, learner.updates | {self.stage: count + 1}
        return networks, learner._replace(optimizers=optimizers, updates=updates)
