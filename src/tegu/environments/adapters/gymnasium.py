"""Environments of the host, those of Gymnasium and those adapted to its shape, for the host loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import jax
import numpy as np

from tegu.core.errors import TeguError
from tegu.core.step import PyTree, episode_ended
from tegu.core.trees import to_arrays
from tegu.environments.adapters.base import HostStep
from tegu.environments.adapters.contract import (
    RESET,
    STEP,
    bare,
    check_apart,
    check_reset,
    close,
    copied,
    flag_of,
    number,
    parts,
    spaces_of,
    success_of,
)
from tegu.environments.adapters.goals import HostGoals
from tegu.environments.adapters.mujoco import MujocoState
from tegu.environments.adapters.pettingzoo import ParallelEnvironment
from tegu.environments.adapters.rewards import reward_of
from tegu.spaces.features import zeros
from tegu.spaces.observations import Observations


class GymnasiumEnvironments:
    """``n`` environments stepped one after the other, each episode begun from a seed of its own.

    The seed of an episode follows from ``entropy``, the environment's index and the episode's number, so that a
    deterministic environment can be brought back to the middle of an episode: same seed, same actions.
    """

    time_limit: int | None = None  # whatever keeps the clock is inside the environments

    def __init__(self, make: Callable[[], gymnasium.Env], entropy: Sequence[Sequence[int]]):
        """``entropy``: for each environment, the integers that all its randomness follows from."""
        self.environments = [make() for _ in entropy]
        check_apart(self.environments)
        check_reset(self.environments[0])
        self.entropy = [list(numbers) for numbers in entropy]
        first = self.environments[0]
        self.observation_space, self.action_space = spaces_of(first)
        inner = first.unwrapped
        self.agents = tuple(inner.possible_agents) if isinstance(inner, ParallelEnvironment) else ()
        self.goals = HostGoals.of(first)
        self.reward_function = reward_of(first)
        self._observations = Observations(self.observation_space)
        self.episodes = [0] * len(entropy)
        self._own_state = [_own_state(environment) for environment in self.environments]
        self.taken = [0] * len(entropy)  #: steps of each running episode
        self.actions: list[list[Any]] = [[] for _ in entropy]  #: their actions, where those are what is saved
        self._last: list[PyTree] = []

    def reset(self) -> PyTree:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        self._last = [self._begin(i) for i in range(len(self.environments))]
        return self._seen()

    def __len__(self) -> int:
        return len(self.environments)

    def step(self, actions: PyTree) -> HostStep:
        """Take ``actions`` ``[n, ...]``, which lie in the action space; ended episodes begin anew."""
        following, happened, success = [], [], []
        for i, (environment, action) in enumerate(zip(self.environments, self._each(actions), strict=True)):
            observation, reward, terminated, truncated, info = parts(environment.step(copied(action)), *STEP)
            success.append(success_of(info))
            self._record(i, action)
            if self.agents:
                over = episode_ended(terminated, truncated)
            else:
                reward, terminated, truncated = number(reward), flag_of(terminated), flag_of(truncated)
                over = terminated or truncated
            observation = copied(observation)
            happened.append((observation, reward, terminated, truncated))
            if over:
                self.episodes[i] += 1
                observation = self._begin(i)
            following.append(observation)
        self._last = following
        true_next, reward, terminated, truncated = zip(*happened, strict=True)
        ends, cut = self._columns(terminated, flag_of, bool), self._columns(truncated, flag_of, bool)
        cut = jax.tree.map(lambda truncated, terminated: truncated & ~terminated, cut, ends)
        rewards = self._columns(reward, number, np.float32)
        seen = self._seen()
        anew = any(last is not true for last, true in zip(following, true_next, strict=True))
        true_next = self._observations.stack(true_next) if anew else seen
        reached = None if all(said is None for said in success) else np.array(success, bool)
        return HostStep(seen, rewards, true_next, ends, cut, rewards, episode_ended(ends, cut), reached)

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Where every environment stands, as arrays and plain data.

        An environment that has ``save_state() -> dict[str, np.ndarray]`` and ``load_state(arrays)`` says so itself; of
        any of Gymnasium's that MuJoCo steps it is known; of any other it is the actions since the episode began.
        """
        arrays: dict[str, np.ndarray] = {}
        for i, actions in enumerate(self.actions):
            if (own := self._own_state[i]) is not None:
                arrays |= {f"state/{i}/{name}": np.asarray(array) for name, array in own.save_state().items()}
            elif actions:
                columns = jax.tree.map(lambda *each: np.stack([np.asarray(one) for one in each]), *actions)
                arrays |= {f"actions/{i}{name}": column for name, column in to_arrays(columns).items()}
        return arrays, {"episodes": list(self.episodes), "taken": list(self.taken)}

    def restore(self, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any], observation: PyTree) -> PyTree:
        """Bring every environment back to where it stood. Returns the observations there ``[n, ...]``.

        ``observation`` are those that were seen there; they are believed where an environment loads its own state.
        Where an episode ends earlier than it did, ``taken`` is then less than what ``data`` says.
        """
        self.episodes = list(data["episodes"])
        self._last = []
        for i, (environment, taken) in enumerate(zip(self.environments, data["taken"], strict=True)):
            seen, own = self._begin(i), self._own_state[i]
            if own is not None:
                start = f"state/{i}/"
                own.load_state({name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)})
                _set_elapsed(environment, taken)
                seen = jax.tree.map(lambda leaf, i=i: leaf[i], observation)
                self.taken[i] = taken
            else:
                seen = self._replayed(i, seen, self._recorded(i, taken, arrays))
            self._last.append(seen)
        return self._seen()

    def begin_anew(self, where: np.ndarray) -> PyTree:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all, ``[n, ...]``."""
        for i in map(int, np.flatnonzero(where)):
            self.episodes[i] += 1
            self._last[i] = self._begin(i)
        return self._seen()

    def close(self) -> None:
        for environment in self.environments:
            close(environment)

    def _begin(self, i: int) -> PyTree:
        seed = np.random.SeedSequence([*self.entropy[i], self.episodes[i]]).generate_state(1)[0]
        observation, _ = parts(self.environments[i].reset(seed=int(seed)), *RESET)
        self.actions[i], self.taken[i] = [], 0
        return copied(observation)

    def _replayed(self, i: int, seen: PyTree, actions: Sequence[Any]) -> PyTree:
        """Take ``actions`` in an environment whose episode has begun, unless it ends sooner; what is seen."""
        for action in actions:
            seen, _, terminated, truncated, _ = parts(self.environments[i].step(copied(action)), *STEP)
            if episode_ended(*jax.tree.map(flag_of, (terminated, truncated))):
                break
            self._record(i, action)
        return copied(seen)

    def _record(self, i: int, action: Any) -> None:
        self.taken[i] += 1
        if self._own_state[i] is None:
            self.actions[i].append(action)

    def _recorded(self, i: int, taken: int, arrays: Mapping[str, np.ndarray]) -> list[Any]:
        """The actions of an environment's running episode, from what ``snapshot`` wrote."""
        if not taken:
            return []
        paths, structure = jax.tree_util.tree_flatten_with_path(zeros(self.action_space))
        names = [f"actions/{i}{jax.tree_util.keystr(path)}" for path, _ in paths]
        if missing := [name for name in names if len(arrays.get(name, ())) != taken]:
            raise TeguError(f"the checkpoint is damaged: {missing[0]} does not hold {taken} actions")
        return list(self._each(jax.tree.unflatten(structure, [arrays[name] for name in names])))

    def _each(self, actions: PyTree) -> Any:
        """The actions of each environment, from those of all."""
        if isinstance(self.action_space, gymnasium.spaces.Dict):
            columns = [_rows(space, actions[name]) for name, space in self.action_space.items()]
            return [dict(zip(self.action_space, row, strict=True)) for row in zip(*columns, strict=True)]
        return _rows(self.action_space, actions)

    def _columns(self, values: Sequence[Any], checked: Callable[[Any], Any], dtype: type) -> PyTree:
        """What each environment gave as arrays ``[n]``, by agent where there are several."""
        if self.agents:
            return {agent: np.array([checked(value[agent]) for value in values], dtype) for agent in self.agents}
        return np.array(values, dtype)

    def _seen(self) -> PyTree:
        """The observations to act on next, ``[n, ...]``."""
        stacked = self._observations.stack(self._last)
        self._observations.check_legal(stacked)
        return stacked


def _rows(space: gymnasium.Space, actions: np.ndarray) -> Any:
    """Actions ``[n, ...]`` one by one; discrete ones as Python's integers, which some environments insist on."""
    return actions.tolist() if isinstance(space, gymnasium.spaces.Discrete) else actions


def _own_state(environment: gymnasium.Env) -> Any:
    """What saves an environment's state, mostly itself, if it can and its wrappers have none but a count of steps."""
    inner = bare(environment)
    if (of_mujoco := MujocoState.of(inner)) is not None:
        return of_mujoco
    able = all(callable(getattr(inner, name, None)) for name in ("save_state", "load_state"))
    return inner if able and not isinstance(inner, gymnasium.Wrapper) else None


def _set_elapsed(environment: gymnasium.Env, steps: int) -> None:
    """Let the wrappers that count steps know how many there were."""
    while isinstance(environment, gymnasium.Wrapper):
        if isinstance(environment, gymnasium.wrappers.TimeLimit):
            environment._elapsed_steps = steps  # type: ignore[assignment]
        environment = environment.env
