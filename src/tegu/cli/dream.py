"""What a learned model dreams of an episode, beside what was observed."""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console

from tegu.agents.open_loop import dream
from tegu.analysis import animation, frame_strip, video
from tegu.analysis.dream import dream_frames
from tegu.cli.common import Outcome, working
from tegu.cli.loading import episode_name, load, place

_FPS = 10.0  # frames per second: slow enough to compare


def run(args: argparse.Namespace, out: Console, moving: Path | None, format: str) -> Outcome:
    """``tegu watch RUN --dream``: into ``moving``, a file, or one of a ``format`` in ``--out`` or the run."""
    with working(args, "playing an episode, and dreaming it"):
        agent = load(args)
        given = args.seed_index, not args.stochastic, args.max_steps
        found = dream(agent, args.seen, args.horizon, *given)
        name = episode_name(agent, args)
        moving = moving or (args.out or place(agent, args) / "replays") / f"{name}-dream-{args.seen}.{format}"
        strip = moving.with_suffix(".png")
        observed, reconstructed, dreamt = images = tuple(np.asarray(part, np.float64) for part in found)
        frames = dream_frames(*images, side_by_side=True)
        (video if format == "mp4" else animation)(frames, moving, args.fps or _FPS)
        frame_strip(dream_frames(*images, side_by_side=False), strip, columns=12)
    real = observed[args.seen :]
    errors = {
        "reconstructed": _error(reconstructed, observed),
        "dreamt": _error(dreamt, real),
        "no change": _error(observed[args.seen - 1 : args.seen], real),
    }
    out.print(f"{args.seen:,} observations seen, {len(dreamt):,} dreamt; in pictures: observed, reconstructed, dreamt")
    out.print(
        "mean squared errors of pixels, as networks see them: " + ", ".join(f"{k} {v:.3g}" for k, v in errors.items())
    )
    out.print(f"{moving}\n{strip}", soft_wrap=True)
    return Outcome(
        {
            "run": str(place(agent, args)),
            "environment": agent.spec.id,
            "seed": agent.seeds[args.seed_index],
            "seen": args.seen,
            "dreamt": len(dreamt),
            "errors": errors,
            "animation": str(moving),
            "frame_strip": str(strip),
        }
    )


def _error(drawn: np.ndarray, true: np.ndarray) -> float:
    return float(((drawn - true) ** 2).mean())
