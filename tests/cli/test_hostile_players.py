"""Damaged runs of the right kind: of AlphaZero for ``play`` and ``arena``, of several agents for ``crossplay``."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from cli.hostile import ANY_FILE, EITHER, LAST_GOOD, NEWEST, OLDER, REFUSED, Case, blob, ended, met, stated

import tegu
from tegu.agents.agent import facts
from tegu.core.trees import to_arrays
from tegu.runs import Run, checkpoint
from tegu.training.plan import make_plan, spec_of

GAME, TEAM = "tic-tac-toe/alphazero/1", "simple_push_v3/maddpg/1"
FILES = ("config.toml", f"checkpoints/{NEWEST}/manifest.json", f"checkpoints/{NEWEST}/learner.safetensors")
SHARE = 9  #: one case in so many is tested each time, and the others by ``make test-long``


@pytest.fixture(scope="module")
def players(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, untrained, of two checkpoints each."""
    folder = tmp_path_factory.mktemp("players") / "runs"
    for environment, algorithm in (
        ("tic-tac-toe", tegu.AlphaZero(simulations=2, width=4, blocks=1)),
        ("simple_push_v3", tegu.MADDPG(net_arch=(4,))),
    ):
        plan = make_plan(environment, algorithm, seeds=2, steps=2000)
        world: Any = plan.source.native
        spec = spec_of(plan.source.id, world, plan.n_envs)
        keys = jax.random.split(jax.random.key(0), 2)
        learners = to_arrays(jax.jit(jax.vmap(lambda key, plan=plan, spec=spec: plan.algorithm.init(key, spec)))(keys))
        run = Run.create(folder, plan.source.id, plan.algorithm.name, plan.config)
        saved = facts(plan.algorithm, spec, plan.seeds, plan.source) | {"total": 2000}
        for step in (LAST_GOOD, NEWEST):
            checkpoint.save(run.checkpoints, int(step), {"learner": learners}, saved)
        assert str(run.path.relative_to(folder)) in (GAME, TEAM)
    return folder


def cases() -> Iterator[Case]:
    for number, (kind, damage) in enumerate(ANY_FILE.items()):
        whole = not ("flipped" in kind or "cut" in kind or kind == "empty")
        for turn, file in enumerate(FILES):
            command = ("play", "crossplay", "arena")[(number + turn) % 3]
            expected = OLDER if turn else REFUSED if whole else EITHER
            yield Case(file, kind, damage, command, expected, TEAM if command == "crossplay" else GAME)
    changes: dict[str, Any] = {
        "NaN": lambda arrays: {name: array * np.float32(np.nan) for name, array in arrays.items()},
        "nothing": lambda arrays: {},
        "other shape": lambda arrays: {name: np.zeros((0, 2**20)) for name in arrays},
        "large": lambda arrays: {name: np.zeros(2**15) for name in arrays},
    }
    states: dict[str, Any] = {
        "another algorithm": {"algorithm": "ppo"},
        "another environment": {"environment": "CartPole-v1"},
        "agents": {"agents": ["\x1b[2J", "x" * 10**5]},
        "no space": {"observation_space": {"kind": "box", "shape": [2**62], "dtype": "float32", "low": "0"}},
        "seeds": {"seeds": [0, 1, 2]},
    }
    for command, run, wide in (("play", GAME, "width"), ("arena", GAME, "blocks"), ("crossplay", TEAM, "net_arch")):
        for kind, change in changes.items():
            yield Case("", f"learner {kind}", partial(blob, name="learner", change=change), command, REFUSED, run)
        for kind, state in states.items():
            yield Case("", kind, partial(stated, **state), command, REFUSED, run)
        for size in (10**9, -1, "x"):
            hyper = {"hyper_parameters": {wide: [size] if wide == "net_arch" else size}}
            yield Case("", f"{wide} {size}", partial(stated, **hyper), command, REFUSED, run)


CASES = list(cases())


@pytest.mark.parametrize(
    "some",
    [
        pytest.param(CASES[::SHARE], id="a part"),
        pytest.param([case for i, case in enumerate(CASES) if i % SHARE], id="the rest", marks=pytest.mark.long),
    ],
)
def test_each_is_a_line_or_the_checkpoint_before(
    some: list[Case], players: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(prompt: str = "") -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    call = partial(ended, capsys=capsys)
    assert not [fault for case in some for fault in met(case, players, tmp_path / "place", monkeypatch, call)]
