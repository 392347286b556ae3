"""The rules of the board games, against counts that others have published and rules written out naively."""

from functools import cache
from itertools import pairwise

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegu.core.errors import TeguError
from tegu.environments.games.base import PLAYERS, own_reward
from tegu.environments.games.connect_four import ConnectFour, four_in_a_line
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.environments.make import make

GAMES = [TicTacToe(), ConnectFour()]
every_game = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.id)
KEY = jax.random.key(0)


@cache
def compiled(game):
    return jax.jit(game.step), jax.jit(jax.vmap(game.step, in_axes=(0, 0, None)))


def start(game):
    return jax.device_get(game.reset(KEY)[0])


def advance(game, positions):
    """Every legal move in every position [N, ...]: the time steps, as NumPy [M, ...]."""
    rows, actions = np.nonzero(positions["action_mask"])
    padded = 1 << (len(rows) - 1).bit_length()  # few different shapes to compile
    rows, actions = (np.pad(index, (0, padded - len(index)), mode="edge") for index in (rows, actions))
    timesteps = compiled(game)[1]({name: leaf[rows] for name, leaf in positions.items()}, actions, KEY)
    legal = positions["action_mask"].sum()
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:legal], timesteps._replace(truncated=()))


def play(game, actions):
    """The time steps of one game."""
    position, steps = start(game), []
    for action in actions:
        steps.append(jax.device_get(compiled(game)[0](position, np.int32(action), KEY)))
        position = steps[-1].state
        if steps[-1].terminated:
            break
    return steps


def distinct(positions):
    flat = positions["board"].reshape(len(positions["board"]), -1)
    _, index = np.unique(flat, axis=0, return_index=True)
    return {name: leaf[index] for name, leaf in positions.items()}


@pytest.mark.slow
def test_every_game_of_tic_tac_toe():
    """255,168 games: of 5 to 9 moves 1440, 5328, 47952, 72576 and 127872; won, lost and drawn as known."""
    game = TicTacToe()
    positions = jax.tree.map(lambda leaf: leaf[None], start(game))
    boards, lengths, results = [positions["board"]], [], np.zeros(3, int)
    for _ in range(9):
        timesteps = advance(game, positions)
        boards.append(timesteps.state["board"])
        over = timesteps.terminated
        lengths.append(over.sum())
        results += np.bincount(timesteps.reward["first"][over].astype(int) + 1, minlength=3)
        positions = {name: leaf[~over] for name, leaf in timesteps.state.items()}
    assert len(positions["board"]) == 0
    assert lengths == [0, 0, 0, 0, 1440, 5328, 47952, 72576, 127872]
    assert results.tolist() == [77904, 46080, 131184]
    assert len(np.unique(np.concatenate(boards).reshape(-1, 9), axis=0)) == 5478


@pytest.mark.slow
def test_the_positions_of_connect_four_by_ply():
    """https://oeis.org/A212693, which John Tromp counted. Won positions count and are not played on."""
    game = ConnectFour()
    positions, counts = jax.tree.map(lambda leaf: leaf[None], start(game)), [1]
    for _ in range(7):
        timesteps = advance(game, positions)
        reached = distinct(timesteps.state | {"over": timesteps.terminated})
        counts.append(len(reached["board"]))
        positions = {name: leaf[~reached["over"]] for name, leaf in reached.items() if name != "over"}
    assert counts == [1, 7, 49, 238, 1120, 4263, 16422, 54859]


def test_four_in_a_line_found_naively():
    random = np.random.default_rng(0)
    boards = random.random((5000, 6, 7)) < random.uniform(0.2, 0.7, (5000, 1, 1))

    def naive(stones):
        directions = ((0, 1), (1, 0), (1, 1), (1, -1))
        return any(
            all(0 <= r + i * a < 6 and 0 <= c + i * b < 7 and stones[r + i * a, c + i * b] for i in range(4))
            for r in range(6)
            for c in range(7)
            for a, b in directions
        )

    expected = [naive(board) for board in boards]
    assert 0.1 < np.mean(expected) < 0.9
    np.testing.assert_array_equal(jax.jit(jax.vmap(four_in_a_line))(boards), expected)


def test_connect_four_by_hand():
    game = ConnectFour()
    assert play(game, [0, 1] * 3 + [0])[-1].reward == {"first": 1, "second": -1}
    assert play(game, [6, 0, 1, 0, 2, 0, 4, 0])[-1].reward == {"first": -1, "second": 1}
    full = [0] * 6 + [1] * 6 + [2] * 6 + [6] + [3] * 6 + [4] * 6 + [5] * 6 + [6] * 5
    *before, last = play(game, full)
    assert not any(step.terminated for step in before)
    assert last.terminated
    assert (len(before), last.reward) == (41, {"first": 0, "second": 0})


