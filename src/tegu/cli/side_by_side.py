"""Episodes of several agents next to each other, such as snapshots of one training."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.agents.recording import record
from tegu.analysis import animation, frame_strip, video
from tegu.analysis.animation import side_by_side
from tegu.cli.common import Outcome, working
from tegu.cli.loading import episode_name, loaded, place


def run(args: argparse.Namespace, selectors: Sequence[str], out: Console, moving: Path | None, format: str) -> Outcome:
    """``tegu watch RUN RUN...``: into ``moving``, a file, or one of a ``format`` in ``--out`` or the first run."""
    with working(args, f"playing {len(selectors)} episodes"):
        agents = [loaded(selector, args) for selector in selectors]
        episodes = [record(agent, args.seed_index, not args.stochastic, args.max_steps) for agent in agents]
    name = f"{episode_name(agents[0], args)}-and-{len(agents) - 1}-more"
    moving = moving or (args.out or place(agents[0], args) / "replays") / f"{name}.{format}"
    strip = moving.with_suffix(".png")
    with working(args, "drawing"):
        frames = [episode.frames() for episode in episodes]
        together, fps = side_by_side(frames), args.fps or episodes[0].fps
        if format == "mp4":
            video(together, moving, fps)
        else:
            animation(together, moving, fps, columns=len(agents))
        frame_strip(side_by_side(frames, vertically=True), strip)
    for selector, agent, episode in zip(selectors, agents, episodes, strict=True):
        out.print(f"{selector}, step {agent.steps:,}: return {episode.total:g} in {len(episode.actions):,} steps")
    out.print(f"{moving}\n{strip}", soft_wrap=True)
    return Outcome(
        {
            "episodes": [
                {
                    "run": selector,
                    "environment": agent.spec.id,
                    "trained": agent.steps,
                    "seed": agent.seeds[args.seed_index],
                    "return": episode.total,
                    "steps": len(episode.actions),
                }
                for selector, agent, episode in zip(selectors, agents, episodes, strict=True)
            ],
            "animation": str(moving),
            "frame_strip": str(strip),
        }
    )
