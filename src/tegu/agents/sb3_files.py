"""Models that Stable-Baselines3 saved, as agents: their networks and settings, without unpickling anything."""

import json
import re
import zipfile
from collections.abc import Mapping
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from tegu.agents.agent import Agent
from tegu.agents.torch_file import LARGEST, tensors
from tegu.algorithms.registry import algorithm as make_algorithm
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.core.runtime import configure_jax
from tegu.core.spec import EnvironmentSpec
from tegu.core.text import printable
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.adapters.contract import spaces_made
from tegu.environments.make import find
from tegu.runs.schema import MOST_AT_ONCE, MOST_SEED, MOST_STEPS

Arrays = Mapping[str, np.ndarray]

_ACTIVATIONS = {"Tanh": "tanh", "ReLU": "relu", "ELU": "elu", "SiLU": "silu"}  # GELU is another function in JAX
_ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>")
_CONSTANT = re.compile(r"ConstantSchedule\(val=(\d+(?:\.\d*)?(?:e[-+]?\d+)?)\)")
_ADVANTAGES = "gae_lambda", "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm"
_ON_POLICY = "learning_rate", "n_steps", "gamma", *_ADVANTAGES
_REPLAY = "buffer_size", "learning_starts", "batch_size", "train_freq", "gradient_steps"
_OFF_POLICY = "learning_rate", "tau", "gamma", *_REPLAY
_EXPLORATION = "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"
_DELAYED = "policy_delay", "target_policy_noise", "target_noise_clip", "action_noise"
_SAME = {
    "a2c": _ON_POLICY,
    "ppo": (*_ON_POLICY, "batch_size", "n_epochs", "clip_range", "clip_range_vf", "target_kl"),
    "dqn": (*_OFF_POLICY, "n_steps", "target_update_interval", "max_grad_norm", *_EXPLORATION),
    "sac": (*_OFF_POLICY, "ent_coef", "target_entropy", "target_update_interval"),
    "td3": (*_OFF_POLICY, *_DELAYED),
    "ddpg": (*_OFF_POLICY, *_DELAYED),
}  # settings with the same name and meaning there and here
_NETWORKS = ".network.", ".online.", ".target.", ".actor.", ".critics[", ".target_actor.", ".target_critics["
_MOST_DATA = 2**24  # bytes of the settings
_ALONE = {"log_std": ".network.log_std", "log_ent_coef": ".log_ent_coef"}  # arrays that are no layers

Layers = dict[str, list[str]]
"""PyTorch's layers by the MLP here that they make up, in order; those joined by ``+`` are one, side by side."""


class Imported(NamedTuple):
    """What became of a model of Stable-Baselines3."""

    agent: Agent
    left_out: list[str]  #: settings that could not be taken over as they are


def import_sb3(path: str | Path, environment: Any) -> Agent:
    """The agent in a file of Stable-Baselines3: ``import_sb3("ppo_cartpole.zip", "CartPole-v1")``.

    Models with ``"MlpPolicy"`` of A2C, PPO, DQN, SAC, TD3 and DDPG are read: networks and settings, not what an
    optimizer remembers. Nothing in the file is unpickled. ``environment`` is the one that it was trained in, by name or
    as ``train`` takes one. ``TeguError`` if the file holds something else, or does not fit the environment.
    """
    return imported(path, environment).agent


