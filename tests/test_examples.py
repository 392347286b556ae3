"""Every example runs, and what it prints shows that it learned."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BALANCED = 150  # of 500 steps; a random policy manages 22, and 20 seeds of PPO's preset 238 at least
EXAMPLES = Path(__file__).parents[1] / "examples"


def quickstart(printed: str) -> bool:
    return number(r"mean return (\d+)", printed) >= BALANCED and "loaded: <PPO on CartPole-v1" in printed


def own_gymnasium_environment(printed: str) -> bool:
    return "no problems found" in printed and number(r"is ([\d.]+) degrees off", printed) < 0.5


def own_jax_environment(printed: str) -> bool:
    return "no problems found" in printed and number(r"(\d+)% of", printed) >= 75


def own_multi_agent_environment(printed: str) -> bool:
    return "no problems found" in printed and number(r"ends ([\d.]+) from", printed) < 0.35


def own_parallel_environment(printed: str) -> bool:
    return "no problems found" in printed and number(r"of both ([\d.]+);", printed) > 4.5


def spread(printed: str) -> bool:
    return number(r"are ([\d.]+) from the nearest", printed) < 1.6  # 3.7 before training


def tictactoe(printed: str) -> bool:
    beaten = number(r"against random: (\d+) won", printed)
    return beaten >= 85 and number(r"against minimax: .* (\d+) lost", printed) <= 10


def own_network(printed: str) -> bool:
    described = "network: actor with_sines (WithSines); critic with_sines (WithSines); 9,667 parameters" in printed
    return described and number(r"mean return (\d+)", printed) >= BALANCED and "loaded: <PPO on CartPole-v1" in printed


def own_algorithm(printed: str) -> bool:
    return number(r"mean return (\d+)", printed) >= BALANCED and "loaded: <Reinforce on CartPole-v1" in printed


def own_registered_environment(printed: str) -> bool:
    loaded = "loaded: <DQN on own_registered_environment:Thermostat-v0" in printed
    return loaded and number(r"mean return (-[\d.]+)", printed) > -10  # about -30 before training


def finite_environment(printed: str) -> bool:
    exact, learned = printed.partition("exact\n")[2].split("learned\n", 1)
    same = exact.splitlines() == learned.splitlines()[: len(exact.splitlines())]
    return same and number(r"largest error of an action value: ([\d.]+)", printed) < 0.5


def compare_seeds(printed: str) -> bool:
    return number(r"with probability ([\d.]+)", printed) > 0.5


def sokoban(printed: str) -> bool:
    return "the last step pays 10.9, terminated True" in printed


@pytest.mark.parametrize(
    "learned",
    [
        quickstart,
        pytest.param(own_gymnasium_environment, marks=pytest.mark.long),
        pytest.param(own_jax_environment, marks=pytest.mark.long),
        pytest.param(own_multi_agent_environment, marks=pytest.mark.long),
        pytest.param(own_parallel_environment, marks=pytest.mark.long),
        pytest.param(own_network, marks=pytest.mark.long),
        own_algorithm,
        pytest.param(own_registered_environment, marks=pytest.mark.long),
        pytest.param(spread, marks=pytest.mark.long),
        pytest.param(tictactoe, marks=pytest.mark.long),
        finite_environment,
        pytest.param(compare_seeds, marks=pytest.mark.long),
        pytest.param(sokoban, marks=pytest.mark.long),
    ],
)
def test_an_example_learns(learned: Callable[[str], bool], tmp_path: Path) -> None:
    """Each runs as a person would run it, optimised and in a folder of its own; its name is that of the check."""
    script = EXAMPLES / f"{learned.__name__}.py"
    surroundings = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert learned(done.stdout), done.stdout


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) < 60


def number(pattern: str, printed: str) -> float:
    """What the pattern's group found."""
    found = re.search(pattern, printed)
    assert found is not None, printed
    return float(found[1])
