"""Game records: written and read back, against GNU Go, and files that are broken or meant to do harm."""

import os

import jax
import numpy as np
import pytest
from gnu_go import GNU_GO, needs_gnu_go
from hypothesis import given, settings
from hypothesis import strategies as st

from tegu.arena.go_board import after, laid
from tegu.arena.players import RandomPlayer
from tegu.arena.positions import begin
from tegu.arena.sgf.record import GameRecord, Move, Setup, from_text, read, to_text, write
from tegu.arena.sgf.replay import is_over, replay, rules_name
from tegu.arena.sgf.syntax import decoded
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.gtp.program import Program

NINE, FIVE = Go(size=9), Go(size=5, id="go-5x5")


def random_game(game, plies, seed):
    """The actions of a random game, and all positions: batches of one."""
    positions, actions = [begin(game, 1)], []
    for ply in range(plies):
        actions.append(int(RandomPlayer().act(positions[-1], jax.random.key(1000 * seed + ply))[0]))
        positions.append(after(game, positions[-1], actions[-1]))
    return actions, positions


def written_down(game, actions):
    return GameRecord(game.size, tuple(Move(ply % 2, action) for ply, action in enumerate(actions)), game.komi)


def test_a_record_as_other_programs_write_it():
    text = r"""
    Some words before it (not a game). (;GM[1]FF[4]CA[UTF-8]AP[Somebody:1]ST[2]
    RU[Chinese]SZ[9]KM[6.5]HA[2]PW[White \]\\ two
    lines]PB[Bl\
ack]AB[gc][cg]DT[2024-01-01]RE[W+R]C[a comment; with (brackets\]]
    ;W[ee];B[tt](;W[dh]C[main];B[];PL[W]AE[ee]AB[aa:bb]AW[ii](;W[he])(;W[ab]))(;W[aa];B[zz]))(;SZ[19])"""
    record = from_text(text)
    ai = [0, 1, 9, 10]
    assert record == GameRecord(
        9,
        (
            Setup((2 * 9 + 6, 6 * 9 + 2)),
            Move(1, 40),
            Move(0, 81),
            Move(1, 7 * 9 + 3),
            Move(0, 81),
            Setup(tuple(ai), (80,), (40,), 1),
            Move(1, 4 * 9 + 7),
        ),
        *(6.5, 2, "Black", "White ]\\ two lines", "W+R", "Chinese"),
    )
    assert len(record.moves) == 5
    assert not is_over(record)
    assert is_over(from_text("(;SZ[9];B[];W[tt])"))


def test_what_is_left_out_and_old_names():
    assert from_text("(;)") == GameRecord(19)
    old = "(;GaMe[1]SiZe[5]KoMi[0];Black[aa];White[tt])"  # FF[3]: G M, S Z, K M, B, W
    assert from_text(old) == GameRecord(5, (Move(0, 0), Move(1, 25)), 0.0)


def test_letters_that_contain_a_bracket():
    """In GBK and others a letter can end with the byte of ] or of a backslash."""
    letters = [chr(code) for code in range(0x4E00, 0x9000)]
    name = "".join([letter for letter in letters if letter.encode("gbk")[1:] in (b"]", b"\\")][:20])
    assert len(name) == 20
    record = from_text(decoded(f"(;CA[GBK]SZ[9]PB[{name}];B[ee])".encode("gbk")))
    assert (record.black, record.moves) == (name, (Move(0, 40),))
    assert from_text(decoded("(;PB[Müller])".encode("latin-1"))).black == "Müller"
    assert from_text(decoded("\ufeff(;PB[李])".encode())).black == "李"


def _squares(size):
    return st.lists(st.integers(0, size**2 - 1), unique=True, max_size=8)


@st.composite
def records(draw):
    size = draw(st.integers(2, 19))
    words = st.text(st.characters(exclude_categories=("C", "Z")), max_size=6)
    moves = st.builds(Move, st.integers(0, 1), st.integers(0, size**2))
    steps = []
    for step in draw(st.lists(st.one_of(moves, _squares(size)), max_size=8)):
        if isinstance(step, Move):
            steps.append(step)
        elif step:
            cut = sorted(draw(st.tuples(st.integers(0, len(step)), st.integers(0, len(step)))))
            parts = step[: cut[0]], step[cut[0] : cut[1]], step[cut[1] :]
            steps.append(Setup(*map(tuple, parts), draw(st.sampled_from([None, 0, 1]))))
    komi = draw(st.one_of(st.none(), st.integers(-1000, 1000).map(lambda half: half / 2)))
    return GameRecord(size, tuple(steps), komi, draw(st.integers(0, 4)), *(draw(words) for _ in range(4)))


@settings(max_examples=200, deadline=None)
@given(records())
def test_what_is_written_is_read_again(record):
    assert from_text(to_text(record)) == record


