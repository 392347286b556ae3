"""The rules of Go, against rules written out naively, counts that others have published, and GNU Go."""

import subprocess
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gnu_go import GNU_GO, needs_gnu_go
from scipy import stats

from tegu.core.errors import TeguError
from tegu.environments.games.go import Go
from tegu.environments.games.go_rules import areas
from tegu.environments.make import find

KEY = jax.random.key(0)


class Naive:
    """A game of Go with sets of points: 1 is black, -1 white."""

    def __init__(self, size, superko, suicide):
        self.size, self.superko, self.suicide = size, superko, suicide
        self.board, self.ko, self.turn = {}, None, 1
        self.seen = {frozenset()}

    def around(self, point):
        row, column = point
        beside = (row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)
        return [(r, c) for r, c in beside if 0 <= r < self.size and 0 <= c < self.size]

    def region(self, board, point):
        """The points joined to ``point`` of the same content, and what they touch."""
        found, todo, touched = {point}, [point], set()
        while todo:
            for beside in self.around(todo.pop()):
                if board.get(beside) != board.get(point):
                    touched.add(beside)
                elif beside not in found:
                    found.add(beside)
                    todo.append(beside)
        return found, touched

    def after(self, point):
        """The board after a move, and the stones that it took; None if the rules forbid it."""
        if point in self.board or point == self.ko:
            return None
        board, taken = self.board | {point: self.turn}, set()
        for beside in self.around(point):
            if board.get(beside) == -self.turn:
                chain, touched = self.region(board, beside)
                if all(other in board for other in touched):
                    taken |= chain
        board = {other: stone for other, stone in board.items() if other not in taken}
        chain, touched = self.region(board, point)
        if all(other in board for other in touched):
            if not self.suicide:
                return None
            board = {other: stone for other, stone in board.items() if other not in chain}
        if self.superko and frozenset(board.items()) in self.seen:
            return None
        return board, taken

    def legal(self):
        points = [(row, column) for row in range(self.size) for column in range(self.size)]
        return [self.after(point) is not None for point in points] + [True]

    def play(self, action):
        self.ko = None
        if action < self.size**2:
            point = divmod(action, self.size)
            self.board, taken = self.after(point)
            if len(taken) == 1 and point in self.board:
                chain, touched = self.region(self.board, point)
                free = [other for other in touched if other not in self.board]
                if len(chain) == 1 and len(free) == 1:
                    self.ko = free[0]
        self.turn = -self.turn
        self.seen.add(frozenset(self.board.items()))

    def owners(self):
        """Whose area each point is in."""
        found = np.zeros((self.size, self.size), np.int8)
        for row in range(self.size):
            for column in range(self.size):
                point = row, column
                if point in self.board:
                    found[point] = self.board[point]
                    continue
                colours = {self.board[other] for other in self.region(self.board, point)[1]}
                if len(colours) == 1:
                    found[point] = colours.pop()
        return found

    def areas(self):
        owners = self.owners()
        return (owners == 1).sum(), (owners == -1).sum()

    def array(self):
        board = np.zeros((self.size, self.size), np.int8)
        for point, stone in self.board.items():
            board[point] = stone
        return board


@cache
def stepped(game):
    return jax.jit(game.step)


def start(game):
    return jax.device_get(game.reset(KEY)[0])


def play(game, *names):
    """The time step after moves that alternate from an empty board."""
    position, step = start(game), None
    for name in names:
        action = game.action_of(name)
        assert position["action_mask"][action], name
        step = jax.device_get(stepped(game)(position, np.int32(action), KEY))
        position = step.state
    return step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "superko", "suicide"),
    [(2, True, True), (3, True, False), (3, False, True), (4, True, True), (6, False, False)],
)
def test_random_games_are_those_of_rules_written_out_naively(size, superko, suicide):
    """Boards and legal moves after every move, and the winner, who is paid once. Full boards, so that kos come up."""
    game = Go(size=size, superko=superko, suicide=suicide, komi=0.5)
    random = np.random.default_rng(size)
    for _ in range(6):
        naive, position, passed = Naive(size, superko, suicide), start(game), False
        for move in range(game.most_moves):
            np.testing.assert_array_equal(position["action_mask"], naive.legal())
            legal = np.flatnonzero(position["action_mask"][:-1])
            action = int(random.choice(legal)) if len(legal) and random.random() < 0.98 else size**2
            naive.play(action)
            step = jax.device_get(stepped(game)(position, np.int32(action), KEY))
            position = step.state
            np.testing.assert_array_equal(position["board"], naive.array())
            over = (action == size**2 and passed) or move == game.most_moves - 1
            assert step.terminated == over
            black, white = naive.areas()
            winner = (1 if black > white + 0.5 else -1) if over else 0
            assert step.reward == {"first": winner, "second": -winner}
            if over:
                assert not position["action_mask"].any()
                break
            passed = action == size**2


