"""Strength while training, against matches played by hand."""

import jax
import numpy as np
import pytest
from arena.conftest import Fixed, known, untrained

import tegu as library
from tegu.analysis.compare import ELO
from tegu.arena.elo import ratings
from tegu.arena.match import play_match
from tegu.arena.players import AgentPlayer, MinimaxPlayer, RandomPlayer
from tegu.arena.strength import StrengthObserver
from tegu.core.errors import TeguError
from tegu.environments.games.base import Position
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.training.plan import make_plan


@pytest.mark.slow
def test_scores_and_elo_are_those_of_the_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    game, agent, key = TicTacToe(), untrained(Fixed()), jax.random.key(0)
    plan = make_plan("tic-tac-toe", Fixed(), steps=64, eval_every=32)
    opponents = [RandomPlayer(), MinimaxPlayer(game)]
    observer = StrengthObserver(plan, opponents, games=10)
    player = AgentPlayer(agent, game, "agent")
    found = observer.measure(player)
    matches = [play_match(game, player, other, 10, key) for other in opponents]
    assert [found["eval/score/random"], found["eval/score/minimax"]] == [match.score for match in matches]
    among = play_match(game, *opponents, 10, key).total.points
    own = [match.total.points for match in matches]
    points = np.array([[0, among, 10 - own[0]], [10 - among, 0, 10 - own[1]], [*own, 0]])
    rated = ratings(points)
    assert found[ELO] == pytest.approx(rated.elo[2] - rated.elo[0])
    assert found[f"{ELO}_low"] < found[ELO] < found[f"{ELO}_high"]
    assert observer.measure(player) == found  # the same openings and keys again


@pytest.mark.parametrize(
    ("environment", "algorithm", "options", "games", "says"),
    [
        ("CartPole-v1", "ppo", {"eval_every": 10}, 20, "opponents are for board games, and CartPole-v1 is not one"),
        ("tic-tac-toe", "alphazero", {}, 20, "eval_every"),
        ("tic-tac-toe", "alphazero", {"eval_every": 10}, 5, "must be an even number, two for each opening, got 5"),
    ],
)
def test_what_cannot_be_measured_is_said(
    environment: str, algorithm: str, options: dict[str, int], games: int, says: str
) -> None:
    plan = make_plan(environment, algorithm, steps=64, **options)
    with pytest.raises(TeguError, match=says):
        StrengthObserver(plan, [RandomPlayer()], games=games)


def test_opponents_are_there_and_differ() -> None:
    plan = make_plan("tic-tac-toe", "alphazero", steps=64, eval_every=10)
    with pytest.raises(TeguError, match="at least one opponent"):
        StrengthObserver(plan, [])
    with pytest.raises(TeguError, match="opponents must differ by name, got random twice"):
        StrengthObserver(plan, [RandomPlayer(), RandomPlayer()])


@pytest.mark.slow
def test_an_opponent_that_fails_costs_no_training() -> None:
    class Failing(RandomPlayer):
        name = "failing"

        def act(self, positions: Position, key: jax.Array) -> np.ndarray:
            raise TeguError("gtp:failing ended")

    settings = {"simulations": 2, "width": 4, "blocks": 1, "n_envs": 16, "train_freq": 64, "steps": 128}
    plan = make_plan("tic-tac-toe", "alphazero", eval_every=64, **settings)
    observer = StrengthObserver(plan, [Failing()], games=2)
    with pytest.warns(UserWarning, match="the strength is not known: gtp:failing ended; training goes on"):
        agent = library.train("tic-tac-toe", "alphazero", folder=None, observers=observer, **settings)
    assert agent.steps == 128


@pytest.mark.slow
def test_an_own_observer_in_python() -> None:
    """It needs no run."""
    settings = {"simulations": 2, "width": 4, "blocks": 1, "n_envs": 16, "train_freq": 64, "steps": 128}
    plan = make_plan("tic-tac-toe", "alphazero", eval_every=64, **settings)
    observer = StrengthObserver(plan, [RandomPlayer()], games=2)
    library.train("tic-tac-toe", "alphazero", folder=None, observers=observer, **settings)
    assert observer.agent.steps == 128
