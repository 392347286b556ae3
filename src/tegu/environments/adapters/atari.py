"""Atari 2600 games of the Arcade Learning Environment (Bellemare et al. 2013), stepped in C++ by ale-py's threads."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.atari_options import AtariOptions
from tegu.environments.adapters.base import HostStep
from tegu.spaces.frames import FrameStack

SEEDED_EVERY = 50_000  #: steps after which a game that begins is seeded anew
SCREEN = 210, 160  #: height and width of the pictures that ``AtariGame`` draws


def makers(
    name: str, options: Mapping[str, Any]
) -> tuple[Callable[[], gymnasium.Env], Callable[[Sequence[Sequence[int]]], "AtariEnvironments"]]:
    """What makes one game, and several; ``name`` is registered with Gymnasium. ``TeguError`` names wrong options."""
    if not name.startswith("ALE/"):
        raise TeguError(f"{name} is not a game of the Arcade Learning Environment: expected a name such as ALE/Pong-v5")
    given = dict(options)
    render_mode = given.pop("render_mode", None)
    chosen = AtariOptions.of(gymnasium.spec(name).kwargs["game"], given)
    return partial(AtariGame, chosen, render_mode), partial(AtariEnvironments, chosen)


class _Played(NamedTuple):
    """A step of ``n`` games, ``[n, ...]`` each."""

    observation: np.ndarray  #: to act on next: the first one of a new game where one is over
    next_observation: np.ndarray  #: the true next observation
    score: np.ndarray  #: float32: the game's own reward
    terminated: np.ndarray  #: the game is over
    truncated: np.ndarray  #: only its time is
    lost: np.ndarray  #: a life was lost that is learned from as an episode; the game goes on


class _Games:
    """``n`` games side by side. A new one begins where one is over, with the random numbers that come next."""

    def __init__(self, options: AtariOptions, n: int):
        self.options = options
        self.vector = _vector(options, n, stack_num=options.stack_num, autoreset_mode=AutoresetMode.SAME_STEP)
        single = self.vector.single_observation_space
        self.observation_space = FrameStack(single.low, single.high, single.shape, single.dtype)
        self.action_space = spaces.Discrete(int(self.vector.single_action_space.n))
        self._taken = np.zeros(n, int)  # steps of each game
        self._lives = np.zeros(n, int)
        self._frames = np.zeros(n, int)  # of each game, or life, that the last observation shows

    def begin(self, where: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Begin new games ``where`` ``[n]``, which is everywhere at first; returns what all observe.

        ``seeds``: one for each of these, or -1 to go on with the random numbers that come next, which is 20 times as
        fast: with a seed, ale-py loads the game anew.
        """
        observation, info = self.vector.reset(seed=seeds, options={"reset_mask": where})
        self._taken[where], self._frames[where] = 0, 1
        self._lives = info["lives"]
        return self._of_this_life(observation)

    def step(self, actions: np.ndarray) -> _Played:
        """Take ``actions`` ``[n]``."""
        observation, score, terminated, _, info = self.vector.step(actions.astype(np.int32))
        lives = info["lives"]
        lost = (lives < self._lives) & (lives > 0) & ~terminated & self.options.episodic_life
        self._taken, self._lives = self._taken + 1, lives
        truncated = (self._taken >= self.options.time_limit) & ~terminated
        self._frames = np.minimum(self._frames + 1, self.options.stack_num)
        true_next = observation.copy() if (terminated | lost).any() else observation
        if terminated.any():
            true_next[terminated] = info["final_obs"][terminated]
        self._of_this_life(true_next)
        self._taken[terminated], self._frames[terminated | lost] = 0, 1
        if truncated.any():
            observation = self.begin(truncated, np.full(truncated.sum(), -1))
        self._of_this_life(observation)
        return _Played(observation, true_next, score.astype(np.float32), terminated, truncated, lost)

    def _of_this_life(self, observation: np.ndarray) -> np.ndarray:
        """The observations, with zeros written over all frames from before the running games or lives."""
        for i in np.flatnonzero(self._frames < self.options.stack_num):
            observation[i, : -self._frames[i]] = 0
        return observation


def _vector(options: AtariOptions, n: int, **seen: Any) -> Any:
    """``n`` games of ale-py's, which neither clip rewards, nor end with a life, nor keep the clock.

    Of these ale-py would begin a new game after a lost life, and show a frame of the step before at the time limit.
    """
    from ale_py.vector_env import AtariVectorEnv

    names = ("game", "repeat_action_probability", "full_action_space", "frameskip", "maxpool", "use_fire_reset")
    shape = {"img_height": options.img_height, "img_width": options.img_width}
    return AtariVectorEnv(
        num_envs=n,
        noop_max=options.noop_max + 1,  # ale-py draws a number below it
        max_num_frames_per_episode=options.max_num_frames_per_episode + options.frameskip,
        reward_clipping=False,
        **{name: getattr(options, name) for name in names},
        **shape | seen,
    )