def test_areas_of_boards_that_no_game_would_reach():
    random = np.random.default_rng(1)
    boards = random.choice([-1, 0, 1], (300, 6, 6), p=[0.15, 0.7, 0.15]).astype(np.int8)
    found = np.stack(jax.jit(jax.vmap(areas))(boards), axis=1)
    for board, counts in zip(boards, found, strict=True):
        naive = Naive(6, False, False)
        naive.board = {(int(r), int(c)): int(board[r, c]) for r, c in np.argwhere(board)}
        assert tuple(counts) == naive.areas()


@pytest.mark.slow
def test_whose_points_are_and_the_score_of_boards_that_no_game_would_reach():
    random, game = np.random.default_rng(2), Go(size=5, komi=2.5)
    boards = random.choice([-1, 0, 1], (300, 5, 5), p=[0.15, 0.7, 0.15]).astype(np.int8)

    def said(board):
        position = game.first() | {"board": board}
        return game.ownership(position), game.score(position)

    say = jax.jit(jax.vmap(said))
    for board, owned, score in zip(boards, *say(boards), strict=True):
        naive = Naive(5, False, False)
        naive.board = {(int(r), int(c)): int(board[r, c]) for r, c in np.argwhere(board)}
        np.testing.assert_array_equal(owned, naive.owners())
        assert score == naive.owners().sum() - 2.5


@pytest.mark.slow
@pytest.mark.parametrize(("size", "count"), [(2, 57), (3, 12_675)])
def test_the_number_of_legal_positions(size, count):
    """Boards that can be reached: Tromp & Farneback 2007, table 1."""
    game = Go(size=size, max_moves=1000)
    step = jax.jit(jax.vmap(game.step, in_axes=(0, 0, None)))
    keep = ("board", "to_play", "ko")  # what the future depends on, without the end by passes
    positions, seen, boards = jax.tree.map(lambda leaf: leaf[None], start(game)), set(), set()
    while len(positions["board"]):
        rows, actions = np.nonzero(positions["action_mask"])
        padded = 1 << (len(rows) - 1).bit_length()
        at, moves = (np.pad(index, (0, padded - len(index)), mode="edge") for index in (rows, actions))
        # a pass after a pass would end the game, and gives no board that is new
        given = {name: leaf[at] for name, leaf in positions.items()} | {"passed": np.zeros(padded, np.int32)}
        after = jax.device_get(step(given, moves, KEY).state)
        reached = {name: leaf[: len(rows)] for name, leaf in after.items()}
        fresh = []
        for index, parts in enumerate(zip(*(reached[name] for name in keep), strict=True)):
            name = parts[0].tobytes(), int(parts[1]), int(parts[2])
            if name not in seen:
                seen.add(name)
                fresh.append(index)
            boards.add(name[0])
        positions = {name: leaf[fresh] for name, leaf in reached.items()}
    assert len(boards) == count


def test_a_ko_may_not_be_taken_back_at_once():
    game = Go(size=5)
    taken = play(game, "B3", "C3", "C4", "D4", "A1", "E3", "C2", "D2", "D3").state  # D3 takes C3
    assert taken["board"][2, 2] == 0
    assert taken["ko"] == game.action_of("C3")
    assert not taken["action_mask"][game.action_of("C3")]
    elsewhere = stepped(game)(taken, np.int32(game.action_of("E5")), KEY).state
    back = stepped(game)(elsewhere, np.int32(game.action_of("E1")), KEY).state
    assert back["action_mask"][game.action_of("C3")]


def test_a_snapback_is_no_ko():
    """One stone takes one, and may be taken back at once where more than that one falls."""
    game = Go(size=5)
    # White throws in at A1; Black takes that stone from B1, and stands there as one of three that A1 would take
    names = "A2", "A3", "B2", "B3", "E5", "C2", "E4", "C1", "E3", "A1", "B1"
    taken = play(game, *names).state
    assert taken["board"][4, 0] == 0
    assert taken["ko"] == -1
    back = play(game, *names, "A1").state  # which play asserts to be legal
    assert [int(back["board"].ravel()[game.action_of(name)]) for name in ("A1", "A2", "B2", "B1")] == [-1, 0, 0, 0]


