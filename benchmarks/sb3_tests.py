"""How many of Stable-Baselines3's own tests pass with only the import changed: a table for each of its files.

    python -m benchmarks.sb3_tests PATH/stable-baselines3/tests [pytest's arguments]

Counted are the tests that name an algorithm, but for the one that SB3 marks as expensive: networks of 2 GB.
``stable_baselines3`` and all modules in it become ``tegu.sb3``; a name that is not there fails where it is used, not
where it is imported. PyTorch's classes become empty ones, and the few of its functions that tests apply to parameters
NumPy's. Three of the files need pandas.
"""

import ast
import importlib.abc
import importlib.machinery
import sys
import types
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tegu.sb3

ALGORITHMS = {"PPO", "A2C", "DQN", "DDPG", "TD3", "SAC"}
NUMPY = {name: getattr(np, name) for name in ("allclose", "isclose", "zeros_like", "ones_like", "ones", "zeros", "abs")}
NUMPY |= {
    "rand": lambda *n: np.random.random_sample(tuple(map(int, np.ravel(n)))),
    "rand_like": lambda x: np.random.random_sample(x.shape).astype(x.dtype),
}
NUMPY |= {"equal": np.array_equal, "tensor": lambda x, dtype=None: np.asarray(x, dtype), "bool": np.bool_}
NUMPY |= {"cuda": types.SimpleNamespace(is_available=lambda: False)}


class Absent:
    """A name that is not there: it can be imported, and while tests are collected called; used in a test it fails."""

    running = False

    def __init__(self, name: str):
        self._name = name

    def __call__(self, *_: Any, **__: Any) -> "Absent":
        if Absent.running:
            raise ImportError(f"there is no {self._name}")
        return self

    def __mro_entries__(self, _: Any) -> tuple[type, ...]:
        return (type(self._name, (), {"__init__": lambda own, *_, **__: self()}),)

    def __getattr__(self, name: str) -> "Absent":
        if name.startswith("_"):
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")


class Alias(types.ModuleType):
    """A module of SB3's or of PyTorch's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__.startswith("torch"):
            if name in NUMPY:
                return NUMPY[name]
            if name == "optim":
                return Alias("torch.optim")
            return type(name, (), {}) if name[0].isupper() else Absent(f"torch.{name}")
        return getattr(tegu.sb3, name) if name in tegu.sb3.__all__ else Absent(name)


class Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        ours = name.split(".")[0] in ("stable_baselines3", "torch")
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: Any) -> types.ModuleType:
        return Alias(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class Counts:
    """Counts what becomes of the tests that name an algorithm; the others are not run."""

    def __init__(self) -> None:
        self.found: dict[str, Counter[str]] = defaultdict(Counter)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.originalname in naming(item.path)]

    def pytest_collection_finish(self) -> None:
        Absent.running = True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if (report.when == "call" or report.outcome != "passed") and report.when != "teardown":
            self.found[Path(report.fspath).name][report.outcome] += 1


def naming(path: Path) -> set[str]:
    """The tests of a file that name an algorithm, or a list of them that the file begins with."""
    tree = ast.parse(path.read_text())
    lists = {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and names(node.value) & ALGORITHMS
    }
    known = ALGORITHMS | lists
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and names(node) & known}


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def main() -> None:
    sys.meta_path.insert(0, Aliases())
    counts = Counts()
    options = [
        "-p",
        "no:cacheprovider",
        "-o",
        "filterwarnings=",
        "-o",
        "addopts=",
        "-W",
        "ignore",
        "-m",
        "not expensive",
        "-q",
        "--tb=line",
        "--continue-on-collection-errors",
    ]
    pytest.main([*options, *sys.argv[1:]], plugins=[counts])
    print("\n| File | passed | tried |\n|---|---|---|")
    for name, found in sorted(counts.found.items()):
        print(f"| `{name}` | {found['passed']} | {found['passed'] + found['failed']} |")


if __name__ == "__main__":
    main()
