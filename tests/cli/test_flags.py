"""What is typed reaches the algorithm; what makes no sense is answered with one line."""

import argparse
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Command, one_line

from tegu.cli.common import UsageError, count, number, option, whole
from tegu.cli.train import arguments


def typed(*words: str) -> dict[str, Any]:
    return vars(arguments(["CartPole-v1", "ppo", *words]))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e6", 1e6), ("1_000_000", 1e6), ("100k", 1e5), ("1M", 1e6), ("2.5K", 2500), ("-1", -1), ("3e-4", 3e-4)],
)
def test_numbers_as_people_type_them(text: str, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize(("read", "text"), [(number, "k"), (number, "nan"), (number, "inf"), (number, "1 0"),
                                            (whole, "1.5"), (whole, "1e999"), (count, "-1"), (option, "k"),
                                            (option, "=3")])  # fmt: skip
def test_numbers_that_are_none(read: Any, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=0.5", 0.5), ("a=False", False), ("a=none", None), ("a=8x8", "8x8"), ("a=b=c", "b=c"), ("a=", "")],
)
def test_options_of_environments(text: str, value: Any) -> None:
    assert option(text) == ("a", value)


def test_hyper_parameters_are_flat_flags() -> None:
    args = typed("--learning-rate", "lin_1e-3", "--net_arch", "64", "32", "--n-steps=1k", "--target-kl", "none")
    assert args["learning_rate"] == "lin_1e-3"
    assert args["net_arch"] == [64, 32]
    assert args["n_steps"] == 1000
    assert args["target_kl"] is None
    assert "gamma" not in args  # not given: the preset holds
    assert typed("--no-normalize-advantage")["normalize_advantage"] is False
    assert typed("--normalize-advantage")["normalize_advantage"] is True
    assert typed("--gradient-steps", "-1")["gradient_steps"] == -1


def test_a_flag_that_several_algorithms_have_is_read_as_the_one_that_is_meant_does() -> None:
    """PPO's entropy coefficient is a number, SAC's may be learned; on HalfCheetah-v5 SAC is what the preset names."""
    for words in (["Pendulum-v1", "sac"], ["HalfCheetah-v5"]):
        assert arguments([*words, "--ent-coef", "auto_0.5"]).ent_coef == "auto_0.5"
        assert arguments([*words, "--ent-coef", "0.5"]).ent_coef == 0.5
    with pytest.raises(UsageError, match="argument --ent-coef: expected a number"):
        arguments(["Pendulum-v1", "ppo", "--ent-coef", "auto"])


def test_help_shows_hyper_parameters_with_their_presets(tegu: Command) -> None:
    shown = " ".join(tegu("train", "CartPole-v1", "ppo", "--help").out.split())
    assert "--learning-rate X|lin_X Adam's learning rate" in shown
    assert "(preset lin_0.002, else 0.0003)" in shown
    assert "--no-normalize-advantage mean 0 and variance 1 in each minibatch (on)" in shown
    assert "of each seed (100,000)" in shown
    assert "--tau" not in shown
    assert "--tau" in tegu("train", "CartPole-v1", "dqn", "--help").out


@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("--learnin-rate", "--learning-rate"),
        ("--num-steps", "--n-steps"),
        ("--minibatch_size", "--batch-size"),
        ("--lr", "--learning-rate"),
        ("--total-timesteps", "--steps"),
    ],
)
def test_wrong_flags_name_the_nearest(flag: str, hint: str, tegu: Command) -> None:
    written = "--" + flag[2:].replace("_", "-")
    assert one_line(tegu("train", "CartPole-v1", flag, "3"), 2) == (
        f"tegu: there is no flag {written}: did you mean {hint}?"
    )


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("train", 2, "required: ENV"),
        ("train CartPole-v1 --learning-rate abc", 2, "--learning-rate: expected a number"),
        ("train CartPole-v1 --learning-rate lin_abc", 2, "expected a number or a schedule"),
        ("train CartPole-v1 --backend torch", 2, "--backend: invalid choice"),
        ("train CartPole-v1 --env-options gravity", 2, "expected key=value"),
        ("train Cartpole-v1", 1, "did you mean CartPole-v1"),
        ("train CartPole-v1 pppo", 1, "did you mean ppo?"),
        ("train CartPole-v1 ppo --tau 1", 1, "ppo has no hyper-parameter 'tau'"),
        ("train CartPole-v1 --seeds 0", 1, "seeds must be at least 1"),
        ("train CartPole-v1 --env-options gravitas=1", 1, "gravitas"),
        ("train CartPole-v1 --backend gymnasium --env-options gravitas=1", 1, "gravitas"),
        ("train CartPole-v1 --episodes 1e12", 1, "at most 1,000,000, got 1,000,000,000,000"),
        ("train CartPole-v1 --show", 1, "--show needs q-learning"),
        ("evaluate nothing", 1, "there is no run 'nothing'"),
        ("evaluate --episodes 0", 1, "there is no run 'last'"),
        ("watch --fps 0", 2, "--fps must be above 0"),
        ("watch --max-steps 0", 2, "--max-steps must be at least 1, got 0"),
        ("train CartPole-v1 --steps -5", 2, "--steps: expected a whole number that is not negative, got '-5'"),
        ("evaluate --episodes x", 2, "--episodes: expected a whole number such as 100, 1e6 or 100k, got 'x'"),
        ("compare", 2, "required: RUN"),
        ("compare a b", 1, "there is no run 'a'"),
        ("export", 2, "--csv --tensorboard --sgf is required"),
        ("list everything", 2, "invalid choice: 'everything'"),
        ("check Cartpole-v1", 1, "did you mean CartPole-v1"),
    ],
)
def test_mistakes_are_answered_with_one_line(words: str, status: int, says: str, tegu: Command, tmp_path: Path) -> None:
    assert says in one_line(tegu(*words.split()), status)
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tegu: Command) -> None:
    with pytest.raises(Exception, match="there is no run"):
        tegu("evaluate", "nothing", "--debug")
