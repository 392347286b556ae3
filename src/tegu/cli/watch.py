"""``tegu watch``: see what an agent does."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tegu.cli.common import (
    Outcome,
    Parser,
    UsageError,
    add_code,
    add_runs,
    console,
    count,
    environment,
    number,
    working,
)

_DESCRIPTION = """\
Record one episode into replays/ of the run: an animation (an MP4 video, a GIF or a WebP), and a frame strip, one PNG
with a few frames of the episode side by side. --terminal shows it in the terminal instead. RUN is a run's name, the
beginning of one (the newest is meant), a folder, or last; RUN@best is the best agent of --eval-every, RUN@step=1M the
first that --snapshot-every kept after so many steps, RUN@step=all all of these; or a folder that Agent.save wrote.
Several RUNs are shown next to each other.
--model: not the episode is shown, but what a learned model predicts of it, beside what was observed. --dream: the
images of the episode, what a learned model reconstructs of them, and what it dreams once it sees them no more.
Instead of a RUN, game.sgf, a record of a game of Go: a table of what the player of --run thinks of each move, which of
them were mistakes, and what it would have played; with --out pictures of the game, too."""

_FORMATS = ("mp4", "gif", "webp")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("watch", "[RUN...] [flags]", _DESCRIPTION)
    parser.add_argument(
        "selectors",
        metavar="RUN",
        nargs="*",
        default=["last"],
        help="a run's name or folder, or several (last)",
    )
    add_runs(parser)
    parser.add_argument(
        "--seed-index", type=count, metavar="I", default=0, help="index of the seed to use, if the run has several (0)"
    )
    parser.add_argument(
        "--stochastic", action="store_true", help="use the stochastic policy, not the deterministic (greedy) one"
    )
    parser.add_argument(
        "--max-steps", type=count, metavar="N", default=1000, help="maximum length of the episode (1000)"
    )
    parser.add_argument(
        "--terminal", action="store_true", help="show the episode in the terminal (Tegu's own environments)"
    )
    parser.add_argument(
        "--model", action="store_true", help="how far ahead a learned model (of pets, mbpo, ...) predicts the episode"
    )
    parser.add_argument(
        "--dream", action="store_true", help="what a model of images (of world-models, dreamer) dreams of the episode"
    )
    parser.add_argument(
        "--seen", type=count, metavar="N", help="with --dream: observations before the dream begins (10)"
    )
    parser.add_argument(
        "--horizon",
        type=count,
        metavar="H",
        help="with --model: steps that are predicted with nothing seen (20); with --dream: steps that are dreamt (all)",
    )
    parser.add_argument("--fps", type=number, metavar="X", help="frames per second (the environment's; --dream: 10)")
    parser.add_argument("--format", choices=_FORMATS, help="format of the animation (mp4 with tegu[video], else gif)")
    parser.add_argument(
        "--out", metavar="PLACE", type=Path, help="folder to write to (replays/ of the run), or name of the animation"
    )
    parser.add_argument("--env", type=environment, metavar="ENV", help="the environment, if it is your own code")
    record = parser.add_argument_group("a game record, game.sgf")
    record.add_argument(
        "--run", metavar="PLAYER", help="who looks at the moves: a run, RUN@64 to search so long, or mcts:1000 (last)"
    )
    record.add_argument(
        "--mistake", type=number, metavar="X", help="the win rate that a mistake gives away, at least (0.1)"
    )
    record.add_argument("--seed", type=count, metavar="N", help="random seed of the player (0)")
    add_code(parser)
    args = parser.parse(words)
    args.selector = args.selectors[0]
    if _is_record(args.selector):
        args.run, args.seed = args.run or "last", args.seed or 0
        args.mistake = 0.1 if args.mistake is None else args.mistake
        if not 0 < args.mistake <= 1:
            raise UsageError(f"--mistake must be above 0 and at most 1, got {args.mistake:g}")
    elif (args.run, args.mistake, args.seed) != (None, None, None):
        raise UsageError(f"--run, --mistake and --seed are for a game record: expected game.sgf, got {args.selector}")
    if args.horizon is not None and not ((args.model or args.dream) and args.horizon):
        raise UsageError("--horizon is for --model or --dream, and must be at least 1")
    if args.seen is not None and not (args.dream and args.seen):
        raise UsageError("--seen is for --dream, and must be at least 1")
    if args.dream and (args.model or args.terminal or _is_record(args.selector)):
        raise UsageError("--dream draws pictures of a RUN: leave --model and --terminal out")
    args.seen = args.seen or 10
    if args.model:
        args.horizon = args.horizon or 20
    if args.model and (args.terminal or args.format or args.fps or _is_record(args.selector)):
        raise UsageError("--model draws one picture of a RUN: leave --terminal, --format and --fps out")
    if args.model:
        if args.out is not None and args.out.suffix.lower() not in ("", ".png", ".svg", ".pdf"):
            raise UsageError(
                f"--out {args.out}: with --model expected a folder, or a name that ends in .png, .svg or .pdf"
            )
        return args
    if args.max_steps < 1:
        raise UsageError(f"--max-steps must be at least 1, got {args.max_steps}")
    if args.fps is not None and args.fps <= 0:
        raise UsageError(f"--fps must be above 0, got {args.fps:g}")
    if (named := _format_of(args.out)) and args.format not in (None, named):
        raise UsageError(f"--out {args.out} is no {args.format}: leave --format out, or name a folder")
    return args


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.agents.recording import Episode, record
    from tegu.agents.selection import expanded
    from tegu.analysis import animation, frame_strip, video
    from tegu.analysis.video import can_write_videos, require_video
    from tegu.cli.loading import episode_name, load, place

    selectors = expanded(args.selectors, args.runs)
    args.selector = selectors[0]
    if args.model and len(selectors) == 1:
        from tegu.cli.open_loop import run as predict

        return predict(args, out)
    format = _format_of(args.out) or args.format or ("mp4" if can_write_videos() else "gif")
    if format == "mp4" and not args.terminal:
        require_video()
    if len(selectors) > 1:
        from tegu.cli.side_by_side import run as beside

        if args.model or args.dream or args.terminal or any(map(_is_record, selectors)):
            raise UsageError("--model, --dream, --terminal and records show one RUN, not several")
        return beside(args, selectors, out, args.out if _format_of(args.out) else None, format)
    if args.dream:
        from tegu.cli.dream import run as dream

        return dream(args, out, args.out if _format_of(args.out) else None, format)
    if _is_record(args.selector):
        from tegu.cli.game_review import run as review

        named = _format_of(args.out) or args.out is None
        return review(args, args.out if named else args.out / f"{Path(args.selector).stem}.{format}", out)
    with working(args, "playing an episode"):
        agent = load(args)
        if args.terminal and agent.source is not None and agent.source.native is None:
            raise UsageError(f"--terminal is for Tegu's own environments, in JAX: {agent.spec.id} is not one here")
        episode: Episode = record(agent, args.seed_index, not args.stochastic, args.max_steps)
    fps = args.fps or episode.fps
    name = episode_name(agent, args)
    folder = args.out or place(agent, args) / "replays"
    moving = args.out if _format_of(args.out) else folder / f"{name}.{format}"
    strip = moving.with_suffix(".png")
    if args.terminal:
        _play([f"{episode.text(state)}\n" for state in episode.states], fps, out)
    else:
        with working(args, f"drawing {len(episode.states)} frames"):
            frames = episode.frames()
            (video if format == "mp4" else animation)(frames, moving, fps)
            frame_strip(frames, strip, returns=episode.returns)
    out.print(f"return {episode.total:g} in {len(episode.actions):,} steps, seed {agent.seeds[args.seed_index]}")
    if not args.terminal:
        out.print(f"{moving}\n{strip}", soft_wrap=True)
    return Outcome(
        {
            "run": str(place(agent, args)),
            "environment": agent.spec.id,
            "seed": agent.seeds[args.seed_index],
            "return": episode.total,
            "steps": len(episode.actions),
            "animation": None if args.terminal else str(moving),
            "frame_strip": None if args.terminal else str(strip),
        }
    )


def _is_record(selector: str) -> bool:
    """Whether that is a record of a game, and no run."""
    return selector.lower().endswith(".sgf")


def _format_of(place: Path | None) -> str | None:
    """The format that ``--out`` says if it names a file."""
    suffix = place.suffix[1:].lower() if place is not None and not place.is_dir() else ""
    if suffix.isalpha() and suffix not in _FORMATS:
        raise UsageError(f"--out {place} is no folder: expected one, or a name that ends in .{', .'.join(_FORMATS)}")
    return suffix if suffix in _FORMATS else None


def _play(pictures: Sequence[str], fps: float, out: Console) -> None:
    """One frame after the other in the same place; one below the other where there is no terminal."""
    screen = console(sys.stdout)
    if out.quiet or not screen.is_interactive:
        for picture in pictures:
            out.print(picture)
        return
    with Live(console=screen, auto_refresh=False) as live:
        for picture in pictures:
            live.update(Text(picture), refresh=True)
            time.sleep(1 / fps)