def imported(path: str | Path, environment: Any) -> Imported:
    """As ``import_sb3``, and which settings were left out."""
    configure_jax()
    path = path_of(path, "path", "a file that Stable-Baselines3 saved")
    data, arrays = _read(path)
    name = _algorithm(data, arrays, path)
    layers = _layers(name, arrays)
    settings, left_out = _settings(name, data)
    shape = {"features_extractor": "flatten", "activation": _activation(name, data, path), **_widths(layers, arrays)}
    source = find(environment)
    native = source.native
    seen, acted = spaces_made(source.make) if native is None else (native.observation_space, native.action_space)  # type: ignore[arg-type]
    _check_spaces(data, seen, acted, path, source.id)
    n_envs = _whole(data, "n_envs", 1, MOST_AT_ONCE)
    spec = EnvironmentSpec(source.id, seen, acted, n_envs, model=native)
    algorithm = make_algorithm(name, settings | shape)
    algorithm.validate(spec)
    fresh = jax.jit(partial(algorithm.init, spec=spec))(jax.random.key(0))
    known, new = to_arrays(fresh), _named(layers, arrays, path)
    needed = [key for key, array in known.items() if key.startswith(_NETWORKS) and array.size]
    if str(data.get("ent_coef")).startswith("auto"):
        needed.append(".log_ent_coef")
    if missing := [key for key in needed if key not in new]:
        raise TeguError(f"{path} does not fit {source.id}: it has nothing for {missing[0]}")
    for key, array in new.items():
        if key not in known or known[key].shape != array.shape:
            wanted = list(known[key].shape) if key in known else "none"
            raise TeguError(f"{path} does not fit {source.id}: {key} is {list(array.shape)}, expected {wanted}")
    learner = from_arrays(fresh, known | new, str(path))
    learners = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], learner)
    steps, seed = _whole(data, "num_timesteps", 0, MOST_STEPS), _whole(data, "seed", 0, MOST_SEED)
    return Imported(Agent(algorithm, spec, learners, (seed,), steps, source), left_out)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The plain part of a model's settings, and its networks' arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {each.filename: each for each in archive.infolist()}
            if missing := sorted({"data", "policy.pth"} - inside.keys()):
                raise TeguError(f"{path} is no model of Stable-Baselines3: it has no {missing[0]}")
            if any(each.compress_type != zipfile.ZIP_STORED for each in inside.values()):
                raise TeguError(f"{path} is no model of Stable-Baselines3: it is compressed")
            if sum(each.file_size for each in inside.values()) > LARGEST or inside["data"].file_size > _MOST_DATA:
                raise TeguError(f"{path} is not loaded: it is too large")
            data = json.loads(archive.read("data"))
            arrays = tensors(archive.read("policy.pth"), f"{path}: policy.pth")
            if "pytorch_variables.pth" in inside:  # SAC's entropy coefficient
                others = tensors(archive.read("pytorch_variables.pth"), f"{path}: pytorch_variables.pth")
                arrays |= {name: others[name] for name in ("log_ent_coef",) if name in others}
    except TeguError:
        raise
    except Exception as error:  # whatever zipfile and json make of broken files
        raise TeguError(
            f"{path} cannot be read as a model of Stable-Baselines3: {printable(str(error), 200)}"
        ) from error
    if not isinstance(data, dict):
        raise TeguError(f"{path} is no model of Stable-Baselines3: data is no table")
    return data, arrays


def _algorithm(data: Mapping[str, Any], arrays: Arrays, path: Path) -> str:
    """The name of the algorithm of a model, by the module of its policy and by the settings it has."""
    policy = data.get("policy_class")
    module = str(policy.get("__module__")) if isinstance(policy, dict) else ""
    of_td3 = "ddpg" if "critic.qf1.0.weight" not in arrays and data.get("policy_delay") == 1 else "td3"
    on_policy = "ppo" if "clip_range" in data else "a2c"
    names = {"dqn.policies": "dqn", "sac.policies": "sac", "td3.policies": of_td3, "common.policies": on_policy}
    name = names.get(module.removeprefix("stable_baselines3."))
    if name is None:
        raise TeguError(f"{path}: a model with a policy of {printable(module, 100) or 'its own'} cannot be imported")
    if name == "a2c" and {"cg_max_steps", "n_epochs", "batch_size"} & data.keys():
        raise TeguError(f"{path}: it is a model of another algorithm than A2C, PPO, DQN, SAC, TD3 and DDPG")
    if data.get("use_sde"):
        raise TeguError(f"{path}: a model with use_sde=True cannot be imported")
    if odd := sorted(key for key in arrays if "features_extractor" in key):
        raise TeguError(f"{path}: only models with MlpPolicy can be imported, this one has {printable(odd[0], 100)}")
    return name


def _whole(data: Mapping[str, Any], key: str, least: int, most: int) -> int:
    """A whole number of the model's; the least, where it has none that makes sense."""
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most else least


