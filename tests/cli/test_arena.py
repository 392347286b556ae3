"""``tegu arena``: players by name, tables and JSON."""

from pathlib import Path

import pytest
from arena.conftest import Fixed, Planner, known, untrained
from cli.conftest import ESCAPE, Command, one_line

from tegu.environments.games.connect_four import ConnectFour
from tegu.runs import Run


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with saved agents: ``fixed`` and ``planner`` play tic-tac-toe, ``other`` Connect Four."""
    known(monkeypatch)
    for name, agent in (
        ("fixed", untrained(Fixed())),
        ("planner", untrained(Planner())),
        ("other", untrained(Fixed(), ConnectFour())),
    ):
        agent.save(tmp_path / name)
    return tmp_path


def test_two_players(tegu: Command) -> None:
    answer = tegu("arena", "minimax", "random", "--game", "tic-tac-toe", "--games", "40", "--openings", "0")
    assert answer.status == 0
    title, begun, _, header, _, first, second, both = answer.out.splitlines()
    assert title == "tic-tac-toe, 40 games, half of them with either player moving first"
    assert begun == "begun with no random opening"
    assert header.split("  ")[0] == "minimax against random"
    rows = [line.split() for line in (first, second, both)]
    wins, draws, losses = ([int(row[2 + column]) for row in rows] for column in range(3))
    assert losses == [0, 0, 0]
    assert (wins[0] + draws[0], wins[1] + draws[1]) == (20, 20)
    assert (wins[2], draws[2]) == (wins[0] + wins[1], draws[0] + draws[1])
    assert rows[2][-2] == "to"
    assert not ESCAPE.search(answer.out)


def test_a_perfect_player_loses_no_fair_game(tegu: Command) -> None:
    words = ("arena", "random", "minimax", "--game", "tic-tac-toe", "--games", "100")
    fair, drawn = (tegu(*words, *more, "--json").data for more in ((), ("--openings", "4")))
    assert (fair["openings"], fair["balanced"]) == (4, True)
    assert fair["matches"][0]["total"]["wins"] == 0
    assert (drawn["openings"], drawn["balanced"]) == (4, False)
    assert drawn["matches"][0]["total"]["wins"] > 0
    assert "begun with 4 random moves that leave the result of perfect play as it was" in tegu(*words).out


@pytest.mark.slow
def test_json_is_decided_by_the_seed(tegu: Command) -> None:
    words = ("arena", "mcts:20", "random", "--game", "connect-four", "--games", "10", "--json")
    first, again, other = (tegu(*words, "--seed", seed).data for seed in ("1", "1", "2"))
    assert first == again
    assert first["matches"] != other["matches"]
    assert first.keys() == {"game", "games", "openings", "balanced", "seed", "matches", "ratings"}
    assert (first["game"], first["games"], first["openings"], first["seed"]) == ("connect-four", 10, 4, 1)
    (match,) = first["matches"]
    assert match["players"] == ["mcts:20", "random"]
    assert match["first"]["wins"] + match["first"]["draws"] + match["first"]["losses"] == 5
    assert match["interval"][0] <= match["score"] <= match["interval"][1]


def test_everybody_meets_and_is_rated(tegu: Command) -> None:
    words = ("arena", "random", "mcts:300", "mcts:3", "--game", "tic-tac-toe", "--games", "40")
    data = tegu(*words, "--json").data
    assert [match["players"] for match in data["matches"]] == [
        ["random", "mcts:300"],
        ["random", "mcts:3"],
        ["mcts:300", "mcts:3"],
    ]
    assert [entry["player"] for entry in data["ratings"]] == ["mcts:300", "mcts:3", "random"]
    assert [entry["index"] for entry in data["ratings"]] == [1, 2, 0]
    assert all(entry["games"] == 80 for entry in data["ratings"])
    assert sum(entry["points"] for entry in data["ratings"]) == 120
    assert all(entry["interval"][0] < entry["elo"] < entry["interval"][1] for entry in data["ratings"])
    rows = [line.split() for line in tegu(*words).out.splitlines()[5:]]
    assert [row[1] for row in rows] == ["mcts:300", "mcts:3", "random"]
    assert rows[0][2] == f"{data['ratings'][0]['elo']:+.0f}"


def test_agents_name_their_game(tegu: Command, agents: Path) -> None:
    data = tegu("arena", agents / "fixed", f"{agents / 'planner'}@32", "--games", "4", "--json").data
    assert data["game"] == "tic-tac-toe"
    assert data["matches"][0]["players"] == [str(agents / "fixed"), f"{agents / 'planner'}@32"]
    assert data["matches"][0]["score"] == 0.5  # both like the same squares best


def test_snapshots_of_a_run_play(tegu: Command, agents: Path) -> None:
    run = Run.create(agents / "runs", "tic-tac-toe", "planner", {})
    (agents / "planner").rename(run.snapshots)
    data = tegu("arena", "last@step=0@8", "last@step=all", "random", "--games", "2", "--json").data
    names = ["tic-tac-toe/planner/1@step=0@8", "tic-tac-toe/planner/1@step=100", "random"]
    assert [match["players"] for match in data["matches"]] == [names[:2], names[::2], names[1:]]
    assert "has no snapshot of step 101 or later" in one_line(tegu("arena", "last@step=101", "random"), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("random", 2, "expected at least two players, got only random"),
        ("random minimax --games 3", 2, "--games must be even, two for each opening, got 3"),
        ("random minimax", 2, "name the game with --game: expected tic-tac-toe or connect-four"),
        ("random minmax --game tic-tac-toe", 1, "there is no player 'minmax': did you mean minimax?"),
        ("random mcts:many --game tic-tac-toe", 2, "mcts:many: expected rollouts as in mcts:1000, got 'many'"),
        ("random mcts:0 --game tic-tac-toe", 2, "expected rollouts as in mcts:1000, from 1 to 1,000,000, got '0'"),
        ("random mcts:1e12 --game tic-tac-toe", 2, "from 1 to 1,000,000, got '1e12'"),
        ("random x@y --game tic-tac-toe", 2, "x@y: expected simulations as in x@64, got 'y'"),
        ("random x@8,y --game tic-tac-toe", 2, "x@8,y: expected NAME=VALUE after a comma, got 'y'"),
        ("fixed@scores=1 random", 1, "fixed has no hyper-parameter 'scores'"),
        ("random nobody --game tic-tac-toe", 1, "there is no run 'nobody'"),
        ("tic-tac-toe random", 1, "there is no run of tic-tac-toe yet: train one (tegu train tic-tac-toe)"),
        ("random minimax --game tictactoe", 2, "there is no game 'tictactoe': did you mean tic-tac-toe?"),
        ("random minimax --game chess", 2, "there is no game 'chess': expected tic-tac-toe or connect-four"),
        (
            "random random --game tegu.environments.grids.lizard:Lizard",
            1,
            "is not a board game: expected tic-tac-toe or",
        ),
        ("random minimax --game connect-four", 1, "connect-four is too large to be solved"),
        ("random random --game tic-tac-toe --openings 9", 1, "nearly always over after 9 random moves"),
        ("fixed other", 1, "other plays connect-four, not tic-tac-toe"),
        ("fixed random --game connect-four", 1, "connect-four does not have the observations and actions"),
        ("fixed@64 random", 1, "fixed@64 was trained with fixed, which does not search"),
        ("fixed random --seed-index 2", 1, "fixed: seed_index must lie in 0..1, got 2"),
    ],
)
def test_mistakes_are_answered_with_one_line(words: str, status: int, says: str, tegu: Command, agents: Path) -> None:
    assert says in one_line(tegu("arena", *words.split()), status)


def test_quiet(tegu: Command) -> None:
    answer = tegu("arena", "random", "random", "--game", "tic-tac-toe", "--games", "4", "--quiet")
    assert answer == (0, "", "")


def test_a_damaged_run_of_a_game_is_not_said_to_be_missing(tegu: Command) -> None:
    Path("runs/tic-tac-toe/alphazero/1").mkdir(parents=True)
    Path("runs/tic-tac-toe/alphazero/1/config.toml").write_text("steps =")
    assert "config.toml" in one_line(tegu("arena", "tic-tac-toe", "random"), 1)
