"""Telling runs apart: in narrow terminals, by what was set, and by which was used last."""

import io
import os
from pathlib import Path

import pytest
from cli.conftest import Command, one_line
from rich.console import Console

from tegu.analysis.compare import FIRST_PLAYER, RETURN
from tegu.analysis.layout import Column, fitted
from tegu.cli.panel import LivePanel
from tegu.environments.games.base import PLAYERS
from tegu.runs import Run
from tegu.training.trainer import Progress

NAMES = [f"ppo learning_rate={rate} normalize_advantage=False" for rate in ("0.001", "0.0003")]


def lines(table: object, width: int) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_table_leaves_out_what_matters_less(width: int) -> None:
    columns = [Column("group", right=False, wraps=True), *(Column(f"number {i}", rank=i) for i in range(8))]
    rows = [[name, *(f"{1000 * i + 123:,}.5" for i in range(8))] for name in NAMES]
    shown = lines(fitted(columns, rows, width), width)
    assert max(map(len, shown)) <= width
    text = " ".join(" ".join(shown).split())
    assert all(name.split()[1] in text for name in NAMES)
    assert "number 0" in shown[0]
    assert "123.5" in text
    assert ("no room for" in text) == (width < 120)
    assert not any("no room for" in line for line in lines(fitted(columns, rows, None), 200))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_panel_shows_every_name(tmp_path: Path, width: int) -> None:
    run = Run.create(tmp_path, "MountainCarContinuous-v0", "ppo", {"backend": "jax"})
    metrics = {"rollout/ep_rew_mean": 1.0, "train/policy_gradient_loss": 0.5, "train/explained_variance": 0.25}
    file = io.StringIO()
    panel = LivePanel(Console(file=file, width=width))
    panel(Progress("training", 100_096, 1_000_000, 5, 1.0, 200.0, [metrics] * 5, {}, run))
    panel._live.console.print(panel._render())
    shown = file.getvalue()
    for text in ("policy_gradient_loss", "explained_variance", "100,096 of 1,000,000 steps x 5 seeds", "200 steps/s"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= width


def test_games_show_their_length_and_who_wins(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "tic-tac-toe", "alphazero", {"backend": "jax"})
    ends = {"rollout/ep_rew_mean": 0.0, "rollout/ep_rew_mean/first": 0.5, "rollout/ep_rew_mean/second": -0.5}
    panel = LivePanel(Console(file=io.StringIO(), width=80))
    panel(Progress("training", 10, 100, 1, 1.0, 1.0, [ends | {"rollout/ep_len_mean": 7.25}], {}, run))
    assert (panel.measure, panel.curve, panel.first) == ("game length", [7.25], 0.75)


def test_games_are_listed_with_their_evaluation(tegu: Command, tmp_path: Path) -> None:
    """The mean over both players is always 0: that is no score."""
    assert f"{RETURN}/{PLAYERS[0]}" == FIRST_PLAYER
    ends = {"rollout/ep_rew_mean": 0.0, "rollout/ep_rew_mean/first": 0.5, "rollout/ep_rew_mean/second": -0.5}
    for evaluated in ({}, {"eval/mean_reward": 0.75}):
        run = Run.create(tmp_path / "runs", "tic-tac-toe", "alphazero", {"seeds": [0]})
        with run.metrics() as metrics:
            metrics.write(10, {0: ends | evaluated})
    listed = {entry["run"]: entry["return"] for entry in tegu("list", "runs", "--json").data["runs"]}
    assert listed == {"tic-tac-toe/alphazero/1": None, "tic-tac-toe/alphazero/2": 0.75}


def sweep(root: Path) -> None:
    for number, rate in enumerate((0.1, 0.2)):
        run = Run.create(
            root, "lizard", "ppo", {"seeds": [0], "hyper_parameters": {"learning_rate": rate, "gamma": 1.0}}
        )
        run.set_status("finished" if number else "failed", steps=10, total=10)
        with run.metrics() as metrics:
            metrics.write(10, {0: {"rollout/ep_rew_mean": float(number)}})
    Run.create(root, "CartPole-v1", "ppo", {"seeds": [0]})


def test_runs_are_told_apart_chosen_and_sorted(tegu: Command, tmp_path: Path) -> None:
    sweep(tmp_path / "runs")

    def names(*words: str) -> list[str]:
        return [entry["run"] for entry in tegu("list", "runs", *words, "--json").data["runs"]]

    shown = tegu("list", "runs").out
    assert all(f"learning_rate={rate}" in shown for rate in (0.1, 0.2))
    assert "gamma" not in shown
    first = tegu("list", "runs", "--json").data["runs"][-1]
    assert first["settings"] == {"hyper_parameters.learning_rate": 0.1}
    assert names("--env", "CartPole-v1") == ["CartPole-v1/ppo/1"]
    assert names("--status", "failed", "--algorithm", "ppo") == ["lizard/ppo/1"]
    assert names("--sort", "score") == ["lizard/ppo/2", "lizard/ppo/1", "CartPole-v1/ppo/1"]
    assert names("--sort", "name") == ["CartPole-v1/ppo/1", "lizard/ppo/1", "lizard/ppo/2"]
    assert "no such runs" in tegu("list", "runs", "--env", "Pendulum-v1").out
    assert "choose among runs" in one_line(tegu("list", "presets", "--env", "lizard"), 2)


def test_last_is_the_run_that_was_used_last(tmp_path: Path) -> None:
    one, two = (Run.create(tmp_path, "lizard", "ppo", {}) for _ in range(2))
    for run, age in ((one, 20), (two, 10)):
        os.utime(run.path / "config.toml", (1e9 - age, 1e9 - age))
    assert Run.open("last", tmp_path).name == two.name
    with one.lock():
        pass
    assert Run.open("last", tmp_path).name == one.name
    assert [run.name for run in Run.list(tmp_path)] == [one.name, two.name]


def test_compare_says_that_no_episode_ended(tegu: Command) -> None:
    run = Run.create("runs", "lizard", "ppo", {"seeds": [0]})
    with run.metrics() as metrics:
        metrics.write(10, {0: {"train/loss": 1.0, "time/fps": 2.0}})
    says = one_line(tegu("compare", "last"), 1)
    assert "no episode has ended" in says
    assert "train/loss" in says


@pytest.mark.slow
def test_evaluation_in_one_game_has_no_nan(tegu: Command) -> None:
    words = "tic-tac-toe --steps 64 --n-envs 8 --train-freq 64 --batch-size 8 --gradient-steps 1 --simulations 2"
    small = "--buffer-size 64 --width 8 --blocks 1 --episodes 0 --quiet"
    assert tegu("train", *words.split(), *small.split()).status == 0
    answer = tegu("evaluate", "--episodes", "1")
    assert "nan" not in answer.out + answer.err
    assert tegu("evaluate", "--episodes", "1", "--json").data["deterministic"]["agents"]["second"]["mean"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train CartPole-v1 ppo --eval-freq 10", "did you mean --eval-every?"),
        ("train CartPole-v1 ppo --train-fre 10", "there is no flag --train-fre: "),
        ("train CartPole-v1 dqn --train-fre 10", "did you mean --train-freq?"),
        ("train CartPole-v1 ppo --sweep lambda=1,2", "ppo has no hyper-parameter 'lambda'"),
    ],
)
def test_hints_name_what_the_algorithm_has(tegu: Command, words: str, says: str) -> None:
    line = one_line(tegu(*words.split()), 2)
    assert says in line
    assert " ppo " not in words or "--train-freq" not in line


