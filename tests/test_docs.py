"""What the documentation says exists: every command, flag and name, every hyper-parameter, every logged key."""

import ast
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.registry import algorithm, settings
from tegu.cli import _ALIASES, COMMANDS
from tegu.core.schedule import Clock
from tegu.training.fused import Fused
from tegu.training.plan import spec_of
from tegu.training.tally import Fault, Sum, Tally, summarize

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


LINES = [
    pytest.param(line, id=f"{page}: {line}")
    for page, text in TEXTS.items()
    for block in blocks(text, "sh")
    for line in block.splitlines()
    if line.startswith("tegu ")
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_parses(line: str) -> None:
    _, command, *words = shlex.split(line, comments=True)
    assert command in COMMANDS
    try:
        import_module(f"tegu.cli.{command}").arguments(words)
    except SystemExit as end:
        assert not end.code, "only --help may end here"  # noqa: PT017


@pytest.mark.parametrize("page", TEXTS)
def test_names_exist(page: str) -> None:
    """Commands in the text, dotted names, and what Python blocks import."""
    for command in re.findall(r"`tegu ([a-z]\w*)[^`]*`", TEXTS[page]):
        assert command in {*COMMANDS, *_ALIASES}, command
    for name in re.findall(r"\btegu(?:\.[A-Za-z]\w*)+", TEXTS[page]):
        resolve(name)
    for block in blocks(TEXTS[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tegu"):
                for alias in node.names:
                    resolve(f"{node.module}.{alias.name}")


def resolve(name: str) -> Any:
    """The module, class or attribute of a dotted name."""
    found: Any = tegu
    path = "tegu"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        try:
            found = getattr(found, part)
        except AttributeError:
            found = import_module(path)
    return found


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_hyper_parameter_is_documented(name: str) -> None:
    """The algorithm's page has the table, and every field a comment for it."""
    assert f"```{{hyper-parameters}} {name}\n" in TEXTS[f"docs/algorithms/{name}.md"]
    assert settings(name)
    for key, setting in settings(name).items():
        assert setting.help, key


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ("lizard", "q-learning"),
        ("lizard", "sarsa"),
        ("lizard", "double-q-learning"),
        ("lizard", "q-lambda"),
        ("lizard", "monte-carlo"),
        ("lizard", "dyna-q"),
        ("lizard", "prioritized-sweeping"),
        ("lizard", "adaptive-dp"),
        ("CartPole-v1", "dqn"),
        ("CartPole-v1", "ars"),
        ("CartPole-v1", "cma-es"),
        ("Pendulum-v1", "ppo"),
        ("Pendulum-v1", "ddpg"),
        ("Pendulum-v1", "mve-ddpg"),
        ("Pendulum-v1", "sac"),
        ("Pendulum-v1", "mpc"),
        ("Pendulum-v1", "pets"),
        ("Pendulum-v1", "mbpo"),
        ("Pendulum-v1", "mbmf"),
        ("CartPole-v1", "i2a"),
        ("Pendulum-v1", "dreamer"),
        ("Pendulum-v1", "td-mpc2"),
        ("Pendulum-v1", "world-models"),
        ("CartPole-v1", "muzero"),
        ("tic-tac-toe", "alphazero"),
        ("tic-tac-toe", "alphago"),
        ("simple_push_v3", "maddpg"),
        ("simple_push_v3", "mappo"),
    ],
)
def test_every_key_of_an_algorithm_is_documented(environment: str, name: str) -> None:
    world: Any = tegu.make(environment)
    made = algorithm(name, {})
    loop = Fused(made, world, spec_of(environment, world, 1))

    def reported() -> Any:
        state, clock = loop.init(jax.numpy.int32(0), made), Clock.of(0, 1)
        _, episodes, metrics = loop.iteration(state, made, clock, clock, learns=True)[2]
        return episodes, metrics

    one = np.ones(1)
    episodes, metrics = jax.tree.map(lambda _: Sum(one, one), jax.eval_shape(reported))
    (keys,) = summarize(Tally(one, one, episodes.total_reward, one, one, metrics, Fault(*[one] * 4)))
    assert len(keys) > (3 if name == "mpc" else 5)
    for key in keys:
        general = "/".join("NAME" if part in world.agents else part for part in key.split("/"))
        assert f"`{general}`" in TEXTS["docs/reference/logged-keys.md"], key


def test_every_other_key_is_documented() -> None:
    """Those that stand in the code as they are."""
    found = set[str]()
    for path in (ROOT / "src").rglob("*.py"):
        found |= set(re.findall(r'"((?:rollout|train|time|eval)/\w+)"', path.read_text(encoding="utf-8")))
    assert "time/fps" in found
    for key in found:
        assert f"`{key}`" in TEXTS["docs/reference/logged-keys.md"], key


@pytest.mark.slow
def test_the_pages_build(tmp_path: Path) -> None:
    """Without a warning: links, references and included files are all there."""
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path]
    built = subprocess.run([*command, "-d", tmp_path / "doctrees"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


def test_the_taxonomy_has_every_algorithm_and_every_file() -> None:
    """Also which-algorithm.md names none that is not there: its links are checked when the pages are built."""
    text = TEXTS["docs/taxonomy.md"]
    for name in ALGORITHMS:
        assert f"(algorithms/{name}.md)" in text, name
    files = re.findall(r"`(tegu/[\w/]+\.py)`", text)
    assert len(files) > 15
    for file in files:
        assert (ROOT / "src" / file).is_file(), file
