"""``tegu train --opponents``."""

from pathlib import Path

import pytest
from cli.conftest import Command, one_line

from tegu.analysis.compare import ELO
from tegu.runs import Run

SIZE = ("--simulations", "2", "--width", "4", "--blocks", "1")
SMALL = (*SIZE, "--n-envs", "16", "--train-freq", "64", "--episodes", "0")


@pytest.mark.long
def test_a_run_keeps_the_strength_of_every_seed(tegu: Command, tmp_path: Path) -> None:
    words = ("train", "tic-tac-toe", "alphazero", *SMALL, "--seeds", "2", "--steps", "256", "--eval-episodes", "4")
    answer = tegu(*words, "--eval-every", "128", "--opponents", "random", "minimax", "--runs", str(tmp_path))
    assert answer.status == 0, answer.err
    run = Run.open("last", tmp_path)
    with run.metrics(read_only=True) as store:
        for name in (ELO, f"{ELO}_low", f"{ELO}_high", "eval/score/random", "eval/score/minimax"):
            for seed in (0, 1):
                assert list(store.read(name, seed)[0]) == [128, 256]
    assert (run.path / "curve.png").stat().st_size > 1000
    again = ("resume", "last", "--steps", "384", "--episodes", "0", "--runs", str(tmp_path))
    assert tegu(*again, "--opponents", "random", "minimax").status == 0
    with run.metrics(read_only=True) as store:
        assert list(store.read(ELO, 1)[0]) == [128, 256, 384]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tic-tac-toe", "--opponents", "random"), "evaluations of tegu train --eval-every"),
        (("tic-tac-toe", "--eval-every", "10", "--opponents", "randm"), "did you mean random?"),
        (("tic-tac-toe", "--eval-every", "10", "--eval-episodes", "3", "--opponents", "random"), "even number"),
        (("CartPole-v1", "--eval-every", "10", "--opponents", "random"), "CartPole-v1 is not a board game"),
        (("tic-tac-toe", "--opponents", "random", "--sweep", "width=4,8"), "--opponents and --sweep"),
    ],
)
def test_wrong_opponents_are_one_line(tegu: Command, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    answer = tegu("train", *words, "--runs", str(tmp_path))
    assert says in one_line(answer, answer.status)
    assert answer.status in (1, 2)
    assert not list(tmp_path.iterdir())