@pytest.mark.slow
def test_a_sweep_takes_the_names_of_other_libraries(tegu: Command) -> None:
    answer = tegu("train", "lizard", "--sweep", "lr=0.5,0.25", "--steps", "100", "--episodes", "0", "--quiet", "--json")
    assert [run["values"] for run in answer.data["sweep"]] == [{"learning_rate": 0.5}, {"learning_rate": 0.25}]


def test_watch_says_what_a_class_of_ones_own_lacks(tegu: Command, tmp_path: Path) -> None:
    (tmp_path / "plain_world.py").write_text(
        "import gymnasium, numpy\n"
        "class World(gymnasium.Env):\n"
        "    observation_space = action_space = gymnasium.spaces.Discrete(2)\n"
        "    metadata = {'render_modes': ['rgb_array']}\n"
        "    def __init__(self): pass\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed); return 0, {}\n"
        "    def step(self, action): return 0, 1.0, True, False, {}\n"
        "    def render(self): return numpy.zeros((8, 8, 3), numpy.uint8)\n"
    )
    words = ("plain_world:World", "q-learning", "--steps", "20", "--episodes", "0", "--quiet")
    assert tegu("train", *words).status == 0
    says = one_line(tegu("watch", "--env", "plain_world:World"), 1)
    assert "must take render_mode=None and keep it as self.render_mode" in says
    assert "TypeError" not in says


def test_a_run_without_a_checkpoint_says_so(tegu: Command) -> None:
    Run.create("runs", "lizard", "q-learning", {"seeds": [0]}).set_status("failed")
    assert "lizard/q-learning/1 has no checkpoint" in one_line(tegu("evaluate", "last"), 1)
