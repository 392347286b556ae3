"""AlphaGo: its losses in NumPy, the policy gradient over all games of a tiny game, and what its search mixes."""

import itertools
from dataclasses import replace

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.algorithms.alphago import PARTS, AlphaGo
from tegu.algorithms.alphago_losses import game_outcomes, imitation_loss, in_batches, policy_gradient_loss, value_loss
from tegu.arena.positions import begin, play
from tegu.core.errors import TeguError
from tegu.core.step import Step
from tegu.environments.base import Timestep
from tegu.environments.classic.cartpole import CartPole
from tegu.environments.games.base import Game, payoff
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.recorded import EXPERT, EXPERT_MOVE, RecordedGames, game_records
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.nn.local_policy import LocalPolicy
from tegu.search.rollouts import rollout
from tegu.training.plan import spec_of

GAME, KEY = TicTacToe(), jax.random.key(0)
SPEC = spec_of("tic-tac-toe", GAME, 4)
SMALL = {"width": 4, "blocks": 1, "simulations": 4, "pool_size": 3}


class Everywhere(eqx.Module):
    """A network of logits ``[A]`` that are the same everywhere, alone or with values ``[B]``."""

    logits: jax.Array
    value: jax.Array | None = None

    def __call__(self, planes):
        logits = jnp.broadcast_to(self.logits, (len(planes), len(self.logits)))
        return logits if self.value is None else (logits, self.value)


def logits_of(numbers):
    return Everywhere(jnp.asarray(numbers), jnp.zeros(()))


# Learning from the expert


@pytest.mark.slow
def test_the_supervised_loss_comes_down_to_the_entropy_of_the_experts_moves():
    """Two moves in the same position, played in three games of four and in one: no policy can do better."""
    games = game_records(GAME, np.array([[4], [4], [4], [0]]))
    algorithm = AlphaGo(learning_rate=0.05, l2=0.0, n_steps=1, stage="supervised", **SMALL)
    learner, one = algorithm.init(KEY, SPEC), batch_of(games, KEY)
    # the corner turns into any of four: the entropy of what is seen is larger by that of the corners
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25 / 4))

    @jax.jit
    def step(learner, key):
        updated = algorithm.update(learner, one, key)
        return updated.learner, updated.metrics

    for number in range(150):
        learner, metrics = step(learner, jax.random.fold_in(KEY, number))
    assert metrics["policy_loss"] == pytest.approx(entropy, abs=0.05)
    probability = jax.nn.softmax(learner.supervised(begin(GAME, 1))[0])[0]
    np.testing.assert_allclose(probability[4], 0.75, atol=0.05)
    np.testing.assert_allclose(probability[np.array([0, 2, 6, 8])], 0.25 / 4, atol=0.03)
    fast = jax.nn.softmax(learner.rollout(jax.vmap(GAME.features)(begin(GAME, 1))))[0]
    np.testing.assert_allclose(fast[4], 0.75, atol=0.05)  # only the centre has eight empty neighbours on the board


def batch_of(games, key):
    """Every game once, 16 times over: ``[1, 64]``."""
    world = RecordedGames.of(GAME, games)
    number = jnp.tile(jnp.arange(4), 16)
    first, _ = jax.vmap(GAME.reset)(jax.random.split(key, 64))
    observation = first | {EXPERT_MOVE: world.moves[number, 0], EXPERT: world.expert[number, 0]}
    decided = AlphaGo(stage="supervised").act(None, observation, jnp.zeros(64, jnp.int32), key, explore=True)
    now = jax.vmap(world.step)((first, number, jnp.zeros(64, jnp.int32)), decided.action, jax.random.split(key, 64))
    ends = now.terminated, now.truncated
    step = Step(observation, decided.action, now.reward, now.observation, *ends, decided.extras)
    return jax.tree.map(lambda leaf: leaf[None], step)


def test_imitation_is_cross_entropy_over_the_legal_moves():
    rng = np.random.default_rng(0)
    logits, legal = rng.normal(size=(2, 5)), np.array([1, 1, 0, 1, 0], bool)
    played = np.eye(5)[[0, 1, 3, 0]]
    planes, legals = np.zeros((4, 2, 2, 3), np.float32), np.tile(legal, (4, 1))
    networks = logits_of(logits[0]), Everywhere(jnp.asarray(logits[1]))
    total, metrics = imitation_loss(networks, planes, played, legals, np.array([1, 1, 1, 0], bool), 0.0)
    expected = []
    for row in logits:
        chance = np.where(legal, np.exp(row), 0)
        expected.append(-np.log((chance / chance.sum())[[0, 1, 3]]).mean())
    np.testing.assert_allclose([metrics["policy_loss"], metrics["rollout_policy_loss"]], expected, rtol=1e-5)
    np.testing.assert_allclose(total, sum(expected), rtol=1e-5)
    best = [np.where(legal, row, -np.inf).argmax() for row in logits]
    rates = [np.mean(np.array([0, 1, 3]) == move) for move in best]
    np.testing.assert_allclose([metrics["accuracy"], metrics["rollout_accuracy"]], rates)


