"""One team played by one run, the other by another, from the command line."""

from itertools import product
from pathlib import Path

import jax
import pytest
from cli.conftest import Command, one_line
from PIL import Image

import tegu as library
from tegu.cli import main
from tegu.training.plan import spec_of

PLAYERS = ("first", "second")
TEAMS = ("adversaries", "good")
MEASURES = {f"{name}_distance/{when}" for name in ("agent", "adversary") for when in ("mean", "end")}


@pytest.fixture(scope="module")
def pushers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two saved agents of two seeds, untrained, in a world with two teams, and a run with one agent."""
    folder = tmp_path_factory.mktemp("pushers")
    world, algorithm = library.make("simple_push_v3"), library.MADDPG(net_arch=(8,))
    spec = spec_of(world.id, world, 1)
    for index, name in enumerate(PLAYERS):
        keys = jax.random.split(jax.random.key(index), 2)
        learners = jax.jit(jax.vmap(lambda key: algorithm.init(key, spec)))(keys)
        library.Agent(algorithm, spec, learners, (0, 1), 0).save(folder / name)
    assert main(["train", "lizard", "--steps", "500", "--episodes", "0", "--quiet", "--runs", str(folder)]) == 0
    return folder


def test_every_run_on_every_side(tegu: Command, pushers: Path) -> None:
    runs = [str(pushers / name) for name in PLAYERS]
    words = ("crossplay", *runs, "--episodes", "40")
    answer = tegu(*words)
    assert answer.status == 0
    assert "simple_push_v3, 40 episodes of each of 2 pairs of seeds, deterministic policies" in answer.out
    assert (
        "rows: the run that plays adversaries (adversary_0)\ncolumns: the run that plays good (agent_0)" in answer.out
    )
    for quantity in (*(f"return of {team}" for team in TEAMS), *MEASURES):
        assert answer.out.count(f"\n{quantity} ") == 1
    data = tegu(*words, "--json").data
    assert data["teams"] == {"adversaries": ["adversary_0"], "good": ["agent_0"]}
    assert [(entry["run"], entry["algorithm"]) for entry in data["runs"]] == [(run, "maddpg") for run in runs]
    assert (data["episodes"], data["seeds"], data["deterministic"]) == (40, 2, True)
    assert [cell["by"] for cell in data["cells"]] == [
        dict(zip(TEAMS, pair, strict=True)) for pair in product(runs, runs)
    ]
    for cell in data["cells"]:
        metrics = {name: found for name, found in cell.items() if name not in ("by", "indices")}
        assert set(metrics) == {"return of adversaries", "return of good", *MEASURES}
        for found in metrics.values():
            assert found["interval"][0] <= found["mean"] <= found["interval"][1]
        # what the adversary gains is the good agent's distance less its own, over 25 steps
        gain = 25 * (metrics["agent_distance/mean"]["mean"] - metrics["adversary_distance/mean"]["mean"])
        assert metrics["return of adversaries"]["mean"] == pytest.approx(gain, rel=1e-4, abs=1e-3)


def test_many_players(tegu: Command, pushers: Path) -> None:
    """The returns alone, and a picture."""
    runs = [str(pushers / name) for name in (*PLAYERS, *PLAYERS, "first")]
    answer = tegu("crossplay", *runs, "--episodes", "2", "--out", "returns.png")
    assert all(f"\nreturn of {team} " in answer.out for team in TEAMS)
    assert not any(f"\n{measure} " in answer.out for measure in MEASURES)
    assert "--json has 95% intervals and the measures, too" in answer.out
    assert " to " not in answer.out
    assert answer.out.splitlines()[-1] == "returns.png"
    with Image.open("returns.png") as picture:
        assert min(picture.size) > 300
    assert ".png or .svg or .pdf" in one_line(tegu("crossplay", *runs, "--episodes", "2", "--out", "x.txt"), 1)


def test_sides_of_ones_own(tegu: Command, pushers: Path) -> None:
    runs = [pushers / name for name in PLAYERS]
    words = ("crossplay", *runs, "--episodes", "5", "--json", "--stochastic", "--seed", "7", "--team", "agent_0")
    data = tegu(*words).data
    assert data["teams"] == {"agent_0": ["agent_0"], "adversary_0": ["adversary_0"]}
    assert not data["deterministic"]
    assert "return of agent_0" in data["cells"][0]


def test_what_makes_no_sense(tegu: Command, pushers: Path) -> None:
    first, _ = runs = [pushers / name for name in PLAYERS]
    assert "at least two runs, got only last" in one_line(tegu("crossplay", "last"), 2)
    assert "--episodes must be at least 2" in one_line(tegu("crossplay", *runs, "--episodes", "1"), 2)
    assert "expected agents as in" in one_line(tegu("crossplay", *runs, "--team", "a,,b"), 2)
    assert "did you mean agent_0?" in one_line(tegu("crossplay", *runs, "--team", "agent_1"), 1)
    assert "lizard has one agent" in one_line(tegu("crossplay", first, "lizard", "--runs", pushers), 1)
    assert "there is no run" in one_line(tegu("crossplay", first, "simple_push_v3/ppo", "--runs", pushers), 1)
