"""Algorithms by name: Tegu's, and those that installed packages register. No file can name other code.

Nothing heavy is imported until one is wanted.
"""

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from reprlib import repr as shorten
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from tegu.algorithms.plugins import loaded, package, registered
from tegu.core.code import imported, is_code, one_line, qualified, refuse_file
from tegu.core.errors import TeguError

if TYPE_CHECKING:
    from tegu.algorithms.base import Algorithm
    from tegu.algorithms.hyper_parameters import Setting
    from tegu.core.spec import EnvironmentSpec

Choice: TypeAlias = str | type[Any]  #: a name, or a class that a person has named or given


class Entry(NamedTuple):
    """Where an algorithm is, and the defaults in which a variant differs from the class's own."""

    path: str  #: ``module:Class``
    public: str  #: what it is called in ``tegu``
    defaults: Mapping[str, Any] = MappingProxyType({})
    summary: str = ""  #: a variant in one line; the class's docstring says what the class itself is


_SARSA = "tegu.algorithms.sarsa:Sarsa"
_DQN = "tegu.algorithms.dqn:DQN"
_PPO = "tegu.algorithms.ppo:PPO"
_TRPO = "tegu.algorithms.trpo:TRPO"
_DDPG = "tegu.algorithms.ddpg:DDPG"
_SAC = "tegu.algorithms.sac:SAC"
_MADDPG = "tegu.algorithms.maddpg:MADDPG"
_IPPO = "tegu.algorithms.mappo:IPPO"

