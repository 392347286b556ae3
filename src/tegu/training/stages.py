"""Algorithms that train in stages: each stage is a phase of the run."""

from dataclasses import replace

from tegu.algorithms.base import Algorithm
from tegu.training.fitting import validate
from tegu.training.plan import Plan, spec_at


def has_stages(algorithm: Algorithm) -> bool:
    """Whether an algorithm says in which stages it trains."""
    return type(algorithm).stages is not Algorithm.stages


def in_stages(plan: Plan) -> list[Plan]:
    """The plan of each stage in which its algorithm trains, one after the other; the plan itself if it has none."""
    if not has_stages(plan.algorithm):
        return [plan]
    spec = spec_at(plan.source, plan.n_envs)
    validate(plan.algorithm, spec)
    stages = plan.algorithm.stages(spec, plan.steps)
    plans = [replace(plan, steps=stage.steps, stage=stage, hand_over=stage.hand_over) for stage in stages]
    return [replace(plans[0], hand_over=plan.hand_over), *plans[1:]] if plans else [plan]
