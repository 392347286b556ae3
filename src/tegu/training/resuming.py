"""What resuming changes in the plan of a run."""

import warnings
from dataclasses import replace

from tegu.core.errors import TeguError
from tegu.runs import Run, checkpoint, schema
from tegu.training.fitting import warn_of_ended_rates
from tegu.training.learning import Iteration
from tegu.training.loop import whole_iterations
from tegu.training.plan import Plan


def check_state(saved: checkpoint.Checkpoint) -> None:
    """Raises ``TeguError`` if a field of what a checkpoint says of its run is wrong, or missing."""
    try:
        schema.checked(saved.state, schema.AGENT_OPTIONAL, required=schema.RESUMABLE)
    except ValueError as error:
        raise TeguError(f"{saved.path} cannot be resumed: {error}") from error


def go_on(plans: list[Plan], run: Run, saved: checkpoint.Checkpoint, steps: int | None, *, stretch: bool) -> None:
    """Change the plan of the phase in which a run was ``saved``: how far it goes now, and where its schedules end."""
    checkpoint.check_finite(saved)
    state = saved.state
    phase, before = state["phase"], steps_before(saved)
    if not 0 <= before <= saved.step or (before > 0) != (phase > 0):
        raise TeguError(f"{saved.path} cannot be resumed: its numbers of steps do not fit together")
    if phase >= len(plans):
        raise TeguError(f"{saved.path} is of phase {phase}, there are {len(plans)}")
    if phase and steps is not None:
        raise TeguError(f"steps can be given in the first phase of a run, {run.name} is in phase {phase + 1}")
    plan = plans[phase]
    total = state["steps"] if steps is None else plan.steps
    end = before + whole_iterations(total, Iteration(plan.learns, plan.n_envs).steps)
    if end < saved.step:
        raise TeguError(f"steps must be at least those done, {saved.step:,}, got {total:,}: it is the new total")
    if end == saved.step and phase == len(plans) - 1:
        more = "" if phase else ", steps (--steps) asks for more"
        warnings.warn(f"{run.name} is finished: all {end:,} steps are done{more}", stacklevel=4)
    schedule_steps = total if stretch else state["schedule_steps"]
    if total > schedule_steps and end > saved.step and plan.stage is None:
        warn_of_ended_rates(plan.algorithm, before, schedule_steps)
    plans[phase] = replace(plan, steps=total, schedule_steps=schedule_steps)


def steps_before(saved: checkpoint.Checkpoint) -> int:
    """The steps of all phases before the one in which a run was ``saved``."""
    return saved.state["total"] - saved.state["schedule_steps"]
