"""Stable-Baselines3's ``policy`` and ``policy_kwargs`` as hyper-parameters."""

import warnings
from collections.abc import Callable, Mapping
from reprlib import repr as shorten
from typing import Any

import gymnasium
import numpy as np

from tegu.core.errors import TeguError
from tegu.nn.encoder import RAW, Choice, images
from tegu.nn.mlp import ACTIVATIONS
from tegu.sb3.errors import ArgumentError
from tegu.sb3.settings import at_least
from tegu.spaces.features import one_line

POLICIES: dict[str, dict[str, Any]] = {
    "MlpPolicy": {"features_extractor": "flatten"},
    "MultiInputPolicy": {},
    "CnnPolicy": {"features_extractor": "nature", "net_arch": (512,), "activation": "relu"},
}
"""Settings that each brings. The Nature CNN ends in a layer of 512, which is the first of Tegu's hidden layers."""

EXTRACTORS = {"NatureCNN": "nature", "FlattenExtractor": "flatten", "CombinedExtractor": "auto"}
"""SB3's features extractors, by the names of their classes, and Tegu's."""

_CNN_OUTPUT_DIM = 256  #: SB3's default: how wide the layer after the convolutions of each image in a Dict is

USUAL: dict[str, Any] = {
    "ortho_init": True,
    "full_std": True,
    "use_expln": False,
    "use_sde": False,
    "squash_output": False,
}
"""What else ``policy_kwargs`` may hold, as long as it is what Tegu does anyway."""


class RMSpropTFLike:
    """The optimizer of that name, to be given to ``A2C`` as ``optimizer_class``: RMSprop as TensorFlow has it."""


def policy_settings(
    title: str,
    policy: Any,
    policy_kwargs: Mapping[str, Any] | None,
    *,
    known: Mapping[str, Any],
    shares_extractor: bool = True,
    behind_images: tuple[int, ...] = (),
) -> dict[str, Any]:
    """``policy`` and ``policy_kwargs`` as hyper-parameters, of which the algorithm has ``known``.

    ``shares_extractor``: whether actor and critic share what sees images, in SB3 by default and in Tegu always.
    ``behind_images``: SB3's default layers of the ``CnnPolicy``.
    """
    name = policy_name(policy)
    if name not in POLICIES:
        raise TeguError(
            f"{title}: policy must be one of {', '.join(POLICIES)}, got {name}; a network of your own, a function that "
            "makes an Equinox module, is policy_kwargs={'network': function}"
        )
    if not isinstance(policy_kwargs, Mapping | None):
        raise TeguError(f"{title}: policy_kwargs must be a dict, got {shorten(policy_kwargs)}")
    given = {key: value for key, value in (policy_kwargs or {}).items() if value is not None}
    settings, usual = dict(POLICIES[name]), {**USUAL, "share_features_extractor": shares_extractor}
    of_extractor = settings.pop("net_arch", ())
    if "features_extractor_class" in given:
        settings["features_extractor"] = _extractor(title, given.pop("features_extractor_class"))
    of_images = dict(given.pop("features_extractor_kwargs", {}))
    if name == "CnnPolicy":
        of_extractor = (of_images.pop("features_dim", None) or of_extractor[0],)
    elif settings.get("features_extractor", "auto") == "auto":  # a CombinedExtractor
        width = at_least(1, of_images.pop("cnn_output_dim", _CNN_OUTPUT_DIM), f"{title}: cnn_output_dim")
        settings["features_extractor"] = f"auto:{width}"
    if not given.pop("normalize_images", True):
        if settings["features_extractor"] == "flatten":
            raise TeguError(
                f"{title}: policy_kwargs['normalize_images'] must be True in Tegu with the {name}, got False"
            )
        extractor, colon, dim = settings["features_extractor"].partition(":")
        settings["features_extractor"] = f"{extractor}+{RAW}{colon}{dim}"
    if of_images:
        raise TeguError(f"{title}: features_extractor_kwargs of the {name} must not have {next(iter(of_images))!r}")
    settings |= _optimizer(title, given.pop("optimizer_class", None), given.pop("optimizer_kwargs", {}), known)
    for key, value in given.items():
        if key in _TRANSLATED:
            settings |= _TRANSLATED[key](value)
        elif key in known:
            settings[key] = value  # one of Tegu's own, such as network
        elif key not in usual:
            others = "features_extractor_kwargs", "normalize_images", "optimizer_class", "optimizer_kwargs"
            expected = ", ".join([*_TRANSLATED, *others, *usual])
            raise TeguError(f"{title}: policy_kwargs[{key!r}] is not supported: expected {expected}")
        elif value != usual[key]:
            raise TeguError(f"{title}: policy_kwargs[{key!r}] must be {usual[key]!r} in Tegu, got {_shown(value)}")
    if of_extractor:
        for part in ("net_arch", *(["critic_arch"] if "critic_arch" in settings else [])):
            settings[part] = (*of_extractor, *settings.get(part, behind_images))
    return settings


