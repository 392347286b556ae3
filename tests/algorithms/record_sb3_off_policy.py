"""Write ``sb3_off_policy.npz``: updates of Stable-Baselines3's off-policy algorithms, with all that went into them.

Tegu's updates are compared with these, since the package brings PyTorch along. To record anew, in an environment of its
own: ``pip install stable-baselines3==2.9.2 sb3-contrib==2.9.2`` and
``python tests/algorithms/record_sb3_off_policy.py``, which takes seconds. All is computed in float64.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

FILE = Path(__file__).with_name("sb3_off_policy.npz")
N = 6  #: steps in a batch
OBSERVATION, ACTION, DISCRETE = 3, 2, 3  #: numbers in each, and discrete actions
HIDDEN = [4, 3]
COMMON = {"learning_rate": 1e-2, "gamma": 0.9, "tau": 0.1, "buffer_size": N, "batch_size": N}


class Nowhere(gymnasium.Env[np.ndarray, Any]):
    """Spaces alone."""

    def __init__(self, action_space: gymnasium.Space[Any]):
        self.observation_space = gymnasium.spaces.Box(-9, 9, (OBSERVATION,))
        self.action_space = action_space


def batches(random: np.random.Generator, updates: int, *, discrete: bool) -> Iterator[dict[str, np.ndarray]]:
    """What the replay buffer gives, update by update: numbers that float32 can hold, too."""
    for _ in range(updates):
        action = random.integers(DISCRETE, size=(N, 1)) if discrete else random.uniform(-1, 1, (N, ACTION))
        batch = {
            "observations": random.normal(size=(N, OBSERVATION)),
            "actions": action,
            "next_observations": random.normal(size=(N, OBSERVATION)),
            "dones": random.random((N, 1)) < 0.3,
            "rewards": random.normal(size=(N, 1)),
        }
        yield {name: value.astype(np.float32).astype(float) for name, value in batch.items()}


def record(make: Any, seed: int, updates: int, *, discrete: bool = False, **settings: Any) -> dict[str, np.ndarray]:
    """``before`` and ``after``: weights by their names in PyTorch. ``batch``: the batches. ``noise``: standard normal
    numbers in the order in which they are drawn. ``logged``: what is reported, means over the updates."""
    import torch
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.type_aliases import ReplayBufferSamples

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    space: gymnasium.Space[Any] = gymnasium.spaces.Box(-1, 1, (ACTION,))
    space = gymnasium.spaces.Discrete(DISCRETE) if discrete else space
    settings["policy_kwargs"] = {"net_arch": HIDDEN, "activation_fn": torch.nn.Tanh} | settings.get("policy_kwargs", {})
    model = make("MlpPolicy", Nowhere(space), device="cpu", **COMMON | settings)
    with torch.no_grad():
        for parameter in model.policy.parameters():  # targets, too: they are not their networks any more
            parameter += 0.1 * torch.as_tensor(random.normal(size=parameter.shape))
    if hasattr(model, "actor") and hasattr(model.actor, "action_dist"):
        model.actor.action_dist.epsilon = 0.0  # a density that is exact, as Tegu's is
    drawn = list(batches(random, updates, discrete=discrete))
    remaining, noise = iter(drawn), []
    names = ("observations", "actions", "next_observations", "dones", "rewards")

    def sample(size: int, env: Any) -> Any:
        batch = next(remaining)
        return ReplayBufferSamples(*(torch.as_tensor(batch[name]) for name in names), discounts=None)

    def normal(shape: Any) -> Any:
        noise.append(random.normal(size=tuple(shape)))
        return torch.as_tensor(noise[-1])

    def normal_(self: Any, mean: float, std: float) -> Any:
        return self.copy_(mean + std * normal(self.shape))

    def rsample(self: Any) -> Any:
        return self.loc + self.scale * normal(self.loc.shape)

    before = {name: value.numpy().copy() for name, value in model.policy.state_dict().items()}
    logged: dict[str, Any] = {}
    model._logger = Logger(None, [])
    model._logger.record = lambda key, value, exclude=None: logged.update({key.removeprefix("train/"): value})
    model.replay_buffer.sample = sample
    kept = torch.Tensor.normal_, torch.distributions.Normal.rsample
    torch.Tensor.normal_, torch.distributions.Normal.rsample = normal_, rsample
    model.train(gradient_steps=updates, batch_size=N)
    torch.Tensor.normal_, torch.distributions.Normal.rsample = kept
    after = {name: value.numpy() for name, value in model.policy.state_dict().items()}
    if getattr(model, "log_ent_coef", None) is not None:
        after["log_ent_coef"] = model.log_ent_coef.detach().numpy()
    return {
        **{f"before/{name}": value for name, value in before.items()},
        **{f"after/{name}": value for name, value in after.items()},
        **{f"batch/{name}": np.stack([batch[name] for batch in drawn]) for name in names},
        **{f"logged/{name}": np.float64(value) for name, value in logged.items()},
        "noise": np.array(noise),
    }


def packed(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Many small arrays as one of bytes: their names and shapes as JSON and a line's end, then their numbers."""
    shapes = json.dumps({name: array.shape for name, array in arrays.items()})
    numbers = np.concatenate([np.ravel(array).astype(float) for array in arrays.values()])
    return np.frombuffer(shapes.encode() + b"\n" + numbers.tobytes(), np.uint8)


def unpacked(packed: np.ndarray) -> dict[str, np.ndarray]:
    """What ``packed`` was given, in float64."""
    shapes, _, numbers = packed.tobytes().partition(b"\n")
    found, rest = {}, np.frombuffer(numbers)
    for name, shape in json.loads(shapes).items():
        size = math.prod(shape)
        found[name], rest = rest[:size].reshape(shape), rest[size:]
    return found


def main() -> None:
    import stable_baselines3 as sb3
    import stable_baselines3.common.policies as policies
    import torch
    from sb3_contrib import TQC

    torch.set_default_dtype(torch.float64)
    policies.preprocess_obs = lambda obs, *rest, **more: obs  # it would be float32
    recorded = {
        "dqn": record(sb3.DQN, 0, 2, discrete=True),
        "ddpg": record(sb3.DDPG, 1, 1),
        "td3": record(sb3.TD3, 2, 2, target_policy_noise=0.4),
        "sac": record(sb3.SAC, 3, 2, ent_coef="auto_0.2"),
        "tqc": record(TQC, 4, 2, top_quantiles_to_drop_per_net=1, policy_kwargs={"n_quantiles": 4, "n_critics": 3}),
    }
    np.savez_compressed(FILE, **{name: packed(found) for name, found in recorded.items()})
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