ALGORITHMS: dict[str, Entry] = {
    "q-learning": Entry("tegu.algorithms.q_learning:QLearning", "QLearning"),
    "sarsa": Entry(_SARSA, "Sarsa"),
    "n-step-sarsa": Entry(
        _SARSA,
        "NStepSarsa",
        {"n_steps": 4},
        "Sarsa with returns of up to four rewards (Sutton & Barto 2018, section 7.2).",
    ),
    "expected-sarsa": Entry(
        _SARSA,
        "ExpectedSarsa",
        {"expected": True},
        "Sarsa with the mean over the next action in place of the one that is taken (van Seijen et al. 2009).",
    ),
    "double-q-learning": Entry("tegu.algorithms.double_q_learning:DoubleQLearning", "DoubleQLearning"),
    "q-lambda": Entry("tegu.algorithms.q_lambda:QLambda", "QLambda"),
    "monte-carlo": Entry("tegu.algorithms.monte_carlo:MonteCarlo", "MonteCarlo"),
    "dqn": Entry(_DQN, "DQN"),
    "double-dqn": Entry(
        _DQN, "DoubleDQN", {"double": True}, "DQN whose online network chooses in the target (van Hasselt et al. 2016)."
    ),
    "dueling-dqn": Entry(
        _DQN, "DuelingDQN", {"dueling": True}, "DQN with a network of state values and advantages (Wang et al. 2016)."
    ),
    "prioritized-dqn": Entry(
        _DQN, "PrioritizedDQN", {"prioritized": True}, "DQN that replays large errors more often (Schaul et al. 2016)."
    ),
    "noisy-dqn": Entry(
        _DQN, "NoisyDQN", {"noisy": True}, "DQN that explores by learned noise in its weights (Fortunato et al. 2018)."
    ),
    "c51": Entry(
        _DQN, "C51", {"distribution": "categorical"}, "DQN of probabilities of 51 returns (Bellemare et al. 2017)."
    ),
    "qr-dqn": Entry(
        _DQN, "QRDQN", {"distribution": "quantiles"}, "DQN of quantiles of the return (Dabney et al. 2018a)."
    ),
    "iqn": Entry(
        _DQN,
        "IQN",
        {"distribution": "implicit-quantiles", "n_quantiles": 64},
        "DQN of any quantile of the return, which is an input of its network (Dabney et al. 2018b).",
    ),
    "munchausen-dqn": Entry(
        _DQN,
        "MunchausenDQN",
        {"munchausen": True},
        "DQN with a soft policy, whose log-probability is added to the reward (Vieillard et al. 2020).",
    ),
    "munchausen-iqn": Entry(
        _DQN,
        "MunchausenIQN",
        {"munchausen": True, "distribution": "implicit-quantiles", "n_quantiles": 64},
        "IQN with the soft policy and the reward of Munchausen DQN (Vieillard et al. 2020).",
    ),
    "rainbow": Entry(
        _DQN,
        "Rainbow",
        {
            "double": True,
            "dueling": True,
            "prioritized": True,
            "prioritized_alpha": 0.5,
            "n_steps": 3,
            "noisy": True,
            "distribution": "categorical",
        },
        "Double, dueling, prioritized, 3-step, noisy and categorical DQN at once (Hessel et al. 2018).",
    ),
    "r2d2": Entry("tegu.algorithms.r2d2:R2D2", "R2D2"),
    "pqn": Entry("tegu.algorithms.pqn:PQN", "PQN"),
    "ars": Entry("tegu.algorithms.ars:ARS", "ARS"),
    "cem": Entry("tegu.algorithms.cem:CEM", "CEM"),
    "openai-es": Entry("tegu.algorithms.evolution_strategy:OpenAIES", "OpenAIES"),
    "cma-es": Entry("tegu.algorithms.cma_es:CMAES", "CMAES"),
    "ppo": Entry(_PPO, "PPO"),
    "recurrent-ppo": Entry(
        _PPO, "RecurrentPPO", {"recurrent": "lstm"}, "PPO whose actor and critic remember, each with an LSTM or a GRU."
    ),
    "a2c": Entry("tegu.algorithms.a2c:A2C", "A2C"),
    "reinforce": Entry("tegu.algorithms.reinforce:REINFORCE", "REINFORCE"),
    "trpo": Entry(_TRPO, "TRPO"),
    "npg": Entry(
        _TRPO,
        "NPG",
        {"line_search": False},
        "TRPO without its line search: the natural policy gradient (Kakade 2001), as long as the trust region allows.",
    ),
    "ddpg": Entry(_DDPG, "DDPG"),
    "td3": Entry(
        _DDPG,
        "TD3",
        {"n_critics": 2, "policy_delay": 2, "target_policy_noise": 0.2},
        "DDPG with two critics, a later actor and a smoothed target (Fujimoto et al. 2018).",
    ),
    "sac": Entry(_SAC, "SAC"),
    "tqc": Entry(
        _SAC,
        "TQC",
        {"n_quantiles": 25},
        "SAC with critics of quantiles, the largest of which are left out (Kuznetsov et al. 2020).",
    ),
    "alphazero": Entry("tegu.algorithms.alphazero:AlphaZero", "AlphaZero"),
    "maddpg": Entry(_MADDPG, "MADDPG"),
    "matd3": Entry(
        _MADDPG,
        "MATD3",
        {"twin": True, "policy_delay": 2, "target_noise": 0.2},
        "MADDPG with two critics, later actors and a smoothed target (Ackermann et al. 2019).",
    ),
    "iddpg": Entry(
        _MADDPG,
        "IndependentDDPG",
        {"centralised": False},
        "DDPG for each agent on its own, the baseline of MADDPG's paper: critics see no other agent.",
    ),
    "ippo": Entry(_IPPO, "IPPO"),
    "mappo": Entry(
        _IPPO, "MAPPO", {"centralised": True}, "IPPO whose value functions see what all agents see (Yu et al. 2022)."
    ),
}

# Spellings of other libraries that people try first.
ALIASES = {
    "lr": "learning_rate",
    "num_steps": "n_steps",
    "minibatch_size": "batch_size",
    "update_epochs": "n_epochs",
    "clip_coef": "clip_range",
    "discount": "gamma",
    "alpha": "learning_rate",
    "epsilon": "exploration_final_eps",
}


def class_of(algorithm: Choice) -> "type[Algorithm]":
    """The class of an algorithm. Raises ``TeguError`` with the nearest match if there is none of that name."""
    if not isinstance(algorithm, str):
        return _checked(algorithm, "the algorithm")
    if algorithm in ALGORITHMS:
        module, _, cls = ALGORITHMS[algorithm].path.partition(":")
        return getattr(import_module(module), cls)
    if is_code(algorithm):
        raise TeguError(f"the algorithm {algorithm} is your own code: pass it again")
    points = registered(ALGORITHMS)
    if algorithm not in points:
        near = difflib.get_close_matches(algorithm, [*ALGORITHMS, *points], n=1)
        hint = f"did you mean {near[0]}?" if near else "tegu list algorithms shows those there are"
        raise TeguError(f"there is no algorithm {shorten(algorithm)}: {hint}")
    return _checked(loaded(points[algorithm]), f"{algorithm} of {package(points[algorithm])}")