class AtariEnvironments:
    """``n`` games of one kind: what the host loop needs of them.

    Everything follows from ``entropy``. ale-py cannot save where a game stands, and takes long to seed one. So a game
    is seeded when it first begins, and again when one is over after ``SEEDED_EVERY`` steps; the seed, which follows
    from ``entropy`` and the number of these times, and the actions since bring it back to where it stands.
    """

    agents: tuple[str, ...] = ()
    goals = None
    reward_function = None

    def __init__(self, options: AtariOptions, entropy: Sequence[Sequence[int]]):
        """``entropy``: for each game, the integers that all its randomness follows from."""
        self.options, self.entropy = options, [list(numbers) for numbers in entropy]
        self._games = _Games(options, len(entropy))
        self.observation_space, self.action_space = self._games.observation_space, self._games.action_space
        self.time_limit: int | None = options.time_limit
        self.episodes = [0] * len(entropy)  #: how often each was seeded before
        self._actions: list[list[int]] = [[] for _ in entropy]  # since then

    def __len__(self) -> int:
        return len(self.entropy)

    @property
    def taken(self) -> list[int]:
        """Steps since each was seeded."""
        return [len(actions) for actions in self._actions]

    def reset(self) -> np.ndarray:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        return self._seeded(np.ones(len(self), bool))

    def begin_anew(self, where: np.ndarray) -> np.ndarray:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all, ``[n, ...]``."""
        for i in map(int, np.flatnonzero(where)):
            self.episodes[i] += 1
        return self._seeded(where)

    def step(self, actions: np.ndarray) -> HostStep:
        """Take ``actions`` ``[n]``; new games begin where they are over."""
        played = self._games.step(actions)
        for taken, action in zip(self._actions, actions.tolist(), strict=True):
            taken.append(action)
        over = played.terminated | played.truncated
        due = over & (np.array(self.taken) >= SEEDED_EVERY)
        observation = self.begin_anew(due) if due.any() else played.observation
        reward = played.score.clip(-1, 1) if self.options.reward_clipping else played.score
        terminated = played.terminated | played.lost
        truncated = played.truncated & ~played.lost
        return HostStep(observation, reward, played.next_observation, terminated, truncated, played.score, over)

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Where every game stands: the actions since it was seeded, as arrays, and plain data."""
        arrays = {f"actions/{i}": np.array(actions, np.uint8) for i, actions in enumerate(self._actions) if actions}
        return arrays, {"episodes": list(self.episodes), "taken": self.taken}

    def restore(self, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any], observation: PyTree) -> np.ndarray:
        """Bring every game back to where it stood. Returns the observations there ``[n, ...]``.

        All are stepped together, so each is seeded as many steps before the end as it takes.
        """
        self.episodes, taken = list(data["episodes"]), np.array(data["taken"])
        recorded = [self._recorded(i, n, arrays) for i, n in enumerate(taken)]
        begins = taken.max() - taken
        seen = self.reset()
        for t in range(taken.max()):
            given = [actions[t - begin] if t >= begin else 0 for actions, begin in zip(recorded, begins, strict=True)]
            seen = self._games.step(np.array(given)).observation
            if (begins == t + 1).any():
                seen = self._seeded(begins == t + 1)
        self._actions = [actions.tolist() for actions in recorded]
        return seen

    def close(self) -> None:
        self._games.vector.close()

    def _seeded(self, where: np.ndarray) -> np.ndarray:
        """Begin a seeded game ``where`` ``[n]``. Returns the observations of all."""
        chosen = list(map(int, np.flatnonzero(where)))
        for i in chosen:
            self._actions[i] = []
        numbers = [np.random.SeedSequence([*self.entropy[i], self.episodes[i]]).generate_state(1)[0] for i in chosen]
        return self._games.begin(where, np.array(numbers, np.uint32) >> 1)  # ale-py takes no more than 31 bits

    def _recorded(self, i: int, taken: int, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The actions since a game was seeded, from what ``snapshot`` wrote."""
        actions = np.asarray(arrays.get(f"actions/{i}", np.zeros(0, np.uint8)))
        if actions.shape != (taken,) or actions.dtype != np.uint8 or (actions >= self.action_space.n).any():
            raise TeguError(f"the checkpoint is damaged: actions/{i} does not hold {taken} actions of the game")
        return actions


class AtariGame(gymnasium.Env):
    """One game in the shape of Gymnasium's environments, with its own rewards and its own end, and pictures of it."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, options: AtariOptions, render_mode: str | None = None):
        if render_mode not in (None, "rgb_array"):
            raise TeguError(f"render_mode of an Atari game must be rgb_array, got {render_mode!r}")
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": 60 / options.frameskip}
        self._games = _Games(options, 1)
        self.observation_space, self.action_space = self._games.observation_space, self._games.action_space
        # ale-py keeps the screen to itself: the same game once more, from the same seeds, shows it in full
        height, width = SCREEN
        screen = {"stack_num": 1, "grayscale": False, "img_height": height, "img_width": width}
        self._screens = _vector(options, 1, **screen) if render_mode else None
        self._screen = np.zeros((height, width, 3), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        where, seeds = np.ones(1, bool), self.np_random.integers(2**31, size=1)
        if self._screens is not None:
            self._screen = self._screens.reset(seed=seeds)[0][0, 0]
        return self._games.begin(where, seeds)[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        actions = np.array([action], np.int32)
        played = self._games.step(actions)
        if self._screens is not None:
            self._screen = self._screens.step(actions)[0][0, 0]
        flags = bool(played.terminated[0]), bool(played.truncated[0])
        # after a lost life the observation holds one frame, as in training
        seen = played.observation if played.lost[0] and not any(flags) else played.next_observation
        return seen[0], float(played.score[0]), *flags, {"lost_life": bool(played.lost[0])}

    def render(self) -> np.ndarray:
        """The screen ``[210, 160, 3]``."""
        return self._screen

    def close(self) -> None:
        for vector in filter(None, (self._games.vector, self._screens)):
            vector.close()