def test_files(tmp_path):
    record = GameRecord(5, (Move(0, 12), Move(1, 25)), 7.5, 0, "Ada", "李", "B+17.5")
    write(tmp_path / "new/game.sgf", record)
    assert read(tmp_path / "new/game.sgf") == record
    assert (
        (tmp_path / "new/game.sgf").read_text(encoding="utf-8").startswith("(;FF[4]GM[1]CA[UTF-8]SZ[5]KM[7.5]PB[Ada]")
    )
    with pytest.raises(TeguError, match=r"cannot write .*Is a directory"):
        write(tmp_path, record)


def test_rules_are_called_what_katago_calls_them():
    """Its ``chinese`` has a simple ko and no suicide, its ``tromp-taylor`` positional superko and suicide."""
    named = {
        (ko, suicide): rules_name(Go(superko=ko, suicide=suicide)) for ko in (False, True) for suicide in (False, True)
    }
    assert named == {
        (False, False): "Chinese",
        (True, True): "Tromp-Taylor",
        (False, True): "koSIMPLEscoreAREAtaxNONEsui1",
        (True, False): "koPOSITIONALscoreAREAtaxNONEsui0",
    }
    assert "RU[Chinese]" in to_text(GameRecord(5, rules="Chinese"))


@pytest.mark.parametrize("size", [5, 9, 19])
def test_a_game_is_played_as_it_was(size):
    game = Go(size=size)
    actions, positions = random_game(game, 25, size)
    record = written_down(game, actions)
    again = replay(game, from_text(to_text(record)))
    for one, other in zip([*again.before, again.last], positions, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    cut = replay(game, record, 7)
    assert (len(cut.before), cut.last["moves"][0]) == (7, 7)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_stones_set_up_are_the_stones_played(seed, plies):
    """The same legal moves, liberties and chains, whatever the order in which the stones came."""
    _, positions = random_game(FIVE, plies, seed)
    board, turn = positions[-1]["board"][0], int(positions[-1]["to_play"][0])
    stones = {int(point): int(stone < 0) for point, stone in enumerate(board.ravel()) if stone}
    found = laid(FIVE, stones, turn)
    expected = positions[-1] | {"ko": np.full(1, -1)}
    for name in ("board", "liberty", "to_play"):
        np.testing.assert_array_equal(found[name], expected[name])
    chains = [position["chain"].ravel()[:, None] == position["chain"].ravel() for position in (found, expected)]
    np.testing.assert_array_equal(*chains)
    ko = int(positions[-1]["ko"][0])
    differ = np.flatnonzero(found["action_mask"] != expected["action_mask"])
    assert set(differ) <= ({ko} if ko >= 0 else set())
    assert found["moves"] == 0


def test_a_setup_begins_the_game_anew():
    text = "(;SZ[5]AB[aa][cc];W[bb];B[ba];AE[cc]AW[cd];B[ab])"
    after_it = replay(FIVE, from_text(text)).last
    expected = np.zeros((5, 5))
    expected[0, 0] = expected[0, 1] = expected[1, 0] = 1
    expected[1, 1] = expected[3, 2] = -1
    np.testing.assert_array_equal(after_it["board"][0], expected)
    turns = {
        "(;SZ[5])": 0,
        "(;SZ[5]AB[aa][bb])": 1,
        "(;SZ[5]AB[aa]AW[bb])": 0,
        "(;SZ[5]PL[W])": 1,
        "(;SZ[5];AB[aa])": 1,
    }
    for text, turn in turns.items():
        assert replay(FIVE, from_text(text)).last["to_play"] == turn, text


def test_a_board_set_up_counts_for_superko_and_the_empty_one_does_not():
    game = Go(size=5, superko=True, id="go-5x5")
    position = replay(game, from_text("(;SZ[5]AB[ab][bb][ca]AW[ba]PL[B])")).last
    assert position["moves"] == 0
    assert position["history"][0, 0].any()
    assert not position["history"][0, 1:].any()


@needs_gnu_go
@pytest.mark.parametrize("size", [5, 9, 19])
def test_gnu_go_reads_what_is_written(size, tmp_path):
    """The stones after any number of moves; one game begins with stones that are set up."""
    game = Go(size=size)
    gnu_go = Program(f"{GNU_GO} --mode gtp", 60)
    actions, _ = random_game(game, 2 * size, size)
    records = [written_down(game, actions)]
    start = Setup((0, 1, 2 * size), (size, size + 2), (), 1)
    steps = [step for step in records[0].steps if step.action > 3 * size]
    records.append(GameRecord(size, (start, *steps), 0.5, 3))
    for record in records:
        write(tmp_path / "game.sgf", record)
        for moves in (*range(1, len(record.moves), 9), None):
            gnu_go.ask(f"loadsgf {tmp_path}/game.sgf{'' if moves is None else f' {moves + 1}'}")
            board = replay(game, record, moves).last["board"][0].ravel()
            for colour, stone in (("black", 1), ("white", -1)):
                names = gnu_go.ask(f"list_stones {colour}").split()
                assert sorted(map(game.action_of, names)) == np.flatnonzero(board == stone).tolist()
        assert float(gnu_go.ask("get_komi")) == record.komi
    gnu_go.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no game record"),
        ("B[aa]", "no game record"),
        ("(;SZ[9]", "broken game record in line 1, at the end of the file"),
        ("(;SZ[9]\n;B[aa)", "line 2, near '[aa)'"),
        ("(;SZ)", "broken game record in line 1, near ')'"),
        ("(;[9])", "broken game record in line 1, near '[9])'"),
        ("(SZ[9];)", "no game record"),
        ("(;B[aa]B[bb])", "B comes twice in a node"),
        ("(;SZ[9](;B[aa])", "the brackets of its variations are not closed"),
        ("(;SZ[9](;B[aa])]", "the brackets of its variations are not closed"),
        ("(;SZ[9] {})", "broken game record in line 1, near '{})'"),
        ("(;GM[2])", "GM[2] is another game"),
        ("(;SZ[52])", "SZ[52] is no size: expected a square board from 2 to 19"),
        ("(;SZ[1])", "SZ[1] is no size"),
        ("(;SZ[9:13])", "SZ[9:13] is no size"),
        ("(;SZ[99999999999999999999])", "is no size"),
        ("(;SZ[nine])", "SZ[nine] is no size"),
        ("(;SZ[\u0669])", "is no size"),
        ("(;KM[1e999])", "KM[1e999]: expected a number of at most 1000"),
        ("(;KM[nan])", "KM[nan]"),
        ("(;KM[])", "KM[]"),
        ("(;HA[400])", "HA[400]: expected a number of at most 361"),
        ("(;SZ[9];B[ee];W[jj])", "move 2: W[jj] is no point of a board of size 9"),
        ("(;SZ[9];B[EE])", "move 1: B[EE] is no point"),
        ("(;SZ[9];B[ee:ff])", "move 1: B[ee:ff] is no point"),
        ("(;SZ[9];B[ee];B[aa]W[bb])", "move 2: Black and White move at the same time"),
        ("(;SZ[9];B[ee];AB[aa][aa])", "move 2: AB, AW and AE name a point twice"),
        ("(;SZ[9]AB[aa:ii][aa:ii])", "move 1: AB names a point twice"),
        ("(;SZ[9]AB[aa]AW[aa])", "name a point twice"),
        ("(;PL[x])", "PL[X]: expected B or W"),
    ],
)
def test_broken_records_are_one_line(text, says, tmp_path):
    path = tmp_path / "game.sgf"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TeguError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(;SZ[5];B[cc];W[cc])", "move 2, W C3, is illegal"),
        ("(;SZ[5];B[ba];W[ee];B[ab];W[aa])", "move 4, W A5, is illegal"),  # suicide
        ("(;SZ[9];B[ee])", "a game on 9x9, expected 5x5"),
        ("(;SZ[5]AB[aa]AW[ba][ab])", "before move 1: stones are set up that have no liberty"),
        ("(;SZ[5];B[aa];AW[ba][ab])", "before move 2: stones are set up that have no liberty"),
        ("(;SZ[5]AB[aa:ee])", "before move 1: stones are set up that have no liberty"),
    ],
)
def test_what_the_rules_forbid_is_one_line(text, says):
    with pytest.raises(TeguError) as error:
        replay(FIVE, from_text(text))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        b"(;SZ[9]" * 500_000,
        b"(" * 4_000_000,
        b"(;" + b"[" * 4_000_000,
        b"(;B[" + b"\\" * 4_000_000,
        b"(;C[" + b"\\]" * 2_000_000,
        b"(;" + b";B[]" * 1_000_000 + b")",
        b"(;" + b"A[]" * 1_000_000 + b")",
        b"(;" + b"A" * 4_000_000 + b"[",
        b"(;" + b" " * 4_000_000,
        b"(;(;)" + b"()" * 2_000_000,
        b"(;SZ[19]AB" + b"[aa:ss]" * 500_000 + b")",
        b"(;" + b";AB[aa]" * 500_000 + b")",
        b"(;SZ[" + b"9" * 4_000_000 + b"])",
        b"(;CA[punycode]C[" + b"x" * 4_000_000 + b"-])",
        b"(;CA[" + b"utf_7" * 8 + b"])",
        b"(;" + b"\xff\xfe\x00" * 1_000_000,
        b"\x00" * 4_000_000,
        b"(;)" + b" " * (4 << 20),
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
def test_records_that_are_meant_to_do_harm(data, tmp_path):
    (tmp_path / "game.sgf").write_bytes(data)
    with pytest.raises(TeguError) as error:
        read(tmp_path / "game.sgf")
    assert len(str(error.value)) < 500


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    places = [tmp_path / "pipe", tmp_path, "/dev/zero", tmp_path / "missing", "a\0b", tmp_path / ("x" * 300)]
    for place in places:
        with pytest.raises(TeguError) as error:
            read(place)
        assert len(str(error.value)) < 500


@settings(max_examples=200, deadline=None)
@given(st.text("();[]\\:ABWESZKMPLabc9\n ", max_size=60).map("(;".__add__))
def test_any_text_is_a_record_or_an_error(text):
    try:
        record = from_text(text)
    except TeguError:
        return
    assert from_text(to_text(record)) == record
