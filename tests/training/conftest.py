"""Small settings that train in seconds and compile in one or two: of algorithms, in the loops they can run in."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Case(NamedTuple):
    """What is trained, and in which loop."""

    name: str
    environment: str
    algorithm: str
    settings: dict[str, Any]


_PPO = {"n_envs": 4, "n_steps": 10, "batch_size": 20, "n_epochs": 2, "net_arch": [8], "steps": 600, "log_interval": 80}
_MEMORY = {"recurrent": "gru", "hidden_size": 4, "sequence_length": 5}
_A2C = {"n_envs": 4, "n_steps": 5, "net_arch": [8], "steps": 600, "log_interval": 80, "learning_rate": "lin_1e-3"}
_CRITIC = {"n_envs": 4, "n_steps": 10, "batch_size": 20, "net_arch": [8], "steps": 600, "log_interval": 80}
_CRITIC |= {"n_critic_updates": 2}
_TABLE = {"n_envs": 2, "steps": 600, "log_interval": 60, "learning_rate": "lin_0.5"}
_PLANNING = {"n_envs": 2, "steps": 600, "log_interval": 60}
_REPLAY = {"learning_starts": 50, "buffer_size": 120, "batch_size": 16, "net_arch": [8], "steps": 600}
_REPLAY |= {"log_interval": 60, "learning_rate": "lin_1e-2"}
_MPC = {"n_envs": 2, "horizon": 3, "n_candidates": 8, "n_iterations": 2, "n_elite": 3, "steps": 200}
_MPC |= {"log_interval": 20}
_MODEL = {"learning_starts": 50, "buffer_size": 120, "batch_size": 16, "net_arch": [8], "train_freq": 4}
_MODEL |= {"gradient_steps": 2, "learning_rate": "lin_1e-2"}
_MBMF = _MODEL | {"n_envs": 2, "horizon": 3, "n_candidates": 8, "model_arch": [8], "n_steps": 16, "steps": 600}
_MBMF |= {"imitation_gradient_steps": 3, "model_fraction": 0.4, "imitation_fraction": 0.3, "log_interval": 20}
_MBMF |= {"model_learning_rate": "lin_1e-2", "imitation_learning_rate": "lin_1e-2", "normalize_observation": True}
_I2A = _A2C | {"rollout_length": 2, "hidden_size": 4, "model_arch": [8], "model_epochs": 2, "model_fraction": 0.5}
_I2A |= {"model_learning_rate": "lin_1e-2", "policy_update": "ppo", "batch_size": 10, "n_epochs": 2}
_SEARCH = {"n_envs": 4, "n_steps": 15, "steps": 600, "log_interval": 60, "learning_rate": "lin_0.5"}
_DREAMER = {"n_envs": 2, "learning_starts": 50, "buffer_size": 120, "batch_size": 4, "sequence_length": 5, "steps": 600}
_DREAMER |= {"train_freq": 20, "horizon": 2, "deterministic_size": 8, "n_categoricals": 2, "n_classes": 3, "units": 8}
_DREAMER |= {"n_layers": 1, "n_bins": 7, "log_interval": 60, "learning_rate": "lin_1e-2"}
_WORLD_MODELS = {"n_envs": 2, "learning_starts": 50, "buffer_size": 120, "batch_size": 8, "memory_batch_size": 4}
_WORLD_MODELS |= {"sequence_length": 5, "train_freq": 20, "gradient_steps": 2, "latent_size": 3, "units": 8}
_WORLD_MODELS |= {"lstm_hidden_size": 4, "n_mixtures": 2, "population_size": 4, "n_steps": 15, "n_eval_episodes": 1}
_WORLD_MODELS |= {"vision_fraction": 0.3, "memory_fraction": 0.3, "learning_rate": "lin_1e-2", "dream": True}
_WORLD_MODELS |= {"dream_generations": 2, "steps": 600, "log_interval": 20}
_HINDSIGHT = _REPLAY | {"n_sampled_goal": 4, "n_envs": 2, "train_freq": 4, "environment_options": {"n_bits": 5}}
_PARTICLES = _REPLAY | {"n_envs": 2, "train_freq": 20}
_ALPHAZERO = {"simulations": 2, "random_moves": 2, "train_freq": 256, "buffer_size": 768, "batch_size": 32}
_ALPHAZERO |= {"gradient_steps": 2, "width": 8, "blocks": 1, "steps": 3_000, "log_interval": 512}
_ALPHAZERO |= {"fork_fraction": 0.5, "n_reanalysed": 4}
_MUZERO = {"n_envs": 2, "simulations": 2, "unroll_steps": 2, "n_steps": 2, "train_freq": 20, "latent_size": 4}
_MUZERO |= {"support_size": 4, "prioritized": True, "n_reanalysed": 3, "target_update_interval": 100}
_TDMPC2 = {"n_envs": 2, "train_freq": 4, "horizon": 2, "n_candidates": 6, "n_policy_candidates": 2, "n_elite": 3}
_TDMPC2 |= {"n_iterations": 2, "latent_size": 4, "simnorm_size": 2, "encoder_arch": [8], "n_critics": 3, "n_bins": 7}
_ALPHAGO = {"expert_games": str(Path(__file__).with_name("tic_tac_toe_games.npz")), "width": 4, "blocks": 1}
_ALPHAGO |= {"simulations": 2, "n_steps": 5, "pool_size": 2, "pool_every": 2, "value_batches": 2, "n_envs": 4}
_ALPHAGO |= {"supervised_fraction": 0.3, "reinforced_fraction": 0.4, "steps": 600, "log_interval": 20}
_ALPHAGO |= {"learning_rate": "lin_1e-2", "reinforced_learning_rate": "lin_1e-2"}

_SAC_VARIANTS: dict[str, dict[str, Any]] = {
    "redq": {"gradient_steps": 3, "policy_delay": 2, "n_critics": 3, "model_steps": 2, "model_arch": [8]},
    "crossq": {"gradient_steps": 2},
}

# Of all but ``TOGETHER``: an environment, settings, and by whose environments the split loop collects, if any.
# Rings of rows go around, learning rates fall, policies remember, moments are kept, windows are longer than a step.
SMALL: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "q-learning": ("FrozenLake-v1", _TABLE, "gymnasium"),
    "sarsa": ("FrozenLake-v1", _TABLE, "gymnasium"),
    "double-q-learning": ("FrozenLake-v1", _TABLE, "gymnasium"),
    "q-lambda": ("FrozenLake-v1", _TABLE, "gymnasium"),
    "monte-carlo": ("FrozenLake-v1", _TABLE | {"n_steps": 25}, "gymnasium"),
    "dyna-q": ("FrozenLake-v1", _TABLE, "gymnasium"),
    "prioritized-sweeping": ("FrozenLake-v1", _PLANNING, "gymnasium"),
    "adaptive-dp": ("FrozenLake-v1", _PLANNING, "gymnasium"),
    "dqn": (
        "CartPole-v1",
        _REPLAY | {"n_envs": 2, "train_freq": 4, "n_steps": 3, "target_update_interval": 50},
        "gymnasium",
    ),
    "rainbow": ("CartPole-v1", _REPLAY | {"n_envs": 2, "train_freq": 4, "n_atoms": 5, "n_steps": 3}, "gymnasium"),
    "r2d2": (
        "CartPole-v1",
        _REPLAY
        | {"n_envs": 2, "train_freq": 4, "n_steps": 2, "burn_in": 2, "sequence_length": 3, "lstm_hidden_size": 4},
        "gymnasium",
    ),
    "pqn": ("CartPole-v1", _PPO | {"learning_rate": "lin_1e-3"}, "gymnasium"),
    "ars": ("CartPole-v1", _SEARCH | {"n_delta": 3, "normalize_observation": True}, "gymnasium"),
    "cem": ("CartPole-v1", _SEARCH | {"population_size": 6, "n_elite": 2, "extra_variance": "lin_0.1"}, "gymnasium"),
    "openai-es": ("CartPole-v1", _SEARCH | {"population_size": 6, "net_arch": [8]}, "gymnasium"),
    "cma-es": ("CartPole-v1", _SEARCH | {"population_size": 6}, "gymnasium"),
    "ppo": ("CartPole-v1", _PPO | {"normalize_observation": True, "normalize_reward": True}, "gymnasium"),
    "recurrent-ppo": (
        "CartPole-v1",
        _PPO | {"n_steps": 12, "batch_size": 24, "hidden_size": 4, "sequence_length": 6},
        "gymnasium",
    ),
    "a2c": ("Pendulum-v1", _A2C | {"normalize_observation": True, "normalize_reward": True}, "gymnasium"),
    "reinforce": ("CartPole-v1", _CRITIC | {"n_steps": 40}, "gymnasium"),
    "trpo": ("Pendulum-v1", _CRITIC, "gymnasium"),
    "ddpg": ("Pendulum-v1", _REPLAY | {"n_envs": 2, "train_freq": 4}, "gymnasium"),
    "mve-ddpg": (
        "Pendulum-v1",
        _REPLAY | {"n_envs": 2, "train_freq": 4, "gradient_steps": 1, "model_steps": 2, "model_arch": [8]},
        "gymnasium",
    ),
    "td3": ("Pendulum-v1", _REPLAY | {"n_envs": 2, "train_freq": 4, "noise_type": "ornstein-uhlenbeck"}, "gymnasium"),
    "sac": ("Pendulum-v1", _REPLAY | {"n_envs": 2, "train_freq": 4}, "gymnasium"),
    **{
        name: ("Pendulum-v1", _REPLAY | {"n_envs": 2, "train_freq": 4, "critic_arch": [8]} | settings, "gymnasium")
        for name, settings in _SAC_VARIANTS.items()
    },
    "mpc": ("Pendulum-v1", _MPC | {"steps": 500}, None),
    "random-shooting": ("CartPole-v1", _MPC | _MODEL | {"n_particles": 1}, "gymnasium"),
    "pets": ("Pendulum-v1", _MPC | _MODEL | {"n_particles": 4, "ensemble_size": 2}, "gymnasium"),
    "mbpo": (
        "Pendulum-v1",
        _REPLAY
        | {"n_envs": 2, "train_freq": 4, "gradient_steps": 2, "ensemble_size": 3, "model_arch": [8], "model_delay": 2}
        | {"rollout_length": {"initial": 1.0, "final": 3.0}, "max_rollout_length": 3, "reward": "given"},
        "gymnasium",
    ),
    "mbmf": ("Pendulum-v1", _MBMF | {"normalize_reward": True}, "gymnasium"),
    "i2a": ("CartPole-v1", _I2A, "gymnasium"),
    "dreamer": ("Pendulum-v1", _DREAMER, "gymnasium"),
    "td-mpc2": ("Pendulum-v1", _REPLAY | _TDMPC2, "gymnasium"),
    "world-models": ("Pendulum-v1", _WORLD_MODELS, "gymnasium"),
    "muzero": ("CartPole-v1", _REPLAY | _MUZERO, "gymnasium"),
    "alphazero": ("tic-tac-toe", _ALPHAZERO | {"n_envs": 32}, None),
    "alphago": ("tic-tac-toe", _ALPHAGO, None),
    "maddpg": ("simple_speaker_listener_v4", _PARTICLES | {"ensemble": 2}, "pettingzoo"),
    "ippo": ("simple_speaker_listener_v4", _PPO, "pettingzoo"),
    "mappo": ("simple_speaker_listener_v4", _PPO | _MEMORY, "pettingzoo"),
}


# Tested here only as parts of others, which keep whatever these keep from one step to the next, with other numbers or
# losses: DQN and Rainbow, SAC and REDQ, MADDPG, SARSA, TRPO.
TOGETHER = {
    *("double-dqn", "dueling-dqn", "prioritized-dqn", "noisy-dqn", "c51", "qr-dqn", "iqn", "munchausen-dqn"),
    *("munchausen-iqn", "droq", "tqc", "simba", "matd3", "iddpg", "n-step-sarsa", "expected-sarsa", "npg"),
}

# In one loop only: their state is of a kind that others bring to both.
IN_ONE_LOOP = {"sarsa", "double-q-learning", "q-lambda", "dyna-q", "prioritized-sweeping", "adaptive-dp"}
IN_ONE_LOOP |= {"pqn", "a2c", "trpo", "mappo", "ars", "cem", "openai-es"}
IN_ONE_LOOP |= {"ddpg", "mve-ddpg", "td3", "redq", "crossq", "random-shooting", "mbpo"}

# ``make test`` tests these: tables, replay buffers and rollouts, and each loop; ``make test-long`` the others.
SHORT = {"q-learning, fused", "dqn, fused", "dqn, host", "ppo, fused", "ppo, host"}

# These are stopped, too, with every kind of collector; all are killed, which loses more.
STOPPED = SHORT | {"alphazero, multicore", "maddpg, host"}


def cases() -> Iterator[Any]:
    """A ``Case``, as a parameter, for algorithms of ``SMALL`` and loops, so that each kind of state meets each loop."""
    yield _param("dqn in hindsight, fused", "BitFlip-v0", "dqn", _HINDSIGHT)
    yield _param("muzero in games, fused", "tic-tac-toe", "muzero", _REPLAY | _MUZERO)
    for algorithm, (environment, settings, backend) in SMALL.items():
        yield _param(f"{algorithm}, fused", environment, algorithm, settings)
        if backend is not None and algorithm not in IN_ONE_LOOP:
            absent = backend == "pettingzoo" and importlib.util.find_spec("mpe2") is None
            marks = [pytest.mark.skip(reason="needs tegu[pettingzoo]")] if absent else []
            yield _param(f"{algorithm}, host", environment, algorithm, settings | {"backend": backend}, *marks)
        if algorithm == "alphazero":  # two groups of games, one for each of two cores
            yield _param(f"{algorithm}, multicore", environment, algorithm, settings | {"n_envs": 64})


def _param(name: str, environment: str, algorithm: str, settings: dict[str, Any], *marks: Any) -> Any:
    long = [pytest.mark.long] * (name not in SHORT)
    return pytest.param(Case(name, environment, algorithm, settings), id=name, marks=[*marks, *long])


@pytest.fixture(scope="module", params=cases())
def case(request: pytest.FixtureRequest) -> Case:
    """An algorithm in a loop (``cases``)."""
    return request.param
