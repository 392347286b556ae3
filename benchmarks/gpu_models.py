"""``python -m benchmarks.gpu_models``: Dreamer, TD-MPC2 and MBPO on robots in JAX, in pieces of less than ten minutes.

Environments and learning are one compiled program. A call trains for ``--limit`` seconds and then stops; the next one
goes on where it stopped, until all trainings are done. After each piece the figures are written. A training ends when
an evaluation with the deterministic policy has reached the task's target. Without a GPU everything runs on the CPU,
for which ``--toy`` is the size.
"""

from benchmarks.gpu import Training, every, parser, run

# DreamerV3's mean over 5 seeds after 100 thousand steps of dm_control's task, from vectors, with the sizes below (its
# scores, as published-results say), where it takes each action twice; here each is taken once
_TASKS = {"CartpoleSwingup": ("playground/CartpoleSwingup", 516.0)}
_TOY_TASKS = {"Pendulum": ("Pendulum-v1", 1e6)}  # which nothing reaches

_OPTIONS = {
    # the sizes of 1 million parameters, and 1,024 replayed steps for each step of the environment (configs.yaml of the
    # authors: dmc_proprio, size1m)
    "dreamer": "--n-envs 16 --train-freq 16 --gradient-steps 16 --batch-size 16 --sequence-length 64 "
    "--deterministic-size 512 --n-categoricals 32 --n-classes 4 --units 64 --n-layers 3 --n-bins 255 "
    "--learning-rate 4e-5 --learning-starts 1024",
    # the paper's model of 5 million parameters, an update for each step, and its gamma for episodes of 1,000 steps
    "td-mpc2": "--n-envs 16 --train-freq 16 --gradient-steps 16 --batch-size 256 --latent-size 512 --encoder-arch 256 "
    "--net-arch 512 512 --n-candidates 512 --n-policy-candidates 24 --n-elite 64 --n-iterations 6 "
    "--critic-dropout 0.01 --gamma 0.995",
    "mbpo": "--n-envs 1 --net-arch 256 256 --model-arch 200 200 200 200",
}
_STEPS = dict.fromkeys(_OPTIONS, 100_000)
_ALWAYS = "--eval-every 10000 --eval-episodes 10"
_TOY = {
    "dreamer": "--n-envs 4 --train-freq 64 --batch-size 4 --sequence-length 4 --deterministic-size 8 "
    "--n-categoricals 2 --n-classes 3 --units 8 --n-layers 1 --n-bins 5 --learning-starts 32",
    "td-mpc2": "--n-envs 4 --learning-starts 32 --train-freq 64 --batch-size 4 --latent-size 4 --simnorm-size 2 "
    "--encoder-arch 8 --net-arch 8 --n-critics 2 --n-bins 5 --n-candidates 8 --n-policy-candidates 2 --n-elite 2 "
    "--n-iterations 1",
    "mbpo": "--n-envs 1 --learning-starts 32 --train-freq 32 --gradient-steps 1 --net-arch 8 --model-arch 8 "
    "--batch-size 8",
}
_TOY_ALWAYS = "--eval-every 128 --eval-episodes 1 --log-interval 64"


def trainings(seeds: int, toy: bool) -> list[Training]:
    """Every task with every algorithm and several seeds."""
    if toy:
        return every(_TOY_TASKS, _TOY, dict.fromkeys(_TOY, 256), _TOY_ALWAYS, seeds)
    return every(_TASKS, _OPTIONS, _STEPS, _ALWAYS, seeds)


def main() -> int:
    given = parser("gpu_models", "Agents that learn models, on a GPU.", "CartpoleSwingup-dreamer").parse_args()
    return run("gpu-models", given, trainings(given.seeds, given.toy))


if __name__ == "__main__":
    raise SystemExit(main())
