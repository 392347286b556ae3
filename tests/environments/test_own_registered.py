"""Environments that a package registers with Gymnasium are named ``package:Name-v0``, by a person and by no file."""

import importlib.util
import sys
from pathlib import Path

import gymnasium
import jax
import numpy as np
import pytest

import tegu
from tegu.core.errors import TeguError
from tegu.environments.make import find, is_code, make

PACKAGE = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Slow(CartPoleEnv):
    def __init__(self, mass=0.1, render_mode=None):
        super().__init__(render_mode=render_mode)
        self.masspole = mass

gymnasium.register("{name}/Slow-v0", entry_point=Slow, max_episode_steps=50)
gymnasium.register("{name}Slow-v1", entry_point=Slow, max_episode_steps=20)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh package, to be found from here."""
    name = "".join(part.title() for part in tmp_path.name.split("_"))
    (tmp_path / f"{name}.py").write_text(PACKAGE.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_registered_environment_is_made_by_its_package(package: str) -> None:
    for id, limit in ((f"{package}/Slow-v0", 50), (f"{package}Slow-v1", 20)):
        environment = tegu.make(f"{package}:{id}", mass=0.5)
        assert environment.spec.max_episode_steps == limit
        assert environment.unwrapped.masspole == 0.5
    assert is_code(f"{package}:{id}")


def test_what_is_not_there_is_said(package: str) -> None:
    with pytest.raises(
        tegu.TeguError, match=rf"{package} registers no environment {package}Slow-v2 with Gymnasium; did you mean"
    ):
        find(f"{package}:{package}Slow-v2")
    with pytest.raises(tegu.TeguError, match="cannot import the environment no_such:Slow-v1: No module named"):
        find("no_such:Slow-v1")
    with pytest.raises(tegu.TeguError, match="names a file: name the module, the environment slow:Slow, from the file"):
        find("./slow.py:Slow")
    with pytest.raises(
        tegu.TeguError, match=r"slow\.py names a file: name the module, the environment slow:Class, from"
    ):
        find("slow.py")


def test_only_what_is_in_a_module_is_proposed(package: str, tmp_path: Path) -> None:
    with pytest.raises(tegu.TeguError, match=f"{package} registers no environment Hopper-v0 with Gymnasium$"):
        find(f"{package}:Hopper-v0")
    with pytest.raises(tegu.TeguError, match=f"{package}:gymnasium: {package} has no gymnasium$"):
        find(f"{package}:gymnasium")
    (tmp_path / f"{package}Script.py").write_text("raise SystemExit(3)")
    with pytest.raises(tegu.TeguError, match=rf"{package}Script:Slow: SystemExit: 3 \({package}Script.py, line 1\)"):
        find(f"{package}Script:Slow")


def forget(package: str) -> None:
    """As in a new process."""
    del sys.modules[package]
    for id in [id for id in gymnasium.registry if id.startswith(package)]:
        del gymnasium.registry[id]


@pytest.mark.slow
def test_a_run_wants_it_again(package: str) -> None:
    """Two seeds; nothing is imported because a file says so, and who names it gets the same learners."""
    id = f"{package}:{package}Slow-v1"
    settings = tegu.DQN(net_arch=(8,), learning_starts=16, batch_size=8, train_freq=16)
    agent = tegu.train(id, settings, steps=64, n_envs=2, seeds=2)
    assert agent.evaluate(2).lengths.max() <= 20
    forget(package)
    assert tegu.load("last").source is None
    with pytest.raises(tegu.TeguError, match=f"was trained on {id}, which is your own code: pass it again"):
        tegu.resume("last")
    assert package not in sys.modules
    again = tegu.load("last", environment=id)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(agent.learners), jax.tree.leaves(again.learners))
    assert again.evaluate(2).returns.shape == (2, 2)
    assert tegu.resume("last", environment=id, steps=96).steps == 96


def test_a_package_that_is_missing_is_named() -> None:
    if importlib.util.find_spec("flax"):
        pytest.skip("flax is installed")
    with pytest.raises(TeguError, match=r"^cannot make phys2d/CartPole-v1: No module named 'flax'$"):
        make("phys2d/CartPole-v1")


@pytest.mark.parametrize(
    ("package", "name", "extra"), [("MuJoCo", "Ant-v5", "mujoco"), ("Box2D", "LunarLander-v3", "box2d")]
)
def test_the_extra_that_is_missing_is_named(
    package: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is installed here."""
    for module in ("mujoco", "Box2D"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in [each for each in sys.modules if each.startswith(f"gymnasium.envs.{extra}")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(TeguError) as caught:
        make(name)
    assert str(caught.value) == f'cannot make {name}: {package} is not installed, run `pip install "tegu[{extra}]"`'


def test_what_cannot_run_is_not_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flax", None)  # as if it were not installed
    with pytest.raises(TeguError, match=r"did you mean CartPole-v1 or CartPole-v0 or CartPolePixels-v0\?$"):
        make("phys2d/Cartpole-v1")


def test_pettingzoos_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpe2", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "mpe2.simple_tag_v3", raising=False)
    with pytest.raises(TeguError, match=r"^mpe2:simple_tag_v3 needs tegu\[pettingzoo\]"):
        make("mpe2:simple_tag_v3")