@pytest.mark.slow
@every_game
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_holds_in_every_game(game, seed):
    random, position, reward, over = np.random.default_rng(seed), start(game), None, False
    plies, dtypes = 0, {leaf: array.dtype for leaf, array in position.items()}
    while not over:
        assert game.observation_space.contains(position)
        assert position["to_play"] == plies % 2
        assert np.abs(position["board"]).sum() == plies
        assert reward is None or reward == {"first": 0, "second": 0}
        action = random.choice(np.flatnonzero(position["action_mask"]))
        timestep = jax.device_get(compiled(game)[0](position, np.int32(action), KEY))
        changed = timestep.state["board"] - position["board"]
        assert changed.sum() == 1 - 2 * position["to_play"]
        assert np.count_nonzero(changed) == 1
        assert jax.tree.map(np.array_equal, timestep.state, timestep.observation) == dict.fromkeys(position, True)
        assert {leaf: array.dtype for leaf, array in timestep.state.items()} == dtypes
        plies, position, reward, over = plies + 1, timestep.state, timestep.reward, timestep.terminated
    assert reward["first"] + reward["second"] == 0
    assert set(reward) == set(PLAYERS) == set(game.agents)
    assert own_reward(reward, 1 - position["to_play"]) in (0, 1)  # nobody loses by a legal move
    assert not position["action_mask"].any()


@every_game
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_illegal_action_loses(game, seed):
    random, position = np.random.default_rng(seed), start(game)
    while True:
        illegal = np.flatnonzero(~position["action_mask"])
        if len(illegal) and random.random() < 0.3:
            break
        action = random.choice(np.flatnonzero(position["action_mask"]))
        timestep = jax.device_get(compiled(game)[0](position, np.int32(action), KEY))
        if timestep.terminated:
            return
        position = timestep.state
    timestep = jax.device_get(compiled(game)[0](position, np.int32(random.choice(illegal)), KEY))
    assert timestep.terminated
    assert own_reward(timestep.reward, position["to_play"]) == -1
    assert own_reward(timestep.reward, 1 - position["to_play"]) == 1
    np.testing.assert_array_equal(timestep.state["board"], position["board"])
    assert timestep.state["to_play"] == 1 - position["to_play"]


@pytest.mark.slow
@every_game
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_mirrored_game_is_the_same_game(game, seed):
    """Playing the image of each move leads to the image of each position, with the same rewards."""
    random, n_actions, symmetric = np.random.default_rng(seed), int(game.action_space.n), jax.jit(game.symmetric)
    for index in range(game.n_symmetries):
        position = mirrored = start(game)
        over = False
        while not over:
            features, policy = symmetric(index, game.features(position), position["action_mask"])
            np.testing.assert_array_equal(features, game.features(mirrored))
            np.testing.assert_array_equal(policy, mirrored["action_mask"])
            action = random.choice(np.flatnonzero(position["action_mask"]))
            _, image = symmetric(index, features, np.arange(n_actions) == action)
            one = jax.device_get(compiled(game)[0](position, np.int32(action), KEY))
            other = jax.device_get(compiled(game)[0](mirrored, np.int32(np.argmax(image)), KEY))
            assert (one.reward, one.terminated) == (other.reward, other.terminated)
            position, mirrored, over = one.state, other.state, one.terminated


@every_game
def test_the_symmetries_are_distinct_and_the_first_changes_nothing(game):
    shape = game.observation_space["board"].shape
    features = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1)
    policy = np.arange(int(game.action_space.n))
    pictures = [game.symmetric(index, features, policy) for index in range(game.n_symmetries)]
    np.testing.assert_array_equal(pictures[0][0], features)
    np.testing.assert_array_equal(pictures[0][1], policy)
    assert len({np.asarray(picture).tobytes() for picture, _ in pictures}) == game.n_symmetries


@every_game
def test_features_are_seen_from_the_side_to_move(game):
    (step,) = play(game, [0])
    planes = game.features(step.state)
    assert planes.shape == (*step.state["board"].shape, 2)
    assert planes.dtype == np.float32
    np.testing.assert_array_equal(planes[..., 0], 0)
    np.testing.assert_array_equal(planes[..., 1], step.state["board"] == 1)


@every_game
def test_names_of_actions(game):
    actions = range(int(game.action_space.n))
    assert [game.action_of(f" {game.action_name(action).upper()} ") for action in actions] == [*actions]
    for wrong in ("", "0", "8", "a4", "d1", "11", "b"):
        with pytest.raises(TeguError, match=r"expected a (square|column)"):
            game.action_of(wrong)


def test_made_by_name():
    assert isinstance(make("tic-tac-toe"), TicTacToe)
    assert isinstance(make("connect-four"), ConnectFour)
    assert make("connect-four").max_episode_steps is None


def test_the_drawings_in_text():
    game = TicTacToe()
    assert (
        game.text(play(game, [game.action_of(name) for name in ("b2", "a1", "c1")])[-1].state)
        == """\
  ┌───┬───┬───┐
3 │   │   │   │
  ├───┼───┼───┤
2 │   │ X │   │
  ├───┼───┼───┤
1 │ O │   │ X │
  └───┴───┴───┘
    a   b   c"""
    )
    lines = ConnectFour().text(play(ConnectFour(), [3, 3, 6])[-1].state).splitlines()
    assert lines[-5:] == [
        "│   │   │   │ ○ │   │   │   │",
        "├───┼───┼───┼───┼───┼───┼───┤",
        "│   │   │   │ ● │   │   │ ● │",
        "└───┴───┴───┴───┴───┴───┴───┘",
        "  1   2   3   4   5   6   7",
    ]


@every_game
def test_a_picture_shows_the_position(game):
    pytest.importorskip("PIL")
    positions = [start(game), *(step.state for step in play(game, [0, 1, 4, 2, 3]))]
    for picture, other in pairwise(game.image(position) for position in positions):
        height, width, _ = picture.shape
        assert picture.dtype == np.uint8
        assert height % 2 == width % 2 == 0
        assert 400 <= width <= 600
        assert (picture != other).any()
