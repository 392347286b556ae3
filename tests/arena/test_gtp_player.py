"""Programs that speak GTP as players: one that behaves in every way it should not, and GNU Go."""

import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from gnu_go import GNU_GO, needs_gnu_go

from tegu.arena.base import FORFEIT, GameResults
from tegu.arena.gtp.player import GTPPlayer
from tegu.arena.match import play_match, round_robin
from tegu.arena.players import RandomPlayer
from tegu.arena.positions import begin
from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.gtp.program import Program

KEY = jax.random.key(0)
GAME = Go(size=5, id="go-5x5")
STEP = jax.jit(GAME.step)


def program(*words):
    return shlex.join([sys.executable, "-S", "-E", str(Path(__file__).with_name("gtp_program.py")), *map(str, words)])


class Passes:
    name = "passes"

    def act(self, positions, key):
        return np.full(len(positions["to_play"]), 25)


@pytest.fixture
def started(monkeypatch):
    """All processes that players start."""
    found = []

    class Noted(Program):
        def __init__(self, *args):
            super().__init__(*args)
            found.append(self._process)

    monkeypatch.setattr("tegu.arena.gtp.player.Program", Noted)
    return found


def running(processes):
    return sum(process.poll() is None for process in processes)


def test_a_program_is_told_every_move_of_its_game(tmp_path):
    """Openings, passes and all; the games of the next match begin anew."""
    log = tmp_path / "log"
    with GTPPlayer(GAME, program("passes", log)) as player:
        matches = round_robin(GAME, [Passes(), player, RandomPlayer()], 2, KEY, opening_plies=3)
    opened = matches[0, 1].openings
    names = [GAME.action_name(action) for action in opened.moves[0]]
    opening = [f"play {'bw'[ply % 2]}" for ply in range(3)]
    text = log.read_text(encoding="utf-8").replace("black", "b").replace("white", "w")
    lines = text.splitlines()
    begun = ["boardsize 5", "clear_board", "komi 7.5"]
    told = [f"{play} {name}" for play, name in zip(opening, names, strict=True)]
    # it moves first in one game, and white has to move: it is asked there only after the other has passed
    first = [*begun, *told, "genmove w"]
    second = [*begun, *told, "play w pass", "genmove b"]
    assert sorted(lines[: len(first) + len(second)]) == sorted(first + second)
    assert lines.count("clear_board") == 4


def test_a_game_goes_on_where_it_was(tmp_path):
    log = tmp_path / "log"
    with GTPPlayer(GAME, program("passes", log)) as player:

        def asked(game, *names):
            moves = np.array([[GAME.action_of(name) for name in names]], np.int32)
            assert player.act_after(moves, begin(GAME, 1), np.array([game]), KEY).tolist() == [25]
            lines = log.read_text(encoding="utf-8").splitlines()
            log.write_text("", encoding="utf-8")
            return lines

        begun = ["boardsize 5", "clear_board", "komi 7.5"]
        assert asked(0) == [*begun, "genmove black"]
        assert asked(0, "pass", "C3") == ["play white C3", "genmove black"]
        assert asked(1, "C3") == [*begun, "play black C3", "genmove white"]
        assert asked(0, "pass", "C3", "pass", "D4") == ["play white D4", "genmove black"]
        taken_back = [*begun, "play black pass", "play white A1", "genmove black"]
        assert asked(0, "pass", "A1") == taken_back


@pytest.mark.slow
def test_the_openings_of_a_match_come_with_their_moves():
    match = play_match(GAME, RandomPlayer(), RandomPlayer(), 8, KEY, opening_plies=5)
    positions, moves = match.openings.positions, match.openings.moves
    assert moves.shape == (4, 5)
    for row in range(4):
        position = jax.device_get(GAME.reset(KEY)[0])
        for action in moves[row]:
            assert position["action_mask"][action]
            position = jax.device_get(STEP(position, action, KEY).state)
        for name, leaf in position.items():
            np.testing.assert_array_equal(leaf, positions[name][row])


@pytest.mark.parametrize(
    ("manner", "how"),
    [("resigns", "resigned"), ("plays on stones", "illegal_moves"), ("plays nowhere", "illegal_moves")],
)
def test_giving_up_and_illegal_moves_lose(manner, how, started):
    with GTPPlayer(GAME, program(manner)) as player:
        match = play_match(GAME, player, RandomPlayer(), 4, KEY, opening_plies=2)
        assert match.as_first == match.as_second == GameResults(losses=2)
        assert player.forfeits == {how: 4}
        assert running(started) > 0
    assert running(started) == 0


def test_giving_up_loses_on_an_empty_board_too():
    with GTPPlayer(GAME, program("resigns")) as player:
        match = play_match(GAME, RandomPlayer(), player, 2, KEY, opening_plies=0)
    assert match.total == GameResults(wins=2)
    assert match.names[1].startswith("gtp:")