def test_two_passes_end_the_game_and_white_gets_the_komi():
    assert play(Go(size=5, komi=7.5), "pass", "pass").reward == {"first": -1, "second": 1}
    assert play(Go(size=5, komi=7.5), "C3", "pass", "pass").reward == {"first": 1, "second": -1}
    assert play(Go(size=5, komi=25.0), "C3", "pass", "pass").reward == {"first": 0, "second": 0}
    assert not play(Go(size=5), "pass", "C3", "pass").terminated


def test_each_game_may_have_a_komi_of_its_own():
    """It decides the game, its score and what a network sees; matches, and games without a spread, have ``komi``."""
    game = Go(size=5, komi=1.5, komi_spread=2.0)
    begun, _ = jax.vmap(game.reset)(jax.random.split(KEY, 20_000))
    komi = np.asarray(begun["komi"])
    assert set(komi % 1) == {0.5}
    # the distribution, from that of the normal one at the ends of each whole point
    values, counts = np.unique(np.clip(komi, -4.5, 7.5), return_counts=True)
    ends = stats.norm.cdf((values[:-1] + 0.5 - 1.5) / 2.0)
    expected = 20_000 * np.diff(np.concatenate([[0.0], ends, [1.0]]))
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    for one in (-2.5, 24.5, 25.5):  # a stone alone has all 25 points
        position = jax.tree.map(lambda leaf: leaf[0], begun) | {"komi": jnp.float32(one)}
        for move in (12, 25, 25):
            assert position["komi"] == one
            timestep = stepped(game)(position, np.int32(move), KEY)
            position = timestep.state
        assert timestep.reward["first"] == (1 if one < 25 else -1)
        assert game.score(position) == 25 - one
        assert game.features(position)[0, 0, 6] == pytest.approx(one / 10)  # White is to move
    assert game.first()["komi"] == 1.5
    assert (np.asarray(jax.vmap(Go(size=5, komi=1.5).reset)(jax.random.split(KEY, 100))[0]["komi"]) == 1.5).all()


def test_an_illegal_move_loses_at_once():
    game = Go(size=3)
    position = play(game, "B2").state
    step = jax.device_get(stepped(game)(position, np.int32(game.action_of("B2")), KEY))
    assert step.terminated
    assert step.reward == {"first": 1, "second": -1}
    np.testing.assert_array_equal(step.state["board"], position["board"])


@pytest.mark.slow
@pytest.mark.parametrize("index", range(8))
def test_a_turned_board_has_turned_moves(index):
    """What follows a turned move on a turned board is what follows, turned; so are features."""
    game = Go(size=4)
    random, straight, turned = np.random.default_rng(index), start(game), start(game)
    _, places = game.symmetric(index, jnp.zeros((4, 4, 1)), jnp.arange(17))
    assert sorted(places.tolist()) == list(range(17))
    for _ in range(16):
        np.testing.assert_array_equal(turned["action_mask"], straight["action_mask"][places])
        picture, _ = game.symmetric(index, game.features(straight), jnp.zeros(17))
        np.testing.assert_array_equal(game.features(turned), picture)
        action = (
            random.choice(np.flatnonzero(straight["action_mask"][:-1])) if straight["action_mask"].sum() > 1 else 16
        )
        there = int(np.flatnonzero(np.asarray(places) == action)[0])
        straight, turned = (
            jax.device_get(stepped(game)(position, np.int32(move), KEY)).state
            for position, move in ((straight, action), (turned, there))
        )


def test_colours_are_seen_from_the_side_to_move():
    """A pass swaps the players: the planes of own stones and the other's change places, and the komi its sign."""
    game = Go(size=5)
    position = play(game, "A1", "E5", "B1", "E4").state
    passed = stepped(game)(position, np.int32(25), KEY).state
    before, after = np.asarray(game.features(position)), np.asarray(game.features(passed))
    np.testing.assert_array_equal(before[..., [0, 1, 2, 3]], after[..., [1, 0, 3, 2]])
    assert (before[0, 0, 6], after[0, 0, 6]) == pytest.approx((-0.75, 0.75))
    assert (before[..., 5] == 0).all()
    assert (after[..., 5] == 1).all()