# The policy gradient


class Pennies(Game):
    """Each player puts a coin on one of the squares that are free; the first wins with a product of at least 2."""

    id: str = eqx.field(static=True, kw_only=True, default="pennies")

    @property
    def observation_space(self):
        parts = {"board": gymnasium.spaces.Box(-1, 1, (1, 3), np.int8), "to_play": gymnasium.spaces.Discrete(2)}
        return gymnasium.spaces.Dict(parts | {"action_mask": gymnasium.spaces.MultiBinary(3)})

    @property
    def action_space(self):
        return gymnasium.spaces.Discrete(3)

    def reset(self, key):
        first = {"board": jnp.zeros((1, 3), jnp.int8), "to_play": jnp.int32(0), "action_mask": jnp.ones(3, bool)}
        return first, first

    def step(self, state, action, key):
        colour = (1 - 2 * state["to_play"]).astype(jnp.int8)
        board = state["board"].at[0, action].set(colour)
        over = state["to_play"] == 1
        mine, other = (board[0] == 1).argmax(), (board[0] == -1).argmax()
        winner = jnp.where(mine * 2 + other >= 3, 1, -1) * over
        after = {"board": board, "to_play": 1 - state["to_play"], "action_mask": (board[0] == 0) & ~over}
        return Timestep(after, after, payoff(winner), over)


@pytest.mark.slow
def test_the_policy_gradient_is_that_of_the_expected_outcome():
    """Every game of a tiny one, weighted by its probability, against the derivative of the expectation itself."""
    own, other = jnp.array([0.3, -0.2, 0.5]), np.array([0.1, 0.4, -0.3])
    wins = {(a, b): 1 if a * 2 + b >= 3 else -1 for a, b in itertools.permutations(range(3), 2)}

    def expected(logits):
        """Of the first player, who is the policy; the second is the opponent."""
        total = 0.0
        for (a, b), outcome in wins.items():
            reply = np.exp(other[b]) / sum(np.exp(other[c]) for c in range(3) if c != a)
            total += jax.nn.softmax(logits)[a] * reply * outcome
        return total

    def gradient(logits):
        """As the update has it, of one game after the other, weighted by how likely they are."""
        found = jnp.zeros(3)
        for (a, b), outcome in wins.items():
            reply = np.exp(other[b]) / sum(np.exp(other[c]) for c in range(3) if c != a)
            chance = jax.lax.stop_gradient(jax.nn.softmax(logits)[a]) * reply
            batch = game_of(Pennies(), a, b)
            z, first = game_outcomes(batch)
            assert z[:, 0].tolist() == [outcome, -outcome]
            given = jnp.zeros((2, 1, 1, 3, 2)), batch.action, batch.observation["action_mask"], z, first & batch.extras
            found += chance * jax.grad(lambda logits, given=given: policy_gradient_loss(logits_of(logits), *given))(
                logits
            )
        return -found

    np.testing.assert_allclose(gradient(own), jax.grad(expected)(own), rtol=1e-5, atol=1e-6)


def game_of(game, *actions, n=1):
    """The steps ``[T, 1]`` of a game; the first player's moves count."""
    position, steps = begin(game, n), []
    for action in actions:
        now = play(game, position, np.full(n, action))
        ends = now.terminated, np.zeros(n, bool)
        action = np.full(n, action, np.int32)
        steps.append(Step(position, action, now.reward, now.state, *ends, position["to_play"] == 0))
        position = now.state if not now.terminated[0] else begin(game, n)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)


def test_only_the_first_game_of_an_environment_counts_and_only_if_it_has_ended():
    wins = (0, 3, 1, 4, 2)
    z, first = game_outcomes(game_of(GAME, *wins, *wins, 5))
    assert first[:, 0].tolist() == [True] * 5 + [False] * 6
    assert z[:5, 0].tolist() == [1, -1, 1, -1, 1]
    assert not game_outcomes(game_of(GAME, 0, 3, 1))[1].any()