@pytest.mark.parametrize(
    ("manner", "says"),
    [
        ("crashes", r"gtp:.* ended when asked 'genmove (black|white)' \(exit status 3\): out of luck$"),
        ("sleeps", r"gtp:.* did not answer 'genmove (black|white)' within 2 seconds$"),
        ("floods", r"gtp:.* did not answer 'genmove (black|white)' within 2 seconds$"),
        ("talks", r"gtp:.* answered 'genmove (black|white)' with 'hello', which is no GTP$"),
        ("never ends", r"gtp:.* answered 'genmove (black|white)' with 'x', which is no GTP$"),
        ("closes", r"gtp:.* ended when asked 'genmove (black|white)' \(still running, its output closed\)$"),
        ("refuses", r"gtp:.* refuses 'play black \w+': illegal move$"),
        ("small", r"gtp:.* refuses 'boardsize 5': unacceptable size$"),
    ],
)
def test_what_is_no_result_is_an_error(manner, says, started):
    """Nobody wins, and no process is left."""
    player = GTPPlayer(GAME, program(manner), timeout=2)
    with pytest.raises(TeguError, match=says):
        play_match(GAME, player, RandomPlayer(), 4, KEY, opening_plies=2)
    assert running(started) == 0


@pytest.mark.slow
def test_processes_end_where_something_else_fails(started):
    class Fails:
        name = "fails"

        def act(self, positions, key):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), GTPPlayer(GAME, program("passes")) as player:
        play_match(GAME, player, Fails(), 4, KEY)
    assert running(started) == 0
    forgotten = GTPPlayer(GAME, program("passes"))
    play_match(GAME, forgotten, Passes(), 2, KEY)
    assert running(started) > 0
    del forgotten
    assert running(started) == 0


@pytest.fixture
def interruptible():
    """Ctrl-C is an exception, also where whoever runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_programs_that_think(tmp_path, started):
    """At once, however long they may think."""
    log, interrupted = tmp_path / "log", time.monotonic()

    def interrupt():
        while not (log.exists() and "genmove" in log.read_text(encoding="utf-8")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), GTPPlayer(GAME, program("sleeps", log), timeout=500) as player:
        play_match(GAME, player, RandomPlayer(), 4, KEY)
    assert running(started) == 0
    assert time.monotonic() - interrupted < 200


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux about a process")
def test_a_program_that_started_others_takes_them_along(tmp_path):
    script = f"sleep 600 & echo $! > {tmp_path}/pid; cat > {tmp_path}/questions"
    player = GTPPlayer(GAME, shlex.join(["sh", "-c", script]), timeout=1)
    with pytest.raises(TeguError):
        play_match(GAME, player, RandomPlayer(), 2, KEY)
    number = int((tmp_path / "pid").read_text(encoding="ascii"))
    for _ in range(100):
        status = Path(f"/proc/{number}/stat")
        if not status.exists() or status.read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


def test_mistakes_are_said():
    with pytest.raises(TeguError, match=r"^gtp:x plays Go, not tic-tac-toe$"):
        GTPPlayer(TicTacToe(), "x")
    with pytest.raises(TeguError, match=r"expected a program after gtp:, as in 'gtp:gnugo --mode gtp'"):
        GTPPlayer(GAME, " ")
    with pytest.raises(TeguError, match="No closing quotation"):
        GTPPlayer(GAME, "'x")
    with pytest.raises(TeguError, match=r"^gtp:nothing-here --x cannot be started: No such file or directory$"):
        play_match(GAME, GTPPlayer(GAME, "nothing-here --x"), RandomPlayer(), 2, KEY)
    with pytest.raises(TeguError, match="it must know the moves"):
        GTPPlayer(GAME, "x").act({}, KEY)
    assert FORFEIT not in range(26)


@needs_gnu_go
def test_gnu_go_beats_random_moves_and_keeps_the_same_board():
    """From the empty board, where nothing is lost beforehand. Its board at the end is the one that its moves make."""
    command = f"{GNU_GO} --mode gtp --level 1 --chinese-rules --capture-all-dead --never-resign --seed 1"
    with GTPPlayer(GAME, command) as player:
        match = play_match(GAME, RandomPlayer(), player, 4, KEY, opening_plies=0)
        assert match.total.losses >= 3
        assert not player.forfeits
        for program, moves in player._tables.values():
            position = jax.device_get(GAME.reset(KEY)[0])
            for action in moves:
                position = jax.device_get(STEP(position, np.int32(action), KEY).state)
            for name, stone in (("black", 1), ("white", -1)):
                stones = sorted(GAME.action_of(point) for point in program.ask(f"list_stones {name}").split())
                assert stones == np.flatnonzero(position["board"] == stone).tolist()
