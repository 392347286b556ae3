"""A loop and where it stands, so that a model can be looked at, changed and trained on between calls of ``learn``."""

from typing import Any

from tegu.algorithms.base import Algorithm, Learner
from tegu.core.spec import EnvironmentSpec
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.base import Environment
from tegu.sb3.environments import DummyVecEnv
from tegu.training.fused import FusedLoop
from tegu.training.plan import host_loop
from tegu.training.split import SplitLoop


class TrainingState:
    """One seed's loop, its state, and the steps behind it."""

    def __init__(
        self,
        algorithm: Algorithm,
        environment: Environment | DummyVecEnv,
        spec: EnvironmentSpec,
        seed: int,
        learners: Learner | None = None,
        steps: int = 0,
    ):
        """``learners`` ``[1, ...]`` were trained for ``steps``; without them training begins from nothing."""
        self.loop: FusedLoop | SplitLoop = (
            host_loop(algorithm, spec, {seed: environment.environments})
            if isinstance(environment, DummyVecEnv)
            else FusedLoop(algorithm, environment, spec, (seed,))
        )
        self.environment = environment
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
        if isinstance(self.environment, DummyVecEnv) and self.environment.standing != self._standing:
            self.restart()

    def _leave(self) -> None:
        if isinstance(self.environment, DummyVecEnv):
            self._standing = self.environment.standing
