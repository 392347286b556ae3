"""AlphaZero's options: auxiliary heads, playout cap randomisation, averaged weights, boards of any size."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed
from scipy import stats

import tegu
from tegu.algorithms.alphazero import AlphaZero, Example
from tegu.algorithms.policy_value import PolicyValue, on_another_board
from tegu.algorithms.self_play_targets import Target
from tegu.arena.openings import openings
from tegu.arena.positions import begin
from tegu.core.errors import TeguError
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.go import Go
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.experience.base import Batch
from tegu.search.planning import Search
from tegu.training.plan import spec_of

GAME, KEY, N = Go(size=3, komi=0.5, max_moves=12), jax.random.key(0), 6
SPEC = spec_of("go-3x3", GAME, 4)
SMALL = {"width": 4, "blocks": 1, "simulations": 8, "batch_size": N, "network": "fully_conv"}
HEADS = {"ownership_weight": 1.5, "score_weight": 0.5, "reply_weight": 0.15}


def batch(seed, **changed):
    """Random positions with all that can be learned of them."""
    random = np.random.default_rng(seed)
    positions = openings(GAME, N, 4, jax.random.key(seed))
    weights = np.where(positions["action_mask"], random.random((N, 10)), 0)
    policy = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    known = np.arange(N) < 4
    targets = {
        "ownership": Target(random.integers(-1, 2, (N, 3, 3)).astype(np.int8), known),
        "score": Target(random.normal(size=N).astype(np.float32), known),
        "reply": Target(random.dirichlet(np.ones(10), N).astype(np.float32), known),
    }
    example = Example(positions, policy, random.choice([-1.0, 1.0], N).astype(np.float32), targets=targets)
    return Batch(example._replace(**changed), jnp.ones(N))


def fresh(algorithm):
    """A learner with larger weights than at the beginning, so that every term matters."""
    random, shapes = np.random.default_rng(0), jax.eval_shape(lambda: algorithm.init(KEY, SPEC))
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    drawn = jax.tree.map(lambda leaf: random.normal(0, 0.4, leaf.shape).astype(leaf.dtype), shapes.network)
    return nothing._replace(network=drawn, average=None if algorithm.ema is None else drawn)


@jax.jit
def update(algorithm, learner, given):
    return algorithm.update(learner, given, KEY)[:2]


def updated(algorithm, given, learner=None):
    """A learner after one update, and the metrics."""
    return update(algorithm, fresh(algorithm) if learner is None else learner, given)


def differ(some, others):
    return any((a != b).any() for a, b in zip(jax.tree.leaves(some), jax.tree.leaves(others), strict=True))


# Auxiliary heads


@pytest.mark.slow
@pytest.mark.parametrize(("network", "name"), [("mlp", "ownership"), ("conv", "score"), ("fully_conv", "reply")])
def test_each_weight_counts_its_own_loss_alone(network, name):
    """The total is the sum by weight, and what was there before stays as it was."""
    small, given = SMALL | {"network": network, "l2": 0.0}, batch(0)
    learner = fresh(AlphaZero(**small, **HEADS))
    _, every = updated(AlphaZero(**small, **HEADS), given, learner)
    expected = every["policy_loss"] + every["value_loss"]
    for each in ("ownership", "score", "reply"):
        expected += HEADS[f"{each}_weight"] * every[f"{each}_loss"]
    np.testing.assert_allclose(every["loss"], expected, rtol=1e-6)

    only = given._replace(rows=given.rows._replace(targets={name: given.rows.targets[name]}))
    algorithm = AlphaZero(**small, **{f"{name}_weight": 2.0})
    judge = learner.network
    judge = PolicyValue(judge.network, judge.game, {name: judge.auxiliary[name]})
    _, alone = updated(algorithm, only, fresh(algorithm)._replace(network=judge))
    assert {key for key in alone if key.endswith("_loss")} == {"policy_loss", "value_loss", f"{name}_loss"}
    for key in ("policy_loss", "value_loss", f"{name}_loss"):
        np.testing.assert_allclose(alone[key], every[key], rtol=1e-5)
    total = alone["policy_loss"] + alone["value_loss"] + 2 * alone[f"{name}_loss"]
    np.testing.assert_allclose(alone["loss"], total, rtol=1e-6)


@pytest.mark.slow
def test_what_is_not_known_is_not_learned():
    given, algorithm = batch(1), AlphaZero(**SMALL, **HEADS)

    def learned(where):
        """What is learned if targets are others ``where`` that is true."""
        targets = {
            name: Target(np.where(where.reshape((N,) + (1,) * (value.ndim - 1)), value[::-1], value), known)
            for name, (value, known) in given.rows.targets.items()
        }
        return updated(algorithm, given._replace(rows=given.rows._replace(targets=targets)))[0]

    known = given.rows.targets["score"].known
    learner = learned(np.zeros(N, bool))
    jax.tree.map(np.testing.assert_array_equal, learned(~known), learner)
    assert differ(learned(known), learner)


@pytest.mark.parametrize(
    ("game", "settings", "message"),
    [
        (
            ConnectFour(),
            {"network": "fully_conv"},
            "fully_conv needs a move for each .* connect-four has 7 moves on 6 x 7",
        ),
        (
            TicTacToe(),
            {"ownership_weight": 1.0},
            r"ownership_weight needs a game that defines ownership\(\), tic-tac-toe",
        ),
        (TicTacToe(), {"score_weight": 1.0}, r"score_weight needs a game that defines score\(\), tic-tac-toe does not"),
        (GAME, {"ema": 1.5}, "ema must be from 0 to 0.999, got 1.5"),
        (GAME, {"fast_simulations": 1}, "fast_simulations must be from 2 to 100,000, got 1"),
        (GAME, {"fork_fraction": 1.5}, "fork_fraction must be from 0 to 1, got 1.5"),
        (GAME, {"n_reanalysed": 300}, "n_reanalysed must be at most batch_size, got 300 and 256"),
        (GAME, {"reply_weight": -1.0}, "reply_weight must be at least 0, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(game, settings, message):
    with pytest.raises(TeguError, match=f"^AlphaZero: .*{message}") as caught:
        AlphaZero(**settings).validate(spec_of(game.id, game, 4))
    assert "\n" not in str(caught.value)


def test_options_fit_other_games_too():
    for settings in ({"network": "fully_conv"}, {"reply_weight": 0.1}, {"fast_simulations": 4}, {"ema": 0.9}):
        AlphaZero(**settings).validate(spec_of("tic-tac-toe", TicTacToe(), 4))


# Playout cap randomisation


class Told(AlphaZero):
    """It does not search: it says in the value how many simulations it was asked for, less a half if it may explore."""

    def plan(self, learner, positions, key, *, simulations, explore):
        nothing = jnp.zeros((len(positions["to_play"]), 10))
        value = jnp.full(len(nothing), simulations - 0.5 * explore)
        return Search(nothing[:, 0].astype(jnp.int32), nothing, value, nothing.astype(jnp.int32), nothing)


def test_as_many_searches_are_full_as_asked_and_all_of_a_batch_alike():
    algorithm, positions = Told(fast_simulations=4, full_search_fraction=0.25), openings(GAME, N, 2, KEY)

    def act(key):
        return algorithm.act(None, positions, jnp.zeros(N, jnp.int32), key, explore=True).extras

    found = jax.device_get(jax.jit(lambda: jax.lax.map(act, jax.random.split(KEY, 2000)))())
    assert (found.full == found.full[:, :1]).all()
    np.testing.assert_array_equal(found.value, np.where(found.full, 31.5, 4.0))
    assert stats.binomtest(int(found.full[:, 0].sum()), 2000, 0.25).pvalue > 1e-3


def test_evaluations_always_search_in_full():
    algorithm, positions = Told(fast_simulations=4, full_search_fraction=0.0), openings(GAME, N, 2, KEY)
    memory = jnp.zeros(N, jnp.int32)
    assert (algorithm.act(None, positions, memory, KEY, explore=False).extras.value == 32).all()
    assert (algorithm.act(None, positions, memory, KEY, explore=True).extras.value == 4).all()
    assert Told().act(None, positions, memory, KEY, explore=True).extras.full is None


def test_batches_have_coins_of_their_own():
    """Games that are batched with others, as seeds are on an accelerator, are searched as they would be alone."""
    algorithm, positions = Told(fast_simulations=4, full_search_fraction=0.5), openings(GAME, N, 2, KEY)
    memory, keys = jnp.zeros(N, jnp.int32), jax.random.split(KEY, 8)

    def value(key):
        return algorithm.act(None, positions, memory, key, explore=True).extras.value

    alone = np.stack([value(key) for key in keys])
    assert len(np.unique(alone)) > 1
    np.testing.assert_array_equal(jax.vmap(value)(keys), alone)


@pytest.mark.slow
def test_policies_of_fast_searches_are_not_learned_but_outcomes_are():
    algorithm, full = AlphaZero(fast_simulations=4, **SMALL), np.arange(N) < 2
    given = batch(2, full=full, targets=())
    learner, metrics = updated(algorithm, given)
    policy = np.where(full[:, None], given.rows.policy, given.rows.policy[:1])
    other, _ = updated(algorithm, given._replace(rows=given.rows._replace(policy=policy)))
    jax.tree.map(np.testing.assert_array_equal, learner, other)
    changed, _ = updated(algorithm, given._replace(rows=given.rows._replace(policy=given.rows.policy[::-1])))
    assert differ(learner, changed)
    changed, _ = updated(algorithm, given._replace(rows=given.rows._replace(outcome=-given.rows.outcome)))
    assert differ(learner, changed)
    _, every = updated(algorithm, batch(2, full=~full, targets=()))
    _, plain = updated(AlphaZero(**SMALL), batch(2, targets=()))
    mean = (2 * metrics["policy_loss"] + 4 * every["policy_loss"]) / 6
    np.testing.assert_allclose(mean, plain["policy_loss"], rtol=1e-5)


# Soft resignation


def test_moves_of_decided_games_count_for_a_tenth():
    algorithm, weight = AlphaZero(**SMALL, soft_resign=0.9), np.where(np.arange(N) < 2, 0.1, 1).astype(np.float32)
    _, some = updated(algorithm, batch(3, targets=(), weight=(weight < 1) * np.float32(0.1)))
    _, others = updated(algorithm, batch(3, targets=(), weight=(weight == 1) * np.float32(1)))
    _, every = updated(algorithm, batch(3, targets=(), weight=weight))
    for name in ("policy_loss", "value_loss", "policy_kl"):
        mean = (0.2 * some[name] + 4 * others[name]) / 4.2
        np.testing.assert_allclose(every[name], mean, rtol=1e-5, atol=1e-6, err_msg=name)
        assert abs(some[name] - others[name]) > 1e-3


# Reanalysis


@pytest.mark.slow
def test_policies_that_are_searched_again_are_learned_in_place_of_stored_ones():
    """Those of the first positions, by full searches with the network that plays; outcomes stay."""
    plain = AlphaZero(**SMALL, fast_simulations=4, ema=0.5)
    learner, given = fresh(plain), batch(4, targets=(), full=np.arange(N) % 2 == 0)
    learner = learner._replace(average=jax.tree.map(lambda leaf: leaf[::-1] if leaf.ndim else leaf, learner.average))
    update_key, search_key = jax.random.split(KEY)
    first = jax.tree.map(lambda leaf: leaf[:4], given.rows.position)
    found = jax.jit(partial(plain.plan, simulations=8, explore=True))(learner, first, search_key)
    policy = np.concatenate([found.policy, given.rows.policy[4:]])
    replaced = given.rows._replace(policy=policy, full=np.array([True, True, True, True, True, False]))
    expected = jax.jit(plain.update)(learner, Batch(replaced, given.weight), update_key)

    again = AlphaZero(**SMALL, fast_simulations=4, ema=0.5, n_reanalysed=4)
    actual = jax.jit(again.update)(learner, given, KEY)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), actual, expected)
    assert abs(found.policy - given.rows.policy[:4]).max() > 0.1
    other = jax.jit(plain.update)(learner, given, update_key)
    assert abs(other.metrics["policy_loss"] - actual.metrics["policy_loss"]) > 1e-3


# Averaged weights


class Flat(NamedTuple):
    """All parameters of the two networks of a learner."""

    latest: np.ndarray
    average: np.ndarray

    @classmethod
    def of(cls, learner):
        both = learner.network, learner.average
        return cls(*(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each)]) for each in both))


@pytest.mark.slow
def test_the_average_forgets_exponentially_and_plays():
    algorithm = AlphaZero(ema=0.8, learning_rate=0.05, **SMALL)
    learner = jax.jit(lambda: algorithm.init(KEY, SPEC))()
    expected = Flat.of(learner).latest
    np.testing.assert_array_equal(Flat.of(learner).average, expected)
    for seed in range(3):
        learner, _ = updated(algorithm, batch(seed, targets=()), learner)
        expected = 0.8 * expected + 0.2 * Flat.of(learner).latest
        np.testing.assert_allclose(Flat.of(learner).average, expected, rtol=1e-4, atol=1e-6)
    assert abs(expected - Flat.of(learner).latest).max() > 1e-3

    positions = openings(GAME, N, 2, KEY)
    plan = jax.jit(lambda learner: algorithm.plan(learner, positions, KEY, simulations=2, explore=False).value)
    value = plan(learner)
    np.testing.assert_array_equal(plan(learner._replace(network=learner.average)), value)
    assert (plan(learner._replace(average=learner.network)) != value).any()


def test_averaging_changes_nothing_of_what_is_learned():
    plain, _ = updated(AlphaZero(**SMALL), batch(0, targets=()))
    averaged, _ = updated(AlphaZero(ema=0.5, **SMALL), batch(0, targets=()))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), averaged._replace(average=None), plain)


# Boards of any size


@pytest.mark.slow
def test_parameters_of_one_board_judge_positions_of_another():
    algorithm, other = AlphaZero(ema=0.9, **SMALL, **HEADS), Go(size=4)
    learner, larger = fresh(algorithm), spec_of("go-4x4", other, 4)
    moved = on_another_board(learner, jax.jit(lambda: algorithm.init(jax.random.key(1), larger))())
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(moved), jax.tree.leaves(learner))
    logits, value = jax.jit(lambda positions: moved.network(positions))(begin(other, 3))
    assert (logits.shape, value.shape) == ((3, 17), (3,))
    dense = AlphaZero(**SMALL | {"network": "conv"})
    boards = [jax.eval_shape(lambda spec=spec: dense.init(KEY, spec)) for spec in (SPEC, larger)]
    with pytest.raises(TeguError, match="do not fit another board: train with network fully_conv"):
        on_another_board(*boards)


# Training with all of them

TRAINING = {"n_envs": 4, "train_freq": 64, "gradient_steps": 2, "buffer_size": 256, "simulations": 4, "random_moves": 1}
TRAINING |= {"width": 4, "blocks": 1, "batch_size": 16, "network": "fully_conv", "progress_bar": False}
LOOP = ("n_envs", "progress_bar")  # not hyper-parameters
EVERY = {**HEADS, "fast_simulations": 2, "full_search_fraction": 0.5, "ema": 0.9, "soft_resign": 0.5}
EVERY |= {"fork_fraction": 0.5, "n_reanalysed": 3}


@pytest.mark.long
def test_a_run_with_every_option_resumes_to_the_bit(tmp_path):
    given = {"steps": 192, "log_interval": 64, **TRAINING, **EVERY}
    whole = tegu.train(GAME, "alphazero", folder=tmp_path / "whole", **given)
    resumed = stopped_and_resumed(GAME, "alphazero", folder=tmp_path / "stopped", **given)
    assert_same(everything(resumed), everything(whole.run))
    loaded = tegu.load(resumed, environment=GAME)
    jax.tree.map(np.testing.assert_array_equal, loaded.learner(0), whole.learner(0))
    assert differ(whole.learner(0).average, whole.learner(0).network)


@pytest.mark.long
def test_a_run_moves_to_a_larger_board():
    larger, settings = Go(size=4, komi=0.5, max_moves=16), {"ema": 0.5, "ownership_weight": 1.0}
    algorithm = AlphaZero(**{name: value for name, value in TRAINING.items() if name not in LOOP}, **settings)
    phase = tegu.Phase(larger, algorithm, 128, on_another_board)
    loop = {name: TRAINING[name] for name in LOOP}
    moved = tegu.train(GAME, algorithm, steps=128, folder=None, then=phase, **loop).learner(0)
    assert moved.network.game == moved.average.game == larger
    assert int(moved.updates) == 4
