"""A loop and where it stands, so that a model can be looked at, changed and trained on between calls of ``learn``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.base import Environment
from tegu.experience.buffer import ReplayBuffer
from tegu.sb3.stepped import Seen, SteppedVecEnv
from tegu.sb3.vec_env import VecEnv
from tegu.training.fused import FusedLoop
from tegu.training.learning import cut_episodes
from tegu.training.loops import host_loop
from tegu.training.split import SplitLoop


class TrainingState:
    """One seed's loop, its state, and the steps behind it."""

    def __init__(
        self,
        algorithm: Algorithm,
        environment: Environment | VecEnv,
        spec: EnvironmentSpec,
        seed: int,
        learners: Learner | None = None,
        steps: int = 0,
        *,
        resumes: bool = False,
    ):
        """``learners`` ``[1, ...]`` were trained for ``steps``; without them training begins from nothing. ``resumes``:
        whether episodes go on where training was last left in a ``VecEnv``, and nobody stepped it since."""
        self.environment = environment
        self.loop: FusedLoop | SplitLoop
        if isinstance(environment, VecEnv):
            standing, seen = environment.left if environment.left is not None and resumes else (None, None)
            self._stepped = SteppedVecEnv(environment, seen if standing == _standing(environment) else None)
            self.loop = host_loop(algorithm, spec, {seed: self._stepped})
        else:
            self.loop = FusedLoop(algorithm, environment, spec, (seed,))
        self.steps = steps  #: environment steps so far
        self.revision = 0  #: changes with what was learned
        self._given = learners
        self._state: Any = None
        self._standing: Any = None  # of the environments when training last left them

    @property
    def state(self) -> Any:
        """Where the loop stands; it begins when this is first asked for."""
        if self._state is None:
            self._state = self.loop.start()
            self._leave()
            if self._given is not None:
                self.put(from_arrays(self.loop.learners(self._state), to_arrays(self._given), "what was loaded"))
                self._given = None
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        self._state = state
        self.revision += 1

    @property
    def begun(self) -> bool:
        """Whether there is a state yet."""
        return self._state is not None

    @property
    def seen(self) -> PyTree:
        """What is acted on next, ``[n, ...]``; None if that begins new episodes first."""
        if isinstance(self.environment, VecEnv):
            return self._stepped.seen
        return jax.tree.map(lambda leaf: np.array(leaf[0]), self.state[0].collector.observation) if self.begun else None

    def advance(self, steps: int, state: Any) -> None:
        """Take over where the loop stands after so many ``steps``."""
        self.steps, self.state = steps, state
        self._leave()

    def salvage(self, steps: int, state: Any) -> None:
        """Take over what an error has left of a training after so many ``steps``; the next one begins new episodes."""
        self.steps, self.state, self._standing = steps, state, None

    def learners(self) -> Learner:
        """What was learned, ``[1, ...]``, without beginning what has not begun."""
        if self._state is None and self._given is not None:
            return self._given
        return self.loop.learners(self.state)

    def put(self, learners: Learner) -> None:
        """Go on with ``learners``, which look like the loop's own."""
        self.state = self.loop.with_learners(self.state, learners)

    def reseed(self, seed: int) -> None:
        """Draw everything from now on from ``seed``."""
        self.state = self.loop.with_keys(self.state, [seed])

    def restart(self) -> None:
        """Begin new episodes in all environments; what was learned and experienced stays."""
        self.state = self.loop.restart(self.state)
        self._leave()

    def restart_if_touched(self) -> None:
        """Begin new episodes if anybody else stepped or reset the environments."""
        if isinstance(self.environment, VecEnv) and _standing(self.environment) != self._standing:
            self.restart()

    # Environments stepped in Python

    def record(self, on: bool) -> None:
        """Whether to keep what each step brings."""
        if isinstance(self.environment, VecEnv):
            self._stepped.record = [] if on else None

    def recorded(self) -> list[Seen]:
        """What was kept since this was last asked for: an entry for each step, or none in JAX."""
        if not isinstance(self.environment, VecEnv) or self._stepped.record is None:
            return []
        found, self._stepped.record = self._stepped.record, []
        return found

    def successes(self) -> list[bool]:
        """Of the episodes that ended since this was last asked for, whether they succeeded, where they say so."""
        if not isinstance(self.environment, VecEnv):
            return []
        found, self._stepped.successes = self._stepped.successes, []
        return found

    # The replay buffer

    @property
    def buffer(self) -> ReplayBuffer:
        """The replay buffer, without a leading axis."""
        buffer = self.state[0].buffer
        return jax.tree.map(lambda leaf: leaf[0], buffer) if isinstance(self.loop, FusedLoop) else buffer

    def put_buffer(self, buffer: ReplayBuffer) -> None:
        """Go on with another one, whose running episodes are cut: new ones begin."""
        buffer = cut_episodes(buffer, jnp.ones(self.loop.spec.n_envs, bool))
        stored = int(buffer.size)
        if isinstance(self.loop, FusedLoop):
            self.loop.stored = stored
            (part,) = self.loop.layout.split(jax.tree.map(lambda leaf: np.asarray(leaf)[None], buffer))
            self.state = [self.state[0]._replace(buffer=part)]
        else:
            self.loop.each[0].stored = stored
            self.state = [self.state[0]._replace(buffer=buffer)]
        self.restart()

    def _leave(self) -> None:
        if isinstance(self.environment, VecEnv):
            self._standing = _standing(self.environment)
            self.environment.left = self._standing, self._stepped.seen


def _standing(vector: VecEnv) -> Any:
    """Where the environments stand, if anybody can say."""
    return getattr(vector.unwrapped, "standing", None)
