"""Algorithms of a person's own: named by the person, or registered by a package."""

import sys
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
import pytest

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.hyper_parameters import hyper_parameters
from tegu.algorithms.plugins import registered
from tegu.algorithms.registry import algorithm, class_of, settings
from tegu.cli import main
from tegu.runs import Run

MODULE = '''
"""An algorithm in a module of its own."""

from __future__ import annotations

from typing import NamedTuple, Optional

import equinox as eqx
import jax
import jax.numpy as jnp

import tegu


class Learner(NamedTuple):
    weight: jax.Array


class Walk(tegu.Algorithm):
    """A linear policy that walks at random. It learns nothing."""

    sigma: float = 0.1  #: how far each update goes
    length: int = eqx.field(static=True, default=8)  #: steps of a rollout
    decay: Optional[float] = None  #: of the weights

    @property
    def experience(self):
        return tegu.Rollout(self.length)

    def init(self, key, spec):
        return Learner(jax.random.normal(key, (spec.observation_space.shape[0], int(spec.action_space.n))))

    def act(self, learner, observation, memory, key, *, explore):
        return tegu.Decision((observation @ learner.weight).argmax(-1).astype(jnp.int32), memory)

    def update(self, learner, batch, key):
        moved = learner.weight + self.sigma * jax.random.normal(key, learner.weight.shape)
        return tegu.Update(Learner(moved), {"loss": batch.reward.mean()})


class Further(Walk):
    extra: int = eqx.field(static=True, default=3)  #: one more


NOT_ONE = 3
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh module with algorithms, to be found from here."""
    name = f"walks_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "gymnasium"])
def test_a_run_names_its_algorithm_and_wants_it_again(module: str, backend: str) -> None:
    named = f"{module}:Walk"
    agent = tegu.train("CartPole-v1", named, sigma=0.5, steps=64, n_envs=2, seeds=2, backend=backend)
    assert agent.network == ""
    assert Run.open("last").config["algorithm"] == named
    assert Run.open("last").config["hyper_parameters"] == {"sigma": 0.5, "length": 8, "decay": None}
    del sys.modules[module]
    for read in (tegu.load, tegu.resume):
        with pytest.raises(
            tegu.TeguError, match=rf"trained with {named}, which is your own code: .*\(--algorithm {named}, or"
        ):
            read("last")
        with pytest.raises(tegu.TeguError, match=rf"was trained with {named}, not with dqn"):
            read("last", algorithm="dqn")
    assert module not in sys.modules  # nothing was imported because a file says so
    with pytest.raises(tegu.TeguError, match=rf"was trained with {named}, not with {module}:Further"):
        tegu.load("last", algorithm=f"{module}:Further")
    cls = sys.modules[module].Walk
    again = tegu.load("last", algorithm=cls)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    assert again.evaluate(2).returns.shape == (2, 2)
    resumed = tegu.resume("last", algorithm=named, steps=128)
    unbroken = tegu.train("CartPole-v1", cls(sigma=0.5), steps=128, n_envs=2, seeds=2, backend=backend, folder=None)
    assert unbroken.algorithm.name == named
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(resumed.learners), jax.tree.leaves(unbroken.learners))


def test_hyper_parameters_are_read_from_the_class_and_its_base(module: str) -> None:
    assert algorithm(class_of_module(module, "Further"), {"decay": 0.5, "length": 4}).length == 4
    known = settings(class_of_module(module, "Further"))
    assert {name: setting.help for name, setting in known.items()} == {
        "sigma": "how far each update goes",
        "length": "steps of a rollout",
        "decay": "of the weights",
        "extra": "one more",
    }
    with pytest.raises(tegu.TeguError, match=r":Further has no hyper-parameter 'sigm': did you mean sigma\?"):
        algorithm(class_of_module(module, "Further"), {"sigm": 1})


def class_of_module(module: str, name: str) -> Any:
    return getattr(__import__(module), name)


class MyPPO(tegu.PPO):
    """One of ours, changed: its name must not stand for ours."""


class Odd(tegu.DQN):
    table: dict = eqx.field(static=True, default_factory=dict)


class Taken(tegu.QLearning):
    steps: int = eqx.field(static=True, default=3)


class Text(tegu.QLearning):
    kind: str = "new"


class Abstract(tegu.Algorithm):
    multi_agent: ClassVar[bool] = False


@pytest.mark.slow
def test_a_class_derived_from_one_of_ours_is_not_taken_for_it(tmp_path: Path) -> None:
    learning = MyPPO(net_arch=(8,), n_steps=16, batch_size=16, n_epochs=1)
    agent = tegu.train("CartPole-v1", learning, steps=32, n_envs=1, seeds=2, folder=None)
    assert agent.algorithm.name == f"{__name__}:MyPPO"
    agent.save(tmp_path / "agent")
    with pytest.raises(tegu.TeguError, match="MyPPO, which is your own code"):
        tegu.load(tmp_path / "agent")
    again = tegu.load(tmp_path / "agent", algorithm=MyPPO)
    assert type(again.algorithm) is MyPPO
    assert hyper_parameters(again.algorithm) == hyper_parameters(learning)


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ("no_such_module:Walk", "cannot import the algorithm no_such_module:Walk: No module named"),
        ("math:pi", "math:pi must be a class derived from tegu.Algorithm, it is float"),
        ("./walk.py:Walk", "names a file: name the module, the algorithm walk:Walk, from the file's folder"),
        ("walk", "there is no algorithm 'walk'"),
        (Odd, "Odd.table is of type dict, expected int, float"),
        (Taken, r"Taken.steps has the name of a keyword of tegu.train"),
        (Text, r"Text.kind is 'new', which is not a number: make it eqx.field\(static=True"),
        (Abstract, "cannot make .*Abstract: TypeError"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(chosen: Any, says: str) -> None:
    with pytest.raises(tegu.TeguError, match=says) as error:
        tegu.train("lizard" if chosen in (Taken, Text) else "CartPole-v1", chosen, folder=None)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_command_line_takes_an_algorithm_and_its_flags(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = f"{module}:Walk"
    words = ["CartPole-v1", named, "--sigma", "0.3", "--decay", "none", "--length", "4"]
    assert main(["train", *words, "--steps", "64", "--episodes", "2"]) == 0
    assert f"tegu watch CartPole-v1/{named}/1 --algorithm {named}\n" in capsys.readouterr().out
    assert Run.open("last").config["hyper_parameters"] == {"sigma": 0.3, "length": 4, "decay": None}
    assert main(["evaluate", "--episodes", "2"]) == 1
    assert f"(--algorithm {named}, or algorithm= in Python)" in capsys.readouterr().err
    assert main(["evaluate", "--episodes", "2", "--algorithm", named]) == 0
    assert main(["resume", "--steps", "96", "--episodes", "0", "--algorithm", named]) == 0
    assert main(["train", *words, "--help"]) == 0
    assert "--sigma X" in capsys.readouterr().out


# Packages


def install(folder: Path, package: str, points: dict[str, str], code: str) -> None:
    """A package with its metadata, as an installer leaves it."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {path}\n" for name, path in points.items())
    (info / "entry_points.txt").write_text(f"[tegu.algorithms]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_package_registers_an_algorithm(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "tegu-walks", {"walk": "tegu_walks:Walk"}, MODULE)
    agent = tegu.train("CartPole-v1", "walk", sigma=0.5, steps=64, seeds=2)
    assert agent.algorithm.name == "walk"
    assert type(agent.algorithm) is sys.modules["tegu_walks"].Walk
    again = tegu.load("CartPole-v1/walk/1")
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    assert tegu.resume("last", steps=96).steps == 96
    assert main(["train", "CartPole-v1", "walk", "--sigma", "0.1", "--steps", "64", "--episodes", "0"]) == 0
    with pytest.raises(tegu.TeguError, match=r"there is no algorithm 'wolk': did you mean walk\?"):
        class_of("wolk")
    capsys.readouterr()
    assert main(["list", "algorithms"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("walk"))
    assert "A linear policy that walks at random." in line
    assert "(package tegu-walks)" in line


def test_a_package_must_not_take_a_name_of_ours(site: Path) -> None:
    install(site, "tegu-evil", {"ppo": "tegu_evil:Walk", "stroll": "tegu_evil:Walk"}, MODULE)
    with pytest.warns(UserWarning, match="package tegu-evil registers an algorithm ppo, but Tegu has one: refused"):
        assert set(registered(ALGORITHMS)) == {"stroll"}
    assert class_of("ppo") is tegu.PPO  # ours is found without a look at any package


def test_a_broken_package_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "tegu-broken", {"broken": "tegu_broken:Walk", "three": "tegu_broken:NOT_ONE"}, "raise OSError('no')")
    says = "the algorithm broken of package tegu-broken cannot be imported: OSError: no"
    with pytest.raises(tegu.TeguError, match=says):
        tegu.train("CartPole-v1", "broken", folder=None)
    assert main(["list", "algorithms"]) == 0
    assert says in capsys.readouterr().out
    (site / "tegu_broken.py").write_text("NOT_ONE = 3")
    with pytest.raises(tegu.TeguError, match="three of package tegu-broken must be a class derived from"):
        class_of("three")
