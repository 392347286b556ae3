"""One call of ``learn``: Tegu's trainer, and what happens each time it reports."""

from typing import Any

import jax

from tegu.core.errors import TeguError
from tegu.experience.base import Rollout
from tegu.sb3.callbacks import CallbackList, Locals
from tegu.sb3.training_state import TrainingState
from tegu.training.fitting import warn_of_no_learning
from tegu.training.plan import MOST_STEPS
from tegu.training.trainer import Progress, Trainer

LONGEST_INTERVAL = 20_000  #: steps, where no callback asks for less
MOST_RECORDED = 1_000  #: steps of which is kept what they brought, unless an iteration has more
WHOLE = {"time/fps", "time/time_elapsed", "time/total_timesteps", "time/iterations", "time/episodes"}  #: as integers


class Learning:
    """Train a model for some steps. Metrics are logged and callbacks called each time the trainer reports."""

    def __init__(
        self,
        model: Any,
        training: TrainingState,
        callback: CallbackList,
        steps: int,
        log_interval: int | None,
    ):
        if steps < 1 or training.steps + steps > MOST_STEPS:
            raise TeguError(f"total_timesteps must be from 1 to {MOST_STEPS - training.steps:,}, got {steps:,}")
        self.model, self.training, self.callback, self.log_interval = model, training, callback, log_interval
        self.began = self.told = training.steps  # ``told``: up to where callbacks know of steps
        self.locals = Locals(self=model, total_timesteps=steps, num_timesteps=training.steps)
        self.trainer = Trainer(
            training.loop,
            None,
            steps=training.steps + steps,
            start=training.steps,
            log_interval=1,
            checkpoint_every=0.0,
            facts={},
            callbacks=(self._between,),
        )
        self.total = self.trainer.total
        warn_of_no_learning(model.algorithm, model.n_envs, self.total)
        self.window = model.window
        self.ended = self.window.ended  # episodes before
        self.on_policy = isinstance(model.algorithm.experience, Rollout)
        self._logged = 0.0  # iterations or episodes when metrics were last dumped

    def run(self) -> None:
        self.callback.init_callback(self.model)
        self.callback.on_training_start(self.locals, {})
        self.training.record(bool(self.callback.callbacks))
        try:
            self.trainer.train(self.training.state)
        except BaseException:
            left = self.trainer.state
            used_up = any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(left))
            if left is not None and left is not self.training.state and not used_up:
                self.training.salvage(self.trainer.steps, left)
            raise
        finally:
            self.training.record(False)
            self.callback.on_training_end()
            if not self.model._custom_logger:
                self.model.logger.close()

    @property
    def _iterations(self) -> int:
        return (self.training.steps - self.began) // self.training.loop.steps_per_iteration

    def _between(self, progress: Progress) -> bool:
        """What the trainer calls each time it reports, and before the first step."""
        if progress.state == "training":
            self.training.advance(self.trainer.steps, self.trainer.state)
            self._log(progress)
            go_on = self._tell()
            self.callback.on_rollout_end()
            self._refuse_set_env()
            if not go_on:
                return False
        if progress.state in ("compiling", "training"):
            self.trainer.log_interval = self._interval() * self.training.loop.steps_per_iteration
            self.callback.on_rollout_start()
            self._refuse_set_env()
            self.training.restart_if_touched()
            self.trainer.state = self.training.state  # callbacks may have changed it
        return True

    def _tell(self) -> bool:
        """Call the callbacks for each step since the last time, until one wants to stop; whether none does."""
        if not self.callback.callbacks:
            return True
        n_envs, recorded = self.model.n_envs, self.training.recorded()
        self.locals["episodes"] = self.window.ended - self.ended
        self.locals.pop("new_obs", None)
        for i in range((self.training.steps - self.told) // n_envs):
            self.told += n_envs
            self.locals |= {"num_timesteps": self.told, **(recorded[i] if recorded else {})}
            if self.told == self.training.steps:  # all that is known of a step in JAX, and of the last one only
                self.locals.setdefault("new_obs", self.training.seen)
            if not self.callback.on_step():
                self.locals.setdefault("new_obs", self.training.seen)  # where the training ends
                return False
        return True

    def _refuse_set_env(self) -> None:
        if self.model._training is not self.training:
            raise TeguError("a callback called set_env: that has no effect within learn, call it between two of them")

    def _interval(self) -> int:
        """Iterations to the next multiple of a frequency, or 1 % of the training where that is less."""
        recorded = MOST_RECORDED if self.callback.callbacks else LONGEST_INTERVAL
        most = min((self.total - self.began) // 100, LONGEST_INTERVAL, recorded)
        ahead = [every - self.training.steps % every for every in self._frequencies() if every > 0]
        size = self.training.loop.steps_per_iteration
        return max(min([most // size, *(-(-steps // size) for steps in ahead)]), 1)

    def _frequencies(self) -> list[int]:
        """In steps: those of the callbacks, and that of logging where it counts rollouts and is seen."""
        seen = self.model.verbose or self.model.tensorboard_log
        size = self.training.loop.steps_per_iteration
        rollouts = [self.log_interval * size] if self.on_policy and self.log_interval else []
        return [*self.callback.frequencies, *(rollouts if seen else [])]

    def _log(self, progress: Progress) -> None:
        """Record the latest metrics, and dump them if it is time."""
        logger = self.model.logger
        metrics = self.window.metrics(progress.metrics[0], self.training.successes())
        metrics["time/total_timesteps"] = self.training.steps
        metrics["time/iterations" if self.on_policy else "time/episodes"] = self._done
        for key, value in metrics.items():
            logger.record(key, int(value) if key in WHOLE else value)
        if self.log_interval is not None and self._done - self._logged >= self.log_interval:
            self._logged = self._done
            logger.dump(self.training.steps)

    @property
    def _done(self) -> float:
        """What ``log_interval`` counts: rollouts on-policy, episodes off-policy."""
        return self._iterations if self.on_policy else self.window.ended - self.ended