@pytest.mark.slow
def test_a_stage_of_policy_gradient_plays_an_opponent_and_fills_the_pool():
    """The new policy joins at every ``pool_every``-th update, in the place of the oldest, and nothing else changes."""
    algorithm = AlphaGo(stage="reinforced", n_steps=9, pool_every=2, reinforced_learning_rate=0.1, **SMALL)
    learner = algorithm.init(KEY, SPEC)
    assert all((leaf[0] == leaf[2]).all() for leaf in jax.tree.leaves(learner.pool))
    batch, seen = game_of(GAME, 0, 3, 1, 4, 2, n=4), []
    update = jax.jit(algorithm.update)
    for number in range(8):
        learner = update(learner, batch, jax.random.fold_in(KEY, number)).learner
        seen.append(np.asarray(learner.reinforced.network.policy.bias))
        assert 0 <= learner.opponent < 3
    kept = np.asarray(learner.pool.network.policy.bias)
    np.testing.assert_array_equal(kept, [seen[5], seen[7], seen[3]])  # updates 6, 8 (in the place of 2) and 4
    assert int(learner.updates["reinforced"]) == 8
    start = algorithm.init(KEY, SPEC)
    assert eqx.tree_equal(learner.supervised, start.supervised)
    assert eqx.tree_equal(learner.value, start.value)


@pytest.mark.slow
def test_the_improved_policy_starts_as_the_supervised_one():
    learners = jax.vmap(lambda key: AlphaGo(**SMALL).init(key, SPEC))(jax.random.split(KEY, 2))
    changed = learners._replace(supervised=jax.tree.map(lambda leaf: leaf + 1, learners.supervised))
    begun = AlphaGo(**SMALL).starting_from_supervised(changed, learners)
    assert eqx.tree_equal(begun.reinforced, changed.supervised)
    for pool, leaf in zip(jax.tree.leaves(begun.pool), jax.tree.leaves(changed.supervised), strict=True):
        np.testing.assert_array_equal(pool, np.stack([leaf] * 3, axis=1))
    assert eqx.tree_equal(begun.value, learners.value)


@pytest.mark.slow
def test_who_plays_which_move_in_the_policy_gradient():
    """The policy plays the side that the memory names, its opponent the other."""
    algorithm = AlphaGo(stage="reinforced", **SMALL)
    learner = certain(algorithm, supervised=0, reinforced=1, pool=2)
    after = play(GAME, begin(GAME, 4), np.full(4, 8)).state
    memory = jnp.array([0, 1, 0, 1], jnp.int32)
    for position, turn in ((begin(GAME, 4), 0), (after, 1)):
        decided = algorithm.act(learner, position, memory, KEY, explore=True)
        own = (np.arange(4) % 2 == turn).tolist()
        assert decided.extras.tolist() == own
        assert decided.action.tolist() == [1 if mine else 2 for mine in own]
    assert set(np.unique(algorithm.begin(learner, KEY, 64))) == {0, 1}


def certain(algorithm, **moves):
    """A learner whose policies play one move each, if it is legal."""
    learner = algorithm.init(KEY, SPEC)
    for name, move in moves.items():
        policy = getattr(learner, name)
        shape = policy.network.policy.bias.shape
        bias = jnp.zeros(shape).at[..., move].set(1e4)
        learner = learner._replace(**{name: eqx.tree_at(lambda p: p.network.policy.bias, policy, bias)})
    return learner


# The value network


@pytest.mark.slow
def test_games_for_the_value_network_are_begun_by_the_supervised_policy():
    """Then comes a random move, and from there on the improved policy, whose positions count."""
    algorithm = AlphaGo(stage="value", **SMALL)
    learner = certain(algorithm, supervised=0, reinforced=1)
    memory = jnp.array([2, 1, 0, -1, -2], jnp.int32)
    position = begin(GAME, 5)
    decided = algorithm.act(learner, position, memory, KEY, explore=True)
    assert decided.action[np.array([0, 1, 3, 4])].tolist() == [0, 0, 1, 1]
    assert decided.extras.tolist() == [False, False, False, True, True]
    assert decided.memory.tolist() == [1, 0, -1, -2, -3]
    one = replace(algorithm, one_position=True).act(learner, position, memory, KEY, explore=True)
    assert one.extras.tolist() == [False, False, False, True, False]
    random = algorithm.act(learner, begin(GAME, 500), jnp.zeros(500, jnp.int32), KEY, explore=True).action
    assert np.bincount(random, minlength=9).min() > 500 / 9 / 2
    assert set(np.unique(algorithm.begin(learner, KEY, 500))) == set(range(9))


