"""``python -m benchmarks.gpu_atari``: DQN, PQN and PPO on Atari games, in pieces of less than ten minutes.

A call trains for ``--limit`` seconds and then stops; the next one goes on where it stopped, until all trainings are
done. After each piece the figures are written. A training of Pong ends when an evaluation with the deterministic policy
has reached 20 points. Without a GPU everything runs on the CPU, for which ``--toy`` is the size.
"""

from benchmarks.gpu import Training, parser, run

POINTS = 20.0  #: of Pong, that a mean over evaluation episodes must reach

# Many games side by side, so that 16 cores are busy; the rest is the preset's. PQN: Gallici et al. (2025).
_OPTIONS = {
    "dqn": "--n-envs 32 --train-freq 128 --gradient-steps 32 --buffer-size 1000000",
    "pqn": "--n-envs 128 --n-steps 32 --batch-size 128",
    "ppo": "--n-envs 64 --n-steps 128 --batch-size 1024",
}
_ALWAYS = "--eval-every 100000 --eval-episodes 10 --env-options protocol=nature"  # no sticky actions, as others had it
_TOY = {
    "dqn": "--n-envs 2 --train-freq 32 --gradient-steps 1 --buffer-size 300 --learning-starts 64 --batch-size 8",
    "pqn": "--n-envs 2 --n-steps 16 --batch-size 16 --n-epochs 1",
    "ppo": "--n-envs 2 --n-steps 16 --batch-size 16 --n-epochs 1",
}
_TOY_ALWAYS = (
    "--eval-every 128 --eval-episodes 1 --log-interval 64 --net-arch 8 "
    "--env-options protocol=nature max_num_frames_per_episode=200"
)


def trainings(seeds: int, toy: bool) -> list[Training]:
    """Pong with several seeds, and Breakout, which has no points to reach, with one; as a toy Pong alone."""
    options, always = (_TOY, _TOY_ALWAYS) if toy else (_OPTIONS, _ALWAYS)
    games = [("Pong", seeds, 10_000_000, POINTS), ("Breakout", 1, 1_000_000, None)]
    return [
        Training(
            game, f"ALE/{game}-v5", algorithm, seed, 256 if toy else steps, (*given.split(), *always.split()), target
        )
        for game, n_seeds, steps, target in games[: 1 if toy else None]
        for algorithm, given in options.items()
        for seed in range(n_seeds)
    ]


def main() -> int:
    given = parser("gpu_atari", "Atari games on a GPU.", "Pong-ppo").parse_args()
    return run("gpu-atari", given, trainings(given.seeds, given.toy))


if __name__ == "__main__":
    raise SystemExit(main())
