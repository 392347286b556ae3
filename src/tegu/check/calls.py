"""What the calls of an environment on the host return, whether it is Gymnasium's or PettingZoo's."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from tegu.check.findings import Findings
from tegu.check.spaces import form
from tegu.core.step import PyTree
from tegu.spaces.features import ACTION_MASK

Content = dict[str, bytes]  #: all values of a tree byte for byte, by their names


class Latest:
    """The observation that was returned last, so that it can be seen whether a later call writes into it."""

    def __init__(self, findings: Findings):
        self.findings = findings
        self.observation: PyTree = ()
        self.content: Content = {}

    def now(self, observation: PyTree) -> None:
        self.observation, self.content = observation, content(observation)

    def check(self, where: str) -> None:
        """Has this call written into the observation that the call before it returned?"""
        after = content(self.observation)
        for name in (name for name in after if after[name] != self.content[name]):
            self.findings.warning(
                f"observation{name}",
                "an array returned earlier changes afterwards",
                "a new array from every call",
                f"one that {where} writes into again",
                "return a copy; else the last observation of an episode is overwritten before anything learns from it",
            )


def content(tree: PyTree) -> Content:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path).lstrip(".").replace("'", '"'): np.asarray(leaf).tobytes() for path, leaf in leaves
    }


def reset_keywords(reset: Callable[..., Any], findings: Findings, expected: str, hint: str) -> list[str]:
    """Which of ``seed`` and ``options`` a reset takes: it should take both."""
    signature = inspect.signature(reset)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return ["seed", "options"]
    missing = [name for name in ("seed", "options") if name not in signature.parameters]
    if missing:
        findings.error("reset()", f"takes no {' and no '.join(missing)}", expected, f"reset{signature}", hint)
    return [name for name in ("seed", "options") if name not in missing]


def random_action(space: spaces.Space, observation: PyTree) -> Any:
    """A legal one where the observation has a mask; a plain int for a Discrete space, as the loops give it."""
    action = space.sample()
    if not isinstance(space, spaces.Discrete):
        return action
    if isinstance(observation, Mapping) and np.any(observation.get(ACTION_MASK)):
        legal = np.flatnonzero(observation[ACTION_MASK])
        action = space.start + space.np_random.choice(legal)
    return int(action)


def check_action_kept(findings: Findings, action: Any, given: Any) -> None:
    """Report a step that has written into the action it was ``given``, a copy of ``action``."""
    if content(given) != content(action):
        findings.warning(
            "step(action)",
            "the environment changes the action that it is given",
            "the action stays as it was",
            f"{action} became {given}",
            "begin with action = action.copy(), or do not write into it",
        )


def checked_reward(findings: Findings, reward: Any, where: str, when: str) -> float:
    """The reward as a float, NaN if it is no number."""
    if not isinstance(reward, int | float | np.integer | np.floating):
        hint = "reward.item()" if isinstance(reward, np.ndarray) else "return a number"
        findings.error(where, "is not a number", "a float", form(reward) + when, hint)
        return math.nan
    if not np.isfinite(reward):
        findings.error(where, "is not finite", "a finite float", f"{reward}{when}")
    return float(reward)


def check_flag(findings: Findings, flag: Any, where: str, when: str) -> None:
    if not isinstance(flag, bool | np.bool_):
        name = where.removeprefix("step() -> ")
        findings.error(where, "is not a bool", "True or False", f"{form(flag)} {flag!r}{when}", f"bool({name})")


def check_picture(environment: Any, findings: Findings) -> None:
    """Let an environment that draws pictures draw one."""
    if getattr(environment, "render_mode", None) == "rgb_array":
        with findings.calling("render()"):
            picture: Any = environment.render()
        if not re.fullmatch(r"uint8\[\d+, \d+, 3\]", form(picture)):
            findings.error("render()", "is not a picture", "uint8[height, width, 3]", form(picture))