def _settings(name: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Hyper-parameters that have the same name and meaning here, and those that are not readable."""
    found: dict[str, Any] = {}
    left_out = []
    for key in (key for key in _SAME[name] if key in data):
        value = data[key]
        if isinstance(value, dict):  # an object: its pickle, and what it is as text
            constant = _CONSTANT.fullmatch(str(value.get("value_schedule")))
            value = float(constant[1]) if constant else value
        if isinstance(value, dict | list):
            left_out.append(key)
        elif key == "action_noise":
            found[key] = None
        else:
            found[key] = value
    if "n_steps" not in _SAME[name] and data.get("n_steps", 1) != 1:
        left_out.append("n_steps")
    if data.get("replay_buffer_kwargs"):
        left_out.append("replay_buffer_kwargs")
    kwargs = data.get("policy_kwargs")
    optimizer = str(kwargs.get("optimizer_class", "")) if isinstance(kwargs, dict) else ""
    usual = "RMSprop'" if name == "a2c" else "Adam'"
    if usual not in optimizer and (optimizer or name == "a2c"):
        left_out.append("optimizer_class")
    return found, left_out


def _check_spaces(data: Mapping[str, Any], seen: Any, acted: Any, path: Path, environment: str) -> None:
    """Raise ``TeguError`` unless the environment's spaces are of the kinds and sizes that a model was trained with."""
    if not isinstance(seen, spaces.Box | spaces.Discrete) or seen.dtype == np.uint8:
        raise TeguError(
            f"{path}: observations must be a Box of floats or Discrete to be imported, {environment} has {seen}"
        )
    wanted = {
        "observation_space": (seen, ("n", "start", "_shape")),
        "action_space": (acted, ("n", "start", "nvec", "_shape", "low", "high")),
    }
    for name, (space, keys) in wanted.items():
        saved = data.get(name)
        if not isinstance(saved, dict):
            raise TeguError(f"{path} has no {name}")
        if f".{type(space).__name__}'" not in str(saved.get(":type:")):
            kind = printable(saved.get(":type:"), 100)
            raise TeguError(f"{path} does not fit {environment}: its {name} is of {kind}, expected {space}")
        for key in keys:
            theirs, ours = saved.get(key), getattr(space, key, None)
            if theirs is None or ours is None:
                continue
            if str(list(ours) if isinstance(ours, tuple) else ours) != str(theirs):
                was = printable(theirs, 100)
                raise TeguError(
                    f"{path} does not fit {environment}: {key.strip('_')} of its {name} is {was}, not {ours}"
                )


def _activation(name: str, data: Mapping[str, Any], path: Path) -> str:
    kwargs = data.get("policy_kwargs")
    given = str(kwargs.get("activation_fn", "")) if isinstance(kwargs, dict) else ""
    if not given:
        return "tanh" if name in ("ppo", "a2c") else "relu"  # SB3's defaults
    match = _ACTIVATION.fullmatch(given)
    if match is None or match[1] not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise TeguError(f"{path}: activation_fn must be one of {known}, it is {printable(given, 100)}")
    return _ACTIVATIONS[match[1]]


def _layers(name: str, arrays: Arrays) -> Layers:
    """Where the layers of an algorithm's networks are; what is not there has none."""

    def chain(prefix: str) -> list[str]:
        return list(takewhile(lambda layer: f"{layer}.weight" in arrays, (f"{prefix}.{i}" for i in count(0, 2))))

    if name in ("ppo", "a2c"):
        return {
            ".network.actor": [*chain("mlp_extractor.policy_net"), "action_net"],
            ".network.critic": [*chain("mlp_extractor.value_net"), "value_net"],
        }
    if name == "dqn":
        return {".online.mlp": chain("q_net.q_net"), ".target.mlp": chain("q_net_target.q_net")}
    critics = takewhile(lambda i: f"critic.qf{i}.0.weight" in arrays, count())
    layers = {
        f".{ours}[{i}].mlp": chain(f"{theirs}.qf{i}")
        for i in critics
        for ours, theirs in (("critics", "critic"), ("target_critics", "critic_target"))
    }
    if name == "sac":
        return {".actor.mlp": [*chain("actor.latent_pi"), "actor.mu+actor.log_std"], **layers}
    return {".actor.mlp": chain("actor.mu"), ".target_actor.mlp": chain("actor_target.mu"), **layers}


def _widths(layers: Layers, arrays: Arrays) -> dict[str, Any]:
    """The hyper-parameters that say how large the networks are."""

    def hidden(names: list[str]) -> tuple[int, ...]:
        return tuple(int(arrays[f"{name}.bias"].size) for name in names[:-1] if f"{name}.bias" in arrays)

    actor, *others = [name for name in layers if "target" not in name]
    found: dict[str, Any] = {"net_arch": hidden(layers[actor])}
    if others and hidden(layers[others[0]]) != found["net_arch"]:
        found["critic_arch"] = hidden(layers[others[0]])
    if n_critics := sum(name.startswith(".critics") for name in layers):
        found["n_critics"] = n_critics
    return found


def _named(layers: Layers, arrays: Arrays, path: Path) -> dict[str, np.ndarray]:
    """The arrays under the names that they have here. ``TeguError`` if one is missing, or has no place here."""
    used = {theirs for theirs in _ALONE if theirs in arrays}
    found = {_ALONE[theirs]: arrays[theirs] for theirs in used}
    if "log_ent_coef" in used:
        found[".log_ent_coef"] = arrays["log_ent_coef"].reshape(arrays["log_ent_coef"].shape[1:])  # theirs is [1]
    for network, joined in layers.items():
        for number, names in enumerate(name.split("+") for name in joined):
            for part, ours in (("weight", "weights"), ("bias", "biases")):
                theirs = [f"{name}.{part}" for name in names]
                if missing := [name for name in theirs if name not in arrays]:
                    raise TeguError(f"{path} has no {missing[0]}: only usual networks can be imported")
                if any(arrays[name].ndim != 1 + (part == "weight") for name in theirs):
                    raise TeguError(f"{path}: {theirs[0]} is no layer")
                found[f"{network}.{ours}[{number}]"] = np.concatenate([arrays[name] for name in theirs]).T
                used.update(theirs)
    if left := sorted(arrays.keys() - used):
        raise TeguError(f"{path} has {printable(left[0], 100)}: only usual networks can be imported")
    return found
