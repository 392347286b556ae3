"""Small settings that train in seconds and compile in one or two."""

from typing import Any

import pytest

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_envs": 4, "n_steps": 32, "batch_size": 64, "n_epochs": 2, "net_arch": [16]},
    "dqn": {"n_envs": 2, "buffer_size": 500, "learning_starts": 50, "batch_size": 16, "net_arch": [16]},
    "q-learning": {"n_envs": 1},
}


@pytest.fixture(params=[("CartPole-v1", "ppo"), ("CartPole-v1", "dqn"), ("lizard", "q-learning")], ids=lambda p: p[1])
def task(request: pytest.FixtureRequest) -> tuple[str, str, dict[str, Any]]:
    """An environment, an algorithm for it, and small settings."""
    environment, algorithm = request.param
    return environment, algorithm, SMALL[algorithm]
