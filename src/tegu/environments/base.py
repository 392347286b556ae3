"""The contract of environments written in pure JAX."""

from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError

PyTree = Any


class Timestep(NamedTuple):
    """What one ``Environment.step`` returns, for one environment (no batch axis)."""

    state: PyTree
    observation: PyTree
    reward: PyTree  #: float32 scalar; a dict of them by agent where there are several
    terminated: jax.Array  #: bool scalar: the task ended
    truncated: jax.Array | bool = False  #: bool scalar; the clock of ``max_episode_steps`` is kept by the loops


class Environment(eqx.Module):
    """An environment as two pure functions. Parameters are fields; the state is a pytree of arrays, handed along.

    The loops batch it with ``vmap``, keep the clock (``max_episode_steps``) and start new episodes; an environment
    only defines the first state and the next one.
    """

    id: str = eqx.field(static=True, kw_only=True)  #: as registered, e.g. ``"CartPole-v1"``
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=None)

    def __check_init__(self) -> None:
        limit = self.max_episode_steps
        whole = isinstance(limit, int | np.integer) and not isinstance(limit, bool)
        if limit is not None and limit != -1 and (not whole or limit < 1):
            raise TeguError(f"{self.id}: max_episode_steps must be a whole number from 1, or None, got {limit!r}")

    @property
    def time_limit(self) -> int | None:
        """Steps after which the loops truncate an episode; None for ``max_episode_steps`` None or Gymnasium's -1."""
        return None if self.max_episode_steps == -1 else self.max_episode_steps

    @property
    def agents(self) -> tuple[str, ...]:
        """The names of the agents of a multi-agent environment, which are the keys of its dicts; else empty."""
        return ()

    @property
    def teams(self) -> dict[str, tuple[str, ...]]:
        """Where agents compete, the two teams by name; else empty."""
        return {}

    @property
    def reward_function(self) -> Any:
        """``EnvironmentSpec.reward``, where observations and actions tell what steps pay; else None."""
        return None

    @property
    def observation_space(self) -> gymnasium.Space:
        raise AttributeError(f"{type(self).__name__} must define observation_space")

    @property
    def action_space(self) -> gymnasium.Space:
        raise AttributeError(f"{type(self).__name__} must define action_space")

    def reset(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        """Begin an episode. Returns ``(state, observation)``."""
        raise AttributeError(f"{type(self).__name__} must define reset")

    def step(self, state: PyTree, action: PyTree, key: jax.Array) -> Timestep:
        """Take one step. ``action`` lies in ``action_space``; ``key`` is fresh randomness for this step."""
        raise AttributeError(f"{type(self).__name__} must define step")

    def state_of(self, observation: PyTree) -> PyTree:
        """The state in which an observation was made, where observations tell all of it: planning with the environment
        itself as the model begins there."""
        raise AttributeError(f"{self.id}: its observations do not tell its state")

    def measures(self, state: PyTree) -> dict[str, jax.Array]:
        """Measures of a state, besides rewards, of how good the behaviour is: float32 scalars by name."""
        return {}

    def episode_measures(self, state: PyTree) -> dict[str, jax.Array]:
        """Measures of a whole episode, by its last state: float32 scalars by other names than those of ``measures``.
        They may take long: evaluations ask once for each episode, and training never does."""
        return {}

    @property
    def milestones(self) -> dict[str, tuple[str, float]]:
        """What learning may discover, in the order of the literature: by name the measure that tells, as evaluations
        name it (``"fort/end"``), and the value from which on it has been discovered."""
        return {}

    def image(self, state: PyTree) -> np.ndarray:
        """Draw one state, a NumPy pytree, as an RGB picture ``[H, W, 3]`` uint8 (needs ``tegu[plot]``)."""
        raise AttributeError(f"{self.id} has no picture")

    def text(self, state: PyTree) -> str:
        """Draw one state, a NumPy pytree, as lines of text for a terminal."""
        raise AttributeError(f"{self.id} has no text drawing")