def chosen(algorithm: Choice) -> Choice:
    """An algorithm that a person chooses: by name, as a class, or as ``module:Class``, which is imported."""
    if isinstance(algorithm, str) and algorithm not in ALGORITHMS:
        refuse_file(algorithm, "the algorithm")
        if is_code(algorithm):
            return _checked(imported(algorithm, "the algorithm"), algorithm)
    if isinstance(algorithm, str):
        return algorithm
    variant = getattr(algorithm, "algorithm_name", None)  # tegu.MAPPO and the like
    return variant if isinstance(variant, str) else _checked(algorithm, "the algorithm")


def name_of(algorithm: Choice) -> str:
    """The name by which files know an algorithm: a class is its ``module:Class``."""
    return algorithm if isinstance(algorithm, str) else qualified(algorithm)


def algorithm(choice: Choice, hyper_parameters: Mapping[str, Any]) -> "Algorithm":
    """The algorithm with some hyper-parameters set. Raises ``TeguError`` naming what does not fit."""
    known, name = settings(choice), name_of(choice)
    for key in hyper_parameters:
        if key not in known:
            near = [ALIASES[key]] if ALIASES.get(key) in known else difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known) or 'none'}"
            raise TeguError(f"{name} has no hyper-parameter {shorten(key)}: {hint}")
    values = {key: known[key].parse(value, f"{name}: {key}") for key, value in hyper_parameters.items()}
    return _made(class_of(choice), {**_defaults(choice), **values, "name": name})


def settings(choice: Choice) -> "dict[str, Setting]":
    """The hyper-parameters of an algorithm by name, with the defaults of the variant."""
    from tegu.algorithms.hyper_parameters import settings_of

    defaults, own = _defaults(choice), settings_of(class_of(choice))
    return {key: replace(setting, default=defaults.get(key, setting.default)) for key, setting in own.items()}


def summary(name: str) -> str:
    """What an algorithm is, in one sentence: a variant's own, or the first of its class's docstring."""
    own = ALGORITHMS[name].summary if name in ALGORITHMS else ""
    return own or re.split(r"(?<=\.)\s+(?=[A-Z])", inspect.getdoc(class_of(name)) or "")[0].replace("\n", " ")


@cache
def constructor(name: str) -> Any:
    """What stands for an algorithm in Python: its class, or the function that makes the variant, always the same."""
    found, cls = ALGORITHMS[name], class_of(name)
    if not found.defaults:
        return cls

    def variant(**hyper_parameters: Any) -> "Algorithm":
        return cls(**{**found.defaults, **hyper_parameters, "name": name})

    variant.__name__ = variant.__qualname__ = found.public
    variant.algorithm_name = name  # type: ignore[attr-defined]
    variant.__doc__ = f"{found.summary}\n\n``{cls.__name__}`` with other defaults: {dict(found.defaults)}."
    return variant


def fitting(spec: "EnvironmentSpec") -> list[str]:
    """The algorithms that can learn in an environment, as they are before any hyper-parameter is set."""
    return [name for name in ALGORITHMS if _fits(constructor(name)(), spec)]


def _fits(algorithm: "Algorithm", spec: "EnvironmentSpec") -> bool:
    if spec.agents and not algorithm.multi_agent:
        return False
    try:
        algorithm.validate(spec)
    except TeguError:
        return False
    return True


def _defaults(choice: Choice) -> Mapping[str, Any]:
    return ALGORITHMS[choice].defaults if isinstance(choice, str) and choice in ALGORITHMS else {}


def _checked(found: Any, what: str) -> "type[Algorithm]":
    from tegu.algorithms.base import Algorithm

    if not isinstance(found, type) or not issubclass(found, Algorithm):
        kind = f"{found.__module__}.{found.__name__}" if isinstance(found, type) else type(found).__name__
        raise TeguError(f"{what} must be a class derived from tegu.Algorithm, it is {kind}")
    return found


def _made(cls: "type[Algorithm]", values: Mapping[str, Any]) -> "Algorithm":
    try:
        return cls(**values)
    except TeguError:
        raise
    except Exception as error:  # an abstract method, a constructor that takes no name, whatever it does
        raise TeguError(f"cannot make {values['name']}: {one_line(error)}") from error
