"""Arguments of a wrong kind or size are answered in one line that names them, by both models."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import tegu
from tegu.sb3 import DQN, PPO

THING = object()
WRONG: list[Any] = ["x", b"x", [1], {"a": 1}, (1, 2, 3), 1j, THING, len, -(10**30), float("nan"), float("inf")]
ANYTHING = {"device", "_init_setup_model", "sde_sample_freq"}  #: has no meaning in Tegu, and is not looked at
FITTING = {"policy_kwargs": [{"a": 1}], "tensorboard_log": ["x"]}  #: of the wrong ones; {"a": 1} is answered by name


@pytest.fixture(scope="module")
def model() -> PPO:
    return PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, policy_kwargs={"net_arch": [4]})


def answers(call: Callable[..., Any], names: list[str], **given: Any) -> list[str]:
    """What is wrong with how each argument is answered."""
    found = []
    for name in names:
        for value in WRONG:
            if value in FITTING.get(name, []) or (name == "callback" and value is len):
                continue
            try:
                call(**{**given, name: value})
            except tegu.TeguError as error:
                says = str(error)
                if name not in says or "\n" in says or len(says) > 250:
                    found.append(f"{name}={value!r}: {says}")
            else:
                found.append(f"{name}={value!r} is accepted")
    return found


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_every_argument_of_a_constructor(kind: Any) -> None:
    names = [name for name in inspect.signature(kind).parameters if name not in ANYTHING]
    assert not answers(kind, names, policy="MlpPolicy", env="CartPole-v1")


def test_arguments_of_learn(model: PPO) -> None:
    given = {"total_timesteps": 16}
    assert not answers(model.learn, ["total_timesteps", "log_interval", "callback"], **given)
    assert model.num_timesteps == 0
