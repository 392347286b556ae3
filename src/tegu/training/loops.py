"""The loop that a plan is trained in."""

from collections.abc import Iterable, Mapping

from tegu.acting.host_collector import HostCollector
from tegu.acting.jax_collector import JaxCollector
from tegu.acting.multicore_collector import MulticoreCollector
from tegu.acting.policy import Policy
from tegu.algorithms.base import Algorithm
from tegu.check.jax_environments import require_frames
from tegu.core.seeds import first_entropy
from tegu.core.spec import EnvironmentSpec
from tegu.environments.adapters.base import HostEnvironments
from tegu.environments.adapters.contract import check_apart, check_apart_from
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.training.compiled import Programs
from tegu.training.fitting import validate, warn_of_no_learning
from tegu.training.fused import FusedLoop
from tegu.training.plan import Plan, spec_of
from tegu.training.split import SplitLoop


def make_loop(plan: Plan, phase: int = 0) -> FusedLoop | SplitLoop:
    """The loop for a plan, which is a ``phase`` of its run: fused where the environment is in JAX, else split; also
    split where one seed's environments are planned for, so that all cores can take part in that."""
    algorithm, native, seeds = plan.learns, plan.source.native, plan.seeds
    if native is None:
        entropy = {seed: [first_entropy(seed, i, phase) for i in range(plan.n_envs)] for seed in seeds}
        environments = {seed: plan.source.environments(entropy[seed]) for seed in seeds}
        _check_apart(plan, environments.values())
        spec = spec_of(plan.source.id, environments[seeds[0]], plan.n_envs)
        validate(algorithm, spec)
        warn_of_no_learning(algorithm, plan.n_envs, plan.steps)
        return host_loop(algorithm, spec, environments, phase)
    spec = spec_of(plan.source.id, native, plan.n_envs)
    validate(algorithm, spec)
    require_frames(native)
    warn_of_no_learning(algorithm, plan.n_envs, plan.steps)
    world = native if plan.stage is None or plan.stage.environment is None else plan.stage.environment()
    if len(seeds) == 1 and MulticoreCollector.pays(JaxCollector(algorithm, world, plan.n_envs)):
        programs = Programs(algorithm, spec)
        collector = MulticoreCollector(algorithm, programs.shapes, world, plan.n_envs)
        return SplitLoop(programs, {seeds[0]: collector}, phase)
    return FusedLoop(algorithm, world, spec, seeds, phase)


def host_loop(
    algorithm: Algorithm, spec: EnvironmentSpec, environments: Mapping[int, HostEnvironments], phase: int = 0
) -> SplitLoop:
    """The loop for ``environments`` of the host, by seed; ``phase``: as for ``SplitLoop``."""
    programs = Programs(algorithm, spec)
    policy = Policy(algorithm, programs.shapes)
    return SplitLoop(programs, {seed: HostCollector(policy, each) for seed, each in environments.items()}, phase)


def _check_apart(plan: Plan, environments: Iterable[HostEnvironments]) -> None:
    """Raise ``TeguError`` where one that was made by a person's function would be stepped by two who train in it."""
    made = [one for each in environments if isinstance(each, GymnasiumEnvironments) for one in each.environments]
    check_apart(made)
    if made and plan.eval_every and plan.source.make is not None:
        check_apart_from(made, plan.source.make)
