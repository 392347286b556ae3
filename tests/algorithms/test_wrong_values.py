"""A hyper-parameter of a wrong kind or size is answered in one line that names it, whichever the constructor.

A constructor looks at ranges; ``prepared``, through which all algorithms go before anything is compiled, at kinds.
"""

from collections.abc import Iterator
from typing import Any

import pytest

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.hyper_parameters import Setting
from tegu.algorithms.own import prepared
from tegu.algorithms.registry import constructor, settings
from tegu.core.schedule import Linear

THING = object()
NO_NUMBERS: list[Any] = ["x", "", True, b"x", [], [1], {}, {"a": 1}, ("a",), 1j, THING]
NO_FINITE_NUMBERS: list[Any] = [float("nan"), float("inf"), -float("inf")]


def wrong_values(setting: Setting) -> Iterator[Any]:
    """Of every kind that the field is not, and of sizes that no field may have."""
    kinds = setting.kinds
    if Linear in kinds:
        yield from [Linear("x"), Linear(float("nan")), Linear(1.0, 0.0, 2.0), Linear(-1.0), len, "lin_x", {"start": 1}]
    if int in kinds:
        yield from [*NO_NUMBERS, *NO_FINITE_NUMBERS, 1.5, -(10**30), 2**31, 10**30, 10**400]
    elif float in kinds:
        yield from [*NO_NUMBERS, *NO_FINITE_NUMBERS, 1e39, -1e39, 10**400]
    elif tuple in kinds:
        yield from ["x", 64, THING, True, {"a": 1}, ["x"], [1.5], [True], [None], (float("nan"),), [10**400]]
    elif bool in kinds:
        yield from ["x", 1, 0, THING, [], {}, None]
    elif str in kinds and "Callable" not in str(kinds):
        yield from [1, True, THING, [], {}]
    elif str in kinds:
        yield from [1, True, THING, [], {}, "no-module", "no module:function"]
    if type(None) not in kinds:
        yield None


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_constructor_answers_what_cannot_be_in_one_line(name: str) -> None:
    found = []
    for setting in settings(name).values():
        for value in wrong_values(setting):
            try:
                prepared(constructor(name)(**{setting.name: value}))
            except tegu.TeguError as error:
                says = str(error)
                if setting.name not in says or "\n" in says or len(says) > 200:
                    found.append(f"{setting.name}={value!r}: {says}")
            else:
                found.append(f"{setting.name}={value!r} is accepted")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_messages_call_an_algorithm_as_tegu_does(name: str) -> None:
    assert getattr(tegu, constructor(name)().title) is constructor(name)


class OwnPPO(tegu.PPO):
    """A person's own."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OwnPPO(gamma=3.0), "^OwnPPO: gamma must be"),
        (tegu.DDPG, "^DDPG needs a Box action space"),
        (tegu.TD3, "^TD3 needs a Box action space"),
        (lambda: tegu.TQC(target_entropy="auto_1"), "^TQC: target_entropy must be a number or auto"),
        (lambda: tegu.TD3(tau=2.0), "^TD3: tau must be above 0 and at most 1, got 2.0"),
        (lambda: tegu.MAPPO(), "^MAPPO needs a multi-agent environment"),
    ],
)
def test_errors_say_the_name_that_was_typed(make: Any, message: str) -> None:
    with pytest.raises(tegu.TeguError, match=message):
        tegu.train("CartPole-v1", make(), steps=10, folder=None)
