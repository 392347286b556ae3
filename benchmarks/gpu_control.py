"""``python -m benchmarks.gpu_control``: PPO and SAC on robots in JAX, of MuJoCo Playground and of Brax, in pieces of
less than ten minutes.

Environments and learning are one compiled program. A call trains for ``--limit`` seconds and then stops; the next one
goes on where it stopped, until all trainings are done. After each piece the figures are written. A training ends when
an evaluation with the deterministic policy has reached the task's target. Without a GPU everything runs on the CPU,
for which ``--toy`` is the size: Brax's body without physics.
"""

from benchmarks.gpu import Training, every, parser, run

# The tasks with returns that we call learned. Those of Playground pay at most 1 for each of 1000 steps.
_TASKS = {
    "CartpoleBalance": ("playground/CartpoleBalance", 950.0),
    "CheetahRun": ("playground/CheetahRun", 600.0),
    "WalkerWalk": ("playground/WalkerWalk", 900.0),
    "ant": ("brax/ant", 4000.0),
}
_TOY_TASKS = {"fast": ("brax/fast", 1e6)}  # which nothing reaches

# Numbers of environments, batches and rates as Playground has them for its own tasks (brax_ppo_config and
# brax_sac_config of mujoco_playground.config.dm_control_suite_params, release 0.2.0)
_OPTIONS = {
    "ppo": "--n-envs 2048 --n-steps 480 --batch-size 30720 --n-epochs 16 --gamma 0.995 --learning-rate 1e-3 "
    "--ent-coef 0.01 --normalize-observation --normalize-reward",
    "sac": "--n-envs 128 --train-freq 128 --gradient-steps 8 --batch-size 512 --learning-rate 1e-3 "
    "--buffer-size 1000000 --learning-starts 8192",
}
_STEPS = {"ppo": 60_000_000, "sac": 5_000_000}
_EVERY = {"ppo": "--eval-every 2000000 --eval-episodes 10", "sac": "--eval-every 250000 --eval-episodes 10"}
_TOY = {
    "ppo": "--n-envs 4 --n-steps 16 --batch-size 32 --n-epochs 1",
    "sac": "--n-envs 4 --train-freq 32 --gradient-steps 1 --buffer-size 300 --learning-starts 64 --batch-size 8",
}
_TOY_ALWAYS = "--eval-every 128 --eval-episodes 1 --log-interval 64 --net-arch 8 --env-options episode_length=20"


def trainings(seeds: int, toy: bool) -> list[Training]:
    """Every task with every algorithm and several seeds."""
    if toy:
        return every(_TOY_TASKS, _TOY, dict.fromkeys(_TOY, 256), _TOY_ALWAYS, seeds)
    return every(_TASKS, _OPTIONS, _STEPS, _EVERY, seeds)


def main() -> int:
    given = parser("gpu_control", "Robots in JAX on a GPU.", "CheetahRun-ppo").parse_args()
    return run("gpu-control", given, trainings(given.seeds, given.toy))


if __name__ == "__main__":
    raise SystemExit(main())
