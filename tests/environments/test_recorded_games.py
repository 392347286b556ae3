"""Recorded games: what is refused, files, and the environment that plays them again."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.arena.positions import begin, play
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.environments.games.recorded import (
    EXPERT,
    EXPERT_MOVE,
    GameRecords,
    RecordedGames,
    game_records,
    legal_moves,
    load_records,
    save_records,
)
from tegu.environments.games.tic_tac_toe import TicTacToe

GAME = TicTacToe()
LEARNED = np.arange(6) >= np.array([[0], [2], [1]])  # moves before are an opening
MOVES = np.array([[0, 3, 1, 4, 2, -1], [4, 0, 8, 2, 1, 7], [8, 7, -1, -1, -1, -1]])  # won; not over; broken off


def test_games_are_played_again_move_by_move() -> None:
    """Every position with the move that was played there, whether to learn from it, and the end as the game had it."""
    records = game_records(GAME, MOVES, LEARNED)
    world = RecordedGames.of(GAME, records)
    step = jax.jit(lambda *given: world.step(*given))
    seen = set()
    for seed in range(12):
        state, observation = world.reset(jax.random.key(seed))
        number = int(state[1])
        seen.add(number)
        moves, position = MOVES[number][MOVES[number] >= 0], begin(GAME, 1)
        for ply, move in enumerate(moves):
            np.testing.assert_array_equal(observation["board"], position["board"][0])
            assert observation[EXPERT_MOVE] == move
            assert observation[EXPERT] == LEARNED[number, ply]
            now = step(state, jnp.int32(0), jax.random.key(0))  # whatever is done
            expected = play(GAME, position, np.array([move]))
            assert now.terminated == expected.terminated[0]
            assert now.truncated == (not expected.terminated[0] and ply == len(moves) - 1)
            assert now.reward["first"] == expected.reward["first"][0]
            state, observation, position = now.state, now.observation, expected.state
        assert now.terminated | now.truncated
    assert seen == {0, 1, 2}
    assert world.observation_space[EXPERT_MOVE] == GAME.action_space


def test_games_without_the_expert_are_left_out() -> None:
    """A mark after a record's last move is none."""
    world = RecordedGames.of(GAME, game_records(GAME, MOVES, np.arange(6) == np.array([[5], [6], [1]])))
    assert world.lengths.tolist() == [2]
    assert world.reset(jax.random.key(0))[1][EXPERT_MOVE] == 8


def test_a_file_holds_the_same_games(tmp_path: Path) -> None:
    records = game_records(GAME, MOVES, LEARNED)
    save_records(tmp_path / "new" / "games.npz", records)
    read = load_records(tmp_path / "new" / "games.npz", GAME)
    for one, other in zip(read, records, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["games.npz"]
    np.savez(tmp_path / "plain.npz", moves=MOVES)
    assert (load_records(tmp_path / "plain.npz", GAME).expert == (MOVES >= 0)).all()


@pytest.mark.parametrize(
    ("moves", "expert", "said"),
    [
        ([[0.5]], None, "recorded moves must be whole numbers [games, moves], got float64[1, 1]"),
        ([0, 1], None, "recorded moves must be whole numbers [games, moves], got int64[2]"),
        ([[]], None, "recorded moves must be whole numbers [games, moves], got float64[1, 0]"),
        ([[0, 0]], None, "game 0 of the recorded games: action 0 at move 1 is illegal in tic-tac-toe"),
        ([[0, 1], [4, 99]], None, "game 1 of the recorded games: action 99 at move 1 is illegal in tic-tac-toe"),
        ([[0, 3, 1, 4, 2, 5]], None, "game 0 of the recorded games: action 5 at move 5 is illegal in tic-tac-toe"),
        ([[-1, 1]], None, "the recorded games hold no move of the expert's"),
        ([[0, 1]], [[False, False]], "the recorded games hold no move of the expert's"),
        ([[0, 1]], [True, True], "expert must be bool[1, 2], as moves, got bool[2]"),
        ([[0, 1]], [[1, 1]], "expert must be bool[1, 2], as moves, got int64[1, 2]"),
    ],
)
def test_what_is_no_game_is_refused_in_one_line(moves, expert, said) -> None:
    with pytest.raises(TeguError) as error:
        game_records(GAME, np.array(moves), expert)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("moves")
    np.savez(tmp_path / "other.npz", actions=MOVES)
    np.savez(tmp_path / "objects.npz", moves=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "wrong.npz", moves=[[0, 0]])
    for name, said in (
        ("none.npz", "cannot read the recorded games"),
        ("text.npz", "does not hold recorded games: expected a .npz file"),
        ("other.npz", "does not hold recorded games: it has no array moves"),
        ("objects.npz", "does not hold recorded games: expected a .npz file"),
        ("wrong.npz", "wrong.npz: game 0 of the recorded games: action 0 at move 1 is illegal"),
    ):
        with pytest.raises(TeguError) as error:
            load_records(tmp_path / name, GAME)
        assert said in str(error.value)


@pytest.mark.slow
def test_legal_moves_of_go_end_with_the_game() -> None:
    game = Go(size=3, id="go-3x3")
    moves = np.array([[4, 9, 9, 0], [4, 4, 0, 1], [9, 0, 9, 9]], np.int16)
    assert legal_moves(game, moves).tolist() == [3, 1, 4]
    assert isinstance(game_records(game, moves[2:]), GameRecords)
