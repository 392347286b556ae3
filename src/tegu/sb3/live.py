"""A training loop that remembers where it stands, so that a model can be looked at, changed and trained on."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tegu.algorithms.base import Algorithm, Learner
from tegu.core.spec import EnvironmentSpec
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.base import Environment
from tegu.sb3.environments import DummyVecEnv
from tegu.training.fused import FusedLoop, begin
from tegu.training.host import HostLoop, HostState
from tegu.training.tally import Tally
from tegu.training.trainer import Blobs


class Live:
    """The loop of one seed and its state, as one more ``Loop`` for the trainer to drive.

    ``start`` gives the state where it stands, and ``chunk`` goes on from there whatever state it is handed: callbacks
    may have changed it meanwhile.
    """

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
        self.environment, self.spec = environment, spec
        self.seeds: tuple[int, ...] = (seed,)
        self.loop: FusedLoop | HostLoop = (
            HostLoop(algorithm, environment.environments, spec, self.seeds)
            if isinstance(environment, DummyVecEnv)
            else FusedLoop(algorithm, environment, spec, self.seeds)
        )
        self.steps_per_iteration = self.loop.steps_per_iteration
        self.seconds = self.loop.seconds
        self.steps = steps  #: environment steps so far
        self.revision = 0  #: changes with what was learned
        self._before = steps  # steps when this training began
        self._given = learners
        self._state: Any = None

    @property
    def state(self) -> Any:
        """Where the loop stands; it begins when this is first asked for."""
        if self._state is None:
            self._state = self.loop.start()
            if self._given is not None:
                self.put(adopted(self.loop.learners(self._state), self._given), self.steps)
                self._given = None
        return self._state

    def start(self) -> Any:
        self._before = self.steps
        return self.state

    def compile(self, state: Any) -> None:
        self.loop.compile(state)

    def chunk(self, state: Any, iterations: int, total: int) -> tuple[Any, Tally]:
        if isinstance(self.environment, DummyVecEnv) and self.environment.touched:
            self.begin_anew()
        self._state, tally = self.loop.chunk(self.state, iterations, self._before + total)
        self.steps += iterations * self.steps_per_iteration
        self.revision += 1
        return self._state, tally

    def learners(self, state: Any = None) -> Learner:
        """What was learned, ``[1, ...]``, without beginning what has not begun."""
        if self._state is None and self._given is not None:
            return self._given
        return self.loop.learners(self.state)

    def put(self, learners: Learner, steps: int) -> None:
        """Go on with ``learners``, which look like the loop's own, as if after ``steps``."""
        learners = moved(learners, steps)
        as_held = jax.tree.leaves(learners) if isinstance(self.state, HostState) else learners
        self._state = self.state._replace(learner=as_held)
        self.steps = steps
        self.revision += 1
        if isinstance(self.loop, HostLoop):
            self.loop.steps = steps

    def reseed(self, seed: int) -> None:
        """Draw everything from now on from ``seed``."""
        self._state = self.state._replace(key=jax.random.key(seed)[None])

    def restart(self) -> None:
        """Count from zero again and begin new episodes; what was learned and experienced stays."""
        self.put(self.loop.learners(self.state), 0)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin new episodes in all environments."""
        state = self.state
        if isinstance(self.environment, DummyVecEnv):
            assert isinstance(self.loop, HostLoop)
            observation = self.environment.begin_anew(np.ones(self.spec.n_envs, bool))
            self.loop.observation = jax.tree.map(lambda leaf: leaf[None], observation)
            self.loop.forget(np.ones(self.loop.shape, bool))
            self.environment.touched = False
        else:
            key, world_key = jax.random.split(state.key[0])
            memory = jax.tree.map(lambda leaf: leaf[0], state.world.memory)
            world = begin(self.environment, world_key, self.spec.n_envs, memory)
            self._state = state._replace(world=jax.tree.map(lambda leaf: leaf[None], world), key=key[None])

    def dump(self, state: Any) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
        return self.loop.dump(state)

    def restore(self, blobs: Blobs, data: Mapping[str, Any]) -> Any:
        self._state = self.loop.restore(blobs, data)
        return self._state

    def close(self) -> None:
        self.loop.close()


def moved(learners: Learner, steps: int) -> Learner:
    """``learners`` with their clock at ``steps``; what they remember of the clock moves along."""
    clock = learners.clock._replace(steps=jnp.full_like(learners.clock.steps, steps))
    if "synced" in learners._fields:
        learners = learners._replace(synced=learners.synced + clock.steps - learners.clock.steps)
    return learners._replace(clock=clock)


def adopted(template: Learner, learners: Learner) -> Learner:
    """Copies of ``learners`` as ``template`` holds them. What has one number per environment begins anew if their
    number is another."""
    own, given = to_arrays(template), to_arrays(learners)
    fitting = {name: given[name] if given[name].shape == own[name].shape else own[name] for name in given}
    return from_arrays(template, fitting, "what was loaded")