def test_the_value_loss_is_the_squared_error_of_the_positions_that_count():
    rng = np.random.default_rng(1)
    values, outcome, counts = rng.normal(size=6), rng.choice([-1.0, 1.0], size=6), np.array([1, 0, 1, 1, 0, 0], bool)

    network = Everywhere(jnp.zeros(3), jnp.asarray(values))
    total, metrics = value_loss(network, np.zeros((6, 1, 1, 2)), outcome, counts, 0.0)
    expected = np.mean((values - outcome)[counts] ** 2)
    np.testing.assert_allclose([total, metrics["value_loss"]], expected, rtol=1e-5)
    none, _ = value_loss(network, np.zeros((6, 1, 1, 2)), outcome, np.zeros(6, bool), 0.0)
    assert none == 0


def test_batches_hold_whole_games():
    moves = jnp.arange(3)[:, None] + 10 * jnp.arange(4)  # [T, B]: 10 * game + move
    assert in_batches(moves, 2).tolist() == [[0, 1, 2, 10, 11, 12], [20, 21, 22, 30, 31, 32]]


@pytest.mark.slow
def test_the_value_network_learns_who_wins():
    """From the positions of a game that the first player wins."""
    algorithm = AlphaGo(stage="value", learning_rate=0.02, l2=0.0, value_batches=2, **SMALL | {"width": 16})
    learner, batch = algorithm.init(KEY, SPEC), game_of(GAME, 0, 3, 1, 4, 2, n=4)
    batch = batch._replace(extras=jnp.ones_like(batch.extras))
    update = jax.jit(algorithm.update)
    for number in range(60):
        found = update(learner, batch, jax.random.fold_in(KEY, number))
        learner = found.learner
    assert found.metrics["value_loss"] < 0.05
    position = jax.tree.map(lambda leaf: leaf[:, 0], batch.observation)
    np.testing.assert_allclose(learner.value(position)[1], [1, -1, 1, -1, 1], atol=0.3)
    assert int(learner.updates["value"]) == 120


# Rollouts and the search


def test_patterns_tell_all_neighbourhoods_apart():
    from tegu.nn.local_policy import PATTERNS, patterns

    rng = np.random.default_rng(0)
    stones = rng.integers(3, size=(20, 4, 4))
    planes = np.stack([stones == 1, stones == 2], axis=-1).astype(np.float32)
    found = np.asarray(patterns(jnp.asarray(planes)))
    framed = np.pad(stones, ((0, 0), (1, 1), (1, 1)), constant_values=3)
    seen = {}
    for index, code in np.ndenumerate(found):
        board, row, column = index
        around = np.delete(framed[board, row : row + 3, column : column + 3].ravel(), 4)
        assert seen.setdefault(int(code), around.tolist()) == around.tolist()
    assert len(set(map(tuple, seen.values()))) == len(seen)
    assert 0 <= found.min() <= found.max() < PATTERNS
    passes = LocalPolicy(KEY, 2, passes=True)(jnp.asarray(planes))
    assert passes.shape == (20, 17)


def test_rollouts_draw_from_the_policy():
    """From a position two moves before the end: the outcome's mean is the expectation under the policy."""
    position = begin(GAME, 1)
    for move in (0, 3, 1, 4, 8, 2, 6):  # X O at 5 or 7: the second player wins with 5, else the first fills 5 or draws
        position = play(GAME, position, np.array([move])).state
    weights = np.zeros(9)
    weights[5], weights[7] = 1.0, 0.0
    chance = np.exp(1) / (np.exp(1) + 1)  # of 5
    outcomes = []

    @jax.jit
    def one(key):
        return rollout(GAME, lambda now: jnp.broadcast_to(jnp.asarray(weights), (1, 9)), position, key)[0]

    outcomes = jax.vmap(one)(jax.random.split(KEY, 4000))
    replies = [play(GAME, position, np.array([move])) for move in (5, 7)]
    results = []
    for reply in replies:
        while not reply.terminated[0]:
            move = np.flatnonzero(reply.state["action_mask"][0])[:1]
            reply = play(GAME, reply.state, move)
        results.append(reply.reward["second"][0])  # who is to move
    expected = chance * results[0] + (1 - chance) * results[1]
    assert results[0] != results[1]
    np.testing.assert_allclose(outcomes.mean(), expected, atol=0.06)


def test_a_rollout_of_a_game_that_is_over_is_worth_nothing():
    over = play(
        GAME, jax.tree.map(lambda leaf: np.asarray(leaf[-1]), game_of(GAME, 0, 3, 1, 4, 2).observation), np.array([2])
    )
    assert over.terminated.all()
    assert rollout(GAME, lambda now: jnp.zeros((1, 9)), over.state, KEY).tolist() == [0]