def policy_name(policy: Any) -> str | None:
    """The name of a policy, which may be a class; None of a model whose file does not say."""
    return policy if isinstance(policy, str | None) else getattr(policy, "__name__", type(policy).__name__)


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or (value if isinstance(value, str) else shorten(value))


def _optimizer(title: str, kind: Any, arguments: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """``optimizer_class`` and ``optimizer_kwargs`` as hyper-parameters, of which the algorithm has ``known``."""
    name, left = None if kind is None else _shown(kind), dict(arguments)
    rms_prop = ("RMSprop", "RMSpropTFLike") if "use_rms_prop" in known else ()  # of A2C alone
    if name not in (None, "Adam", "AdamW", *rms_prop):
        expected = " or ".join(["Adam", "AdamW", *rms_prop])
        raise TeguError(f"{title}: optimizer_class must be {expected} in Tegu, got {name}")
    settings: dict[str, Any] = {}
    if name is not None and rms_prop:
        settings["use_rms_prop"] = name in rms_prop
    if name == "RMSpropTFLike":
        settings |= {"rms_prop_tf_like": True, "rms_prop_eps": left.pop("eps", 1e-8)}
    if name == "AdamW" and "weight_decay" in known:
        settings["weight_decay"] = left.pop("weight_decay", 1e-2) or None
    left = {key: value for key, value in left.items() if (key, value) != ("weight_decay", 0)}
    if left or (name == "AdamW" and "weight_decay" not in known):
        raise TeguError(f"{title}: Tegu does not support optimizer_class={name}, optimizer_kwargs={shorten(left)}")
    return settings


def _extractor(title: str, kind: Any) -> str:
    if _shown(kind) not in EXTRACTORS:
        raise TeguError(
            f"{title}: features_extractor_class must be one of {', '.join(EXTRACTORS)}, got {_shown(kind)}: PyTorch's "
            "modules do not run in JAX; a network of your own is policy_kwargs={'network': function}"
        )
    return EXTRACTORS[_shown(kind)]


def _net_arch(value: Any) -> dict[str, Any]:
    """Hidden layers, of the critic only where they are others."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], Mapping):
        warnings.warn("net_arch=[dict(pi=..., vf=...)] is old: give the dict without the list", stacklevel=2)
        value = value[0]
    if not isinstance(value, Mapping):
        return {"net_arch": _widths(value)}
    if odd := set(value) - {"pi", "vf", "qf"} or {"vf", "qf"} <= set(value):
        raise TeguError(f"net_arch must be a list of widths or dict(pi=[...], vf=[...]), got {shorten(value)}: {odd}")
    actor, critic = _widths(value.get("pi", [])), _widths(value.get("vf", value.get("qf", [])))
    return {"net_arch": actor} | ({"critic_arch": critic} if critic != actor else {})


def _widths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(width, int) for width in value):
        raise TeguError(f"net_arch must be a list of widths or dict(pi=[...], vf=[...]), got {value!r}")
    return tuple(value)


def _activation(value: Any) -> str:
    """From a name, or from a class that is named like one, such as ``torch.nn.Tanh``."""
    name = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
    if name.lower() not in ACTIVATIONS:
        raise TeguError(f"activation_fn must be one of {', '.join(ACTIVATIONS)}, got {name}")
    return name.lower()


_TRANSLATED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "net_arch": _net_arch,
    "activation_fn": lambda value: {"activation": _activation(value)},
    "log_std_init": lambda value: {"log_std_init": value},
}


def check_policy(title: str, policy: Any, extractor: str, space: gymnasium.Space) -> None:
    """Raise ``ArgumentError`` where observations in ``space`` come to a policy that is not for them.

    ``extractor``: what the policy has for a features extractor, as a hyper-parameter.
    """
    if isinstance(space, gymnasium.spaces.Dict) and policy is not None and _shown(policy) != "MultiInputPolicy":
        raise ArgumentError(f"{title}: observations in a Dict need the MultiInputPolicy, got {_shown(policy)}")
    scales = policy is not None and _shown(policy) == "CnnPolicy" and RAW not in Choice.of(extractor).more
    if scales and any(images(space)) and not _holds_pixels(space):
        raise ArgumentError(
            f"{title}: the CnnPolicy divides by 255, which is for images of uint8 from 0 to 255: for others give "
            f"policy_kwargs=dict(normalize_images=False); the observations are {one_line(space)}"
        )


def _holds_pixels(space: Any) -> bool:
    return bool(space.dtype == np.uint8 and (space.low == 0).all() and (space.high == 255).all())


def check_same(title: str, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise ``ArgumentError`` where ``policy_kwargs`` ask for another network than the one that was saved."""
    for key, value in asked.items():
        has = tuple(saved[key]) if isinstance(saved.get(key), list) else saved.get(key)
        ends_so = isinstance(value, tuple) and isinstance(has, tuple) and has[len(has) - len(value) :] == value
        if key in saved and has != value and not ends_so:  # layers of a CnnPolicy begin with the Nature CNN's own
            raise ArgumentError(f"{title}: policy_kwargs ask for {key} {shorten(value)}, what was saved has {has}")
