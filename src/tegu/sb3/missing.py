"""What a person looks for in ``tegu.sb3`` and does not find."""

import difflib
from collections.abc import Sequence

from tegu.core.errors import TeguError

ELSEWHERE = {
    "ARS": "use tegu.train(env, tegu.ARS())",
    "BaseFeaturesExtractor": "a function that makes an Equinox module goes into policy_kwargs={'network': function}",
    "CrossQ": "use tegu.train(env, tegu.CrossQ())",
    "HER": "it is a replay buffer: replay_buffer_class=HerReplayBuffer; see the documentation",
    "MaskablePPO": "every algorithm of Tegu's honours masks: observations in a Dict with the entry action_mask",
    "RecurrentPPO": "use tegu.train(env, tegu.RecurrentPPO())",
    "common": "make_vec_env, evaluate_policy, the callbacks... are imported from tegu.sb3 itself",
}  #: names of Stable-Baselines3, and what to do instead


class MissingError(TeguError, ImportError):
    """``tegu.sb3`` has no such name."""


def missing(name: str, names: Sequence[str]) -> Exception:
    """The error for a ``name`` that is not among the ``names`` of ``tegu.sb3``; Python's own for what begins with _."""
    if name.startswith("_"):
        return AttributeError(f"module 'tegu.sb3' has no attribute {name!r}")
    near = difflib.get_close_matches(name, names, n=1)
    hint = ELSEWHERE.get(name) or (f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}")
    return MissingError(f"tegu.sb3 has no {name}: {hint}")
