"""Hyper-parameters as plain data, and what is said of those that do not fit."""

import dataclasses

import pytest

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.hyper_parameters import hyper_parameters
from tegu.algorithms.registry import algorithm, settings
from tegu.core.schedule import Linear


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("rate", ["lin_3e-4", {"initial": 0.1, "final": 0.01, "fraction": 0.5}, 0.02])
def test_hyper_parameters_survive_as_plain_data(name: str, rate: object) -> None:
    original = algorithm(name, {"learning_rate": rate} if "learning_rate" in settings(name) else {})
    plain = hyper_parameters(original)
    assert algorithm(name, plain) == original
    assert plain.keys() == settings(name).keys()
    assert all(isinstance(value, int | float | str | list | dict | None) for value in plain.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_defaults_are_those_of_the_algorithm(name: str) -> None:
    """Those of the variant, where it has its own."""
    plain = hyper_parameters(algorithm(name, {}))
    for key, setting in settings(name).items():
        assert plain[key] == (list(setting.default) if isinstance(setting.default, tuple) else setting.default), key
    assert {key: settings(name)[key].default for key in ALGORITHMS[name].defaults} == dict(ALGORITHMS[name].defaults)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("ppoo", {}, "there is no algorithm 'ppoo': did you mean ppo"),
        ("nonsense", {}, "tegu list algorithms shows those there are"),
        ("ppo", {"learning_rat": 1}, "did you mean learning_rate"),
        ("ppo", {"num_steps": 5}, "did you mean n_steps"),
        ("mappo", {"lr": 5}, "mappo has no hyper-parameter 'lr': did you mean learning_rate"),
        ("ppo", {"simulations": 1}, "ppo has no hyper-parameter 'simulations': `tegu train ENV ppo --help` lists"),
        ("ppo", {"ppo": 1}, "ppo has no hyper-parameter 'ppo'"),
        ("mappo", {"ppo": 1}, "mappo has no hyper-parameter 'ppo'"),
        ("dqn", {"exploration_rate": 1}, "dqn has no hyper-parameter 'exploration_rate'"),
        ("dqn", {"name": "other"}, "dqn has no hyper-parameter 'name'"),
        ("ppo", {"gamma": "much"}, "ppo: gamma must be a number, got 'much'"),
        ("ppo", {"gamma": float("nan")}, "ppo: gamma must be finite"),
        ("ppo", {"n_steps": 2.5}, "ppo: n_steps must be a whole number"),
        ("ppo", {"net_arch": 64}, "ppo: net_arch must be a list of whole numbers, got 64"),
        ("ppo", {"normalize_reward": 1}, "ppo: normalize_reward must be true or false, got 1"),
        ("ppo", {"activation": 1}, "ppo: activation must be text, got 1"),
        ("ppo", {"learning_rate": "lin_much"}, "ppo: learning_rate must be a number, got 'much'"),
        ("ppo", {"learning_rate": {"start": 1}}, "ppo: learning_rate must be a number or a schedule"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(name: str, values: dict[str, object], says: str) -> None:
    with pytest.raises(tegu.TeguError, match=says) as caught:
        algorithm(name, values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_values_are_read_as_people_write_them() -> None:
    made = algorithm(
        "ppo",
        {"learning_rate": "lin_3e-4", "n_steps": 2.0, "net_arch": [8, 8], "target_kl": "none", "gamma": "0.9"},
    )
    assert made.learning_rate == Linear(3e-4)
    assert (made.n_steps, made.net_arch, made.target_kl, made.gamma) == (2, (8, 8), None, 0.9)
    assert dataclasses.replace(made, gamma=0.9) == made
    assert algorithm("ppo", {"target_kl": 1}).target_kl == 1.0
