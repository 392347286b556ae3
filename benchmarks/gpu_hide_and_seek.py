"""``python -m benchmarks.gpu_hide_and_seek``: hide-and-seek on a GPU, in pieces of less than ten minutes.

World and learning are one compiled program. A call trains for ``--limit`` seconds and then stops; the next one goes on
where it stopped, until all trainings are done. After each piece the figures are written: steps/s with learning are what
is looked for, as returns of two sides that learn say little. Without a GPU everything runs on the CPU, for which
``--toy`` is the size.
"""

from benchmarks.gpu import Training, parser, run

_WORLDS = {"tiny": ("hide-and-seek-tiny", 60), "quadrant": ("hide-and-seek-quadrant", 80)}  # whole episodes as rollouts
_STEPS = 200_000_000
_OPTIONS = "--n-envs 4096 --batch-size 61440 --eval-every 20000000 --eval-episodes 64"
_TOY = (
    "--n-envs 2 --n-steps 16 --batch-size 32 --n-epochs 1 --net-arch 8 --eval-every 128 --eval-episodes 1 "
    "--log-interval 64"
)


def trainings(_: int, toy: bool) -> list[Training]:
    """A policy for each agent, in each world, with one seed as there is no target; as a toy in the tiny one alone."""
    worlds = dict(list(_WORLDS.items())[: 1 if toy else None])
    return [
        Training(world, environment, "ippo", 0, 256 if toy else _STEPS, tuple(words.split()), None)
        for world, (environment, length) in worlds.items()
        for words in [_TOY if toy else f"{_OPTIONS} --n-steps {length}"]
    ]


def main() -> int:
    given = parser("gpu_hide_and_seek", "Hide-and-seek on a GPU.", "quadrant-ippo").parse_args()
    return run("gpu-hide-and-seek", given, trainings(given.seeds, given.toy))


if __name__ == "__main__":
    raise SystemExit(main())