@pytest.fixture(scope="module")
def learner():
    return AlphaGo(**SMALL).init(KEY, SPEC)


POSITIONS = jax.tree.map(lambda leaf: np.concatenate([leaf] * 3), play(GAME, begin(GAME, 1), np.array([4])).state)


@pytest.mark.slow
def test_values_are_mixed_as_told(learner):
    """(1 - lambda) v + lambda z, of the same rollout: lambda 0 and 1 are the value network and the rollouts alone."""
    given = (learner, KEY), POSITIONS
    parts = {name: AlphaGo(parts=name, **SMALL).evaluate(*given) for name in ("vp", "rp", "rv")}
    v, z = parts["vp"][1], parts["rp"][1]
    assert set(np.unique(z)) <= {-1.0, 0.0, 1.0}
    for mixing in (0.0, 0.5, 0.25, 1.0):
        logits, mixed = AlphaGo(mixing=mixing, **SMALL).evaluate(*given)
        np.testing.assert_allclose(mixed, (1 - mixing) * v + mixing * z, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(logits, learner.supervised(POSITIONS)[0])
    fast = learner.rollout(jax.vmap(GAME.features)(POSITIONS))
    np.testing.assert_array_equal(parts["rv"][0], fast)
    np.testing.assert_array_equal(AlphaGo(parts="v", **SMALL).evaluate(*given)[1], v)
    np.testing.assert_array_equal(AlphaGo(parts="r", **SMALL).evaluate(*given)[1], z)


def test_the_policy_alone_does_not_search(learner):
    alone = AlphaGo(parts="p", **SMALL)
    found = alone.plan(learner, POSITIONS, KEY, simulations=4, explore=False)
    logits = np.where(POSITIONS["action_mask"], learner.supervised(POSITIONS)[0], -np.inf)
    np.testing.assert_array_equal(found.action, logits.argmax(axis=-1))
    assert not found.visits.any()
    np.testing.assert_allclose(found.value, learner.value(POSITIONS)[1])


@pytest.mark.slow
@pytest.mark.parametrize("parts", [name for name in PARTS if name != "p"])
def test_every_part_searches(learner, parts):
    found = AlphaGo(parts=parts, **SMALL).plan(learner, POSITIONS, KEY, simulations=4, explore=False)
    assert found.visits.sum(axis=-1).tolist() == [4] * 3
    assert POSITIONS["action_mask"][np.arange(3), found.action].all()


# Stages, and what is wrong


def test_its_stages_share_the_steps(tmp_path):
    file = tmp_path / "games.npz"
    np.savez(file, moves=np.array([[4, 0, 8]]))
    algorithm = AlphaGo(expert_games=str(file), supervised_fraction=0.25, reinforced_fraction=0.5, **SMALL)
    stages = algorithm.stages(SPEC, 1000)
    assert [stage.steps for stage in stages] == [250, 500, 250]
    assert [stage.algorithm.stage for stage in stages] == ["supervised", "reinforced", "value"]
    assert isinstance(stages[0].environment(), RecordedGames)
    assert [stage.algorithm.experience.n_steps for stage in stages] == [4, 9, 9]
    assert [stage.algorithm.experience.whole for stage in stages] == [False, True, True]
    assert min(stage.steps for stage in algorithm.stages(SPEC, 1)) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"parts": "vpr"}, "^AlphaGo: parts must be one of rvp, vp, rp, rv, v, r, p, got 'vpr'"),
        ({"network": "resnet"}, "^AlphaGo: network must be one of mlp, conv, fully_conv, got 'resnet'"),
        ({"expert_level": 11}, "^AlphaGo: expert_level must be from 0 to 10, got 11"),
        ({"mixing": 1.5}, "^AlphaGo: mixing must be from 0 to 1, got 1.5"),
        ({"supervised_fraction": 0.6, "reinforced_fraction": 0.6}, "fraction come to 1.2, more than 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(settings, said):
    with pytest.raises(TeguError, match=said) as error:
        AlphaGo(**settings).validate(SPEC)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_it_needs_a_game_of_points_and_an_expert():
    with pytest.raises(TeguError, match="AlphaGo needs a board game in JAX, CartPole-v1 is not one"):
        AlphaGo().validate(spec_of("CartPole-v1", CartPole(), 1))
    with pytest.raises(TeguError, match="moves must be 42 points of the board or a pass, got 7"):
        AlphaGo().validate(spec_of("connect-four", ConnectFour(), 1))
    with pytest.raises(TeguError, match=r"GNU Go does not play tic-tac-toe: give a file of games .*expert_games"):
        tegu.train("tic-tac-toe", "alphago", steps=100, folder=None)
