"""Training from the command line: results, what is kept, and the lizard's table."""

import re
import warnings
from pathlib import Path

import pytest
from cli.conftest import ESCAPE, Command, one_line

from tegu.runs import Run

KEYS = {"run", "environment", "algorithm", "backend", "steps", "seconds", "seeds", "evaluation", "curve"}


@pytest.mark.slow
def test_json_is_one_object_with_all_keys(tegu: Command, tmp_path: Path) -> None:
    answer = tegu("train", "lizard", "--seeds", "3", "--seed", "5", "--steps", "2000", "--json", "--quiet")
    assert answer.status == 0
    assert answer.err == ""
    assert answer.data.keys() == KEYS
    found = answer.data["evaluation"]
    assert found.keys() == {"mean", "std", "interval", "per_seed", "success_rate", "episodes", "deterministic"}
    assert (answer.data["seeds"], answer.data["steps"]) == ([5, 6, 7], 2000)
    assert (len(found["per_seed"]), found["episodes"], found["deterministic"]) == (3, 100, True)
    assert found["interval"][0] <= found["mean"] <= found["interval"][1]
    run = Run.open(tmp_path / answer.data["run"])
    assert run.status.state == "finished"
    assert (tmp_path / answer.data["curve"]).read_bytes().startswith(b"\x89PNG")


def test_flags_reach_the_run(tegu: Command) -> None:
    words = "--steps 1k --learning-rate lin_0.5 --gamma 0.9 --log-interval 100 --episodes 0 --json"
    answer = tegu("train", "FrozenLake-v1", "q-learning", "--env-options", "is_slippery=false", *words.split())
    config = Run.open("last").config
    assert config["hyper_parameters"]["learning_rate"] == "lin_0.5"
    assert config["hyper_parameters"]["gamma"] == 0.9
    assert config["environment_options"] == {"is_slippery": False}
    assert (config["steps"], config["log_interval"]) == (1000, 100)
    assert answer.data["evaluation"] is None


def test_a_lizard_without_a_terminal(tegu: Command) -> None:
    """Plain lines while training, then the table, the score and what to do next."""
    answer = tegu("train", "lizard", "--steps", "5k")
    first, *_, last, after = answer.err.splitlines()
    assert after == "evaluating"
    assert first == "lizard with q-learning, 5,000 steps: runs/lizard/q-learning/1; environment: JAX, compiled"
    assert re.fullmatch(r"done after \d+ s: 5,000 of 5,000 steps, return -?[\d.]+", last)
    assert re.search(r"empty 6 +\S+ +10\.00\*", answer.out)
    assert "→" in answer.out
    assert "return  9  std 0, 95% interval 9 to 9; 100 fresh episodes, deterministic policy" in answer.out
    assert "tegu resume lizard/q-learning/1 --steps 10000" in answer.out
    assert not ESCAPE.search(answer.out + answer.err)


def test_what_comes_next_would_learn_something(tegu: Command) -> None:
    """A learning rate that ends at 0, as the preset of CartPole says, must be stretched."""
    small = (
        "--steps",
        "64",
        "--n-envs",
        "2",
        "--n-steps",
        "32",
        "--batch-size",
        "32",
        "--net-arch",
        "8",
        "--episodes",
        "2",
    )
    falling, constant = (tegu("train", "CartPole-v1", *small, *more) for more in ((), ("--learning-rate", "1e-3")))
    assert "tegu resume CartPole-v1/ppo/1 --steps 130 --stretch-schedules\n" in falling.out
    assert "tegu resume CartPole-v1/ppo/2 --steps 130\n" in constant.out


@pytest.mark.slow
def test_show_goes_through_the_first_updates(tegu: Command) -> None:
    answer = tegu("train", "lizard", "--show", "--show-updates", "40", "--steps", "1k", "--episodes", "0")
    sums = re.findall(r"Q\((.+), (.+)\) <- (\S+) \+ 0.7 \[(\S+) \+ (?:0.99 x )?(\S+) - (\S+)\] = (\S+)", answer.out)
    assert len(sums) == 40
    for _, _, *numbers in sums:
        old, reward, best, again, new = (float(text.strip("()")) for text in numbers)
        assert old == again
        assert new == pytest.approx(old + 0.7 * (reward + 0.99 * best - old), abs=2e-4)
    # the worked example: the first step right from the start, onto an empty tile of which nothing is known
    first = next(found for found in sums if found[:2] == ("empty 5", "right"))
    assert first[2:] == ("0", "-1", "0", "0", "-0.7")


def test_quiet_leaves_warnings_in_plain_lines(tegu: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        warnings.warn("\x1b[33mWARN: the disk\nis full\x1b[0m", stacklevel=1)

    monkeypatch.setattr(Run, "set_status", full)
    answer = tegu("train", "lizard", "--show", "--steps", "1k", "--quiet", "--episodes", "0")
    assert (answer.status, answer.out) == (0, "")
    assert set(answer.err.splitlines()) == {"warning: the disk is full"}


@pytest.mark.slow
def test_code_of_ones_own_is_named_again(tegu: Command, tmp_path: Path) -> None:
    (tmp_path / "corridors.py").write_text(
        "from tegu.environments.grids.lizard import Lizard\nclass Other(Lizard):\n    pass\n"
    )
    answer = tegu("train", "corridors:Other", "--steps", "100", "--episodes", "5")
    assert "tegu evaluate corridors:Other/q-learning/1 --env corridors:Other" in answer.out
    assert "name it with --env" in one_line(tegu("evaluate"), 1)
    assert tegu("evaluate", "--env", "corridors:Other", "--episodes", "5", "--quiet").status == 0
    assert "which is your own code" in one_line(tegu("resume"), 1)


def test_through_gymnasium(tegu: Command) -> None:
    words = "train CartPole-v1 dqn --backend gymnasium --steps 64 --train-freq 32 --gradient-steps 1 --episodes 2"
    answer = tegu(*words.split(), "--learning-starts", "32", "--net-arch", "8", "--json", "--quiet")
    assert (answer.data["backend"], answer.data["steps"]) == ("gymnasium", 64)
    assert Path(tegu("watch", "--json").data["animation"]).suffix in (".mp4", ".gif")
    assert "--terminal is for Tegu's own environments, in JAX" in one_line(tegu("watch", "--terminal"), 2)