def test_points_have_the_names_that_go_players_use():
    game = Go(size=19)
    assert [game.action_name(action) for action in (0, 8, 18, 360, 361)] == ["A19", "J19", "T19", "T1", "pass"]
    assert game.action_of(" q16 ") == 3 * 19 + 15
    assert game.action_of("PASS") == 361
    assert [game.action_of(game.action_name(action)) for action in range(362)] == list(range(362))


@pytest.mark.parametrize("name", ["I5", "", "A", "A0", "A20", "U1", "5A", "A1 1", "A-1", "A\u0663", "pas"])
def test_what_names_no_point_is_said(name):
    with pytest.raises(
        TeguError, match=r"^expected a point from A1 \(bottom left\) to T19 \(there is no I\) or pass, got"
    ):
        Go(size=19).action_of(name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 1}, "size must be a whole number from 2 to 19, got 1"),
        ({"size": 20}, "size must be a whole number from 2 to 19, got 20"),
        ({"size": 5.0}, "size must be a whole number from 2 to 19, got 5.0"),
        ({"size": "5x5"}, "size must be a whole number from 2 to 19, got '5x5'"),
        ({"max_moves": 0}, "max_moves must be a whole number from 1, or None, got 0"),
        ({"max_moves": 9.5}, "max_moves must be a whole number from 1, or None, got 9.5"),
        ({"komi": float("nan")}, "komi must be a finite number, got nan"),
        ({"komi": None}, "komi must be a finite number, got None"),
        ({"komi_spread": -1}, "komi_spread must be a finite number from 0, got -1"),
        ({"komi_spread": True}, "komi_spread must be a finite number from 0, got True"),
        ({"superko": 1}, "superko must be True or False, got 1"),
        ({"suicide": "no"}, "suicide must be True or False, got 'no'"),
    ],
)
def test_wrong_options_are_said(options, says):
    with pytest.raises(TeguError, match=rf"^go-9x9: {says}$"):
        find("go-9x9", None, options)


def test_a_drawing_shows_each_stone():
    game = Go(size=9)
    state = play(game, "D4", "F6", "C3").state
    lines = game.text(state).splitlines()
    assert lines[0].split() == list("ABCDEFGHJ")
    assert lines[4].split() == ["6", *"·····○···", "6"]
    assert lines[6].split() == ["4", *"···●·····", "4"]
    assert lines[7].split() == ["3", *"··●···+··", "3"]
    picture = game.image(state)
    assert picture.dtype == np.uint8
    dark = (picture < 60).all(axis=-1).sum()
    assert dark > (game.image(start(game)) < 60).all(axis=-1).sum() + 2 * 1000


@pytest.mark.slow
@needs_gnu_go
@pytest.mark.parametrize(("size", "games"), [(5, 12), (9, 5), (19, 1)])
def test_gnu_go_plays_by_these_rules(size, games):
    """Legal moves, kos, captures and boards of random games, asked for over GTP."""
    game, random = Go(size=size), np.random.default_rng(size)
    with subprocess.Popen(
        [GNU_GO, "--mode", "gtp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:

        def ask(command):
            program.stdin.write(command + "\n")
            program.stdin.flush()
            lines = [program.stdout.readline()]
            assert lines[0].startswith("="), lines
            while line := program.stdout.readline().strip():
                lines.append(line)
            return " ".join([lines[0][1:].strip(), *lines[1:]]).split()

        ask(f"boardsize {size}")
        for _ in range(games):
            ask("clear_board")
            position, taken = start(game), {"black": 0, "white": 0}
            for _ in range(min(game.most_moves - 1, 400)):
                colour = "black" if position["to_play"] == 0 else "white"
                legal = np.flatnonzero(position["action_mask"][:-1])
                assert sorted(game.action_of(name) for name in ask(f"all_legal {colour}")) == legal.tolist()
                if not len(legal):
                    break
                action = int(random.choice(legal))
                ask(f"play {colour} {game.action_name(action)}")
                before = (position["board"] != 0).sum()
                position = jax.device_get(stepped(game)(position, np.int32(action), KEY)).state
                taken[colour] += int(before + 1 - (position["board"] != 0).sum())
                assert int(ask(f"captures {colour}")[0]) == taken[colour]
                for name, stone in (("black", 1), ("white", -1)):
                    stones = sorted(game.action_of(point) for point in ask(f"list_stones {name}"))
                    assert stones == np.flatnonzero(position["board"] == stone).tolist()
        program.stdin.write("quit\n")
        program.stdin.flush()
