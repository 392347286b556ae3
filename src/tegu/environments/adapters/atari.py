"""Atari 2600 games of the Arcade Learning Environment (Bellemare et al. 2013), stepped in C++ by ale-py's threads."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from tegu.core.errors import TeguError
from tegu.core.step import PyTree
from tegu.environments.adapters.atari_options import AtariOptions
from tegu.environments.adapters.base import HostStep
from tegu.spaces.frames import FrameStack

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

    next_observation: np.ndarray  #: the true next observation
    observation: np.ndarray  #: to act on next: after a lost life it holds one frame, as an episode's first one
    score: np.ndarray  #: float32: the game's own reward
    terminated: np.ndarray  #: the game is over
    truncated: np.ndarray  #: only its time is
    lost: np.ndarray  #: a life was lost, and the game goes on


class _Games:
    """``n`` games side by side, each of which begins anew when it is told to."""

    def __init__(self, options: AtariOptions, n: int):
        self.options = options
        self.vector = _vector(options, n, stack_num=options.stack_num)
        single = self.vector.single_observation_space
        self.observation_space = FrameStack(single.low, single.high, single.shape, single.dtype)
        self.action_space = spaces.Discrete(int(self.vector.single_action_space.n))
        self.taken = np.zeros(n, int)  #: steps since each game began
        self._lives = np.zeros(n, int)
        self._frames = np.zeros(n, int)  # of the running episode or life, in the last observation

    def begin(self, where: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Begin new games ``where`` ``[n]``, all the first time, from as many ``seeds``; what all observe."""
        observation, info = self.vector.reset(seed=seeds, options={"reset_mask": where})
        self.taken[where], self._frames[where] = 0, 1
        self._lives = info["lives"]
        return self._of_this_life(observation)

    def step(self, actions: np.ndarray) -> _Played:
        """Take ``actions`` ``[n]``. Games that end must begin anew before the next step."""
        observation, score, terminated, _, info = self.vector.step(actions.astype(np.int32))
        lives = info["lives"]
        lost = (lives < self._lives) & (lives > 0) & ~terminated & self.options.episodic_life
        self.taken, self._lives = self.taken + 1, lives
        truncated = (self.taken >= self.options.time_limit) & ~terminated
        self._frames = np.minimum(self._frames + 1, self.options.stack_num)
        true_next = self._of_this_life(observation)
        self._frames[lost] = 1
        seen = self._of_this_life(true_next.copy()) if lost.any() else true_next
        return _Played(true_next, seen, score.astype(np.float32), terminated, truncated, lost)

    def _of_this_life(self, observation: np.ndarray) -> np.ndarray:
        """The observations, with zeros written over all frames from before."""
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
    """``n`` games of one kind, each begun from a seed of its own: what the host loop needs of them.

    The seed of an episode follows from ``entropy``, the game's index and the episode's number. ale-py cannot save where
    a game stands; the seed and the actions since bring it back there.
    """

    agents: tuple[str, ...] = ()

    def __init__(self, options: AtariOptions, entropy: Sequence[Sequence[int]]):
        """``entropy``: for each game, the integers that all its randomness follows from."""
        self.options, self.entropy = options, [list(numbers) for numbers in entropy]
        self._games = _Games(options, len(entropy))
        self.observation_space, self.action_space = self._games.observation_space, self._games.action_space
        self.time_limit: int | None = options.time_limit
        self.episodes = [0] * len(entropy)
        self._actions: list[list[int]] = [[] for _ in entropy]  # since each game began

    def __len__(self) -> int:
        return len(self.entropy)

    @property
    def taken(self) -> list[int]:
        """Steps of each running episode."""
        return [len(actions) for actions in self._actions]

    def reset(self) -> np.ndarray:
        """Begin an episode everywhere. Returns observations ``[n, ...]``."""
        return self._begin(np.ones(len(self), bool))

    def begin_anew(self, where: np.ndarray) -> np.ndarray:
        """Begin a new episode where the mask ``[n]`` says so. Returns the observations of all, ``[n, ...]``."""
        for i in map(int, np.flatnonzero(where)):
            self.episodes[i] += 1
        return self._begin(where)

    def step(self, actions: np.ndarray) -> HostStep:
        """Take ``actions`` ``[n]``; ended games begin anew."""
        played = self._games.step(actions)
        for taken, action in zip(self._actions, actions.tolist(), strict=True):
            taken.append(action)
        over = played.terminated | played.truncated
        observation = self.begin_anew(over) if over.any() else played.observation
        reward = played.score.clip(-1, 1) if self.options.reward_clipping else played.score
        terminated = played.terminated | played.lost
        truncated = played.truncated & ~played.lost
        return HostStep(observation, reward, played.next_observation, terminated, truncated, played.score, over)

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Where every game stands: the actions since it began, as arrays, and plain data."""
        arrays = {f"actions/{i}": np.array(actions, np.uint8) for i, actions in enumerate(self._actions) if actions}
        return arrays, {"episodes": list(self.episodes), "taken": self.taken}

    def restore(self, arrays: Mapping[str, np.ndarray], data: Mapping[str, Any], observation: PyTree) -> np.ndarray:
        """Bring every game back to where it stood. Returns the observations there ``[n, ...]``.

        All games are stepped together, so each begins as many steps before the end as it had taken. Where one ends
        earlier than it did, ``taken`` is then less than what ``data`` says.
        """
        self.episodes, taken = list(data["episodes"]), np.array(data["taken"])
        recorded = [self._recorded(i, n, arrays) for i, n in enumerate(taken)]
        begins = taken.max() - taken
        seen, alive = self.reset(), np.ones(len(self), bool)
        for t in range(taken.max() + 1):
            if t and (begins == t).any():
                seen = self._begin(begins == t)
            if t < taken.max():
                actions = np.array(
                    [n[t - begin] if t >= begin else 0 for n, begin in zip(recorded, begins, strict=True)]
                )
                played = self._games.step(actions)
                seen = played.observation
                alive &= ~((played.terminated | played.truncated) & (t >= begins))
        self._actions = [n.tolist() if goes_on else [] for n, goes_on in zip(recorded, alive, strict=True)]
        return seen

    def close(self) -> None:
        self._games.vector.close()

    def _begin(self, where: np.ndarray) -> np.ndarray:
        chosen = np.flatnonzero(where)
        numbers = [np.random.SeedSequence([*self.entropy[i], self.episodes[i]]).generate_state(1)[0] for i in chosen]
        for i in map(int, chosen):
            self._actions[i] = []
        return self._games.begin(where, np.array(numbers, np.uint32) >> 1)  # ale-py takes no more than 31 bits

    def _recorded(self, i: int, taken: int, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The actions of a running episode, from what ``snapshot`` wrote."""
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
        return played.observation[0], float(played.score[0]), *flags, {"lost_life": bool(played.lost[0])}

    def render(self) -> np.ndarray:
        """The screen ``[210, 160, 3]``."""
        return self._screen

    def close(self) -> None:
        for vector in filter(None, (self._games.vector, self._screens)):
            vector.close()
