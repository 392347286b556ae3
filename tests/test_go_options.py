"""The benchmark of AlphaZero's options in Go: that what it asks for is such as Tegu takes."""

import importlib
from pathlib import Path

import pytest

from tegu.training.plan import make_plan, spec_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("toy", [True, False])
def test_settings_are_such_as_tegu_takes_and_all_differ(toy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("benchmarks.go_options")
    plans = [make_plan(module.GAME, "alphazero", **module.settings(label, toy)) for label in module.OPTIONS]
    for plan in plans:
        plan.algorithm.validate(spec_of(module.GAME, plan.source.native, plan.n_envs))
    differ = {str((plan.config["hyper_parameters"], plan.config["environment_options"])) for plan in plans}
    assert len(differ) == len(plans) == 12
    assert plans[-1].algorithm.weights.keys() == {"ownership", "score", "reply"}
