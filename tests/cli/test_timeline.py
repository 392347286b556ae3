"""When milestones appeared in a run, as a table, as data and as a picture."""

from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Command, one_line

import tegu as library
from tegu.analysis.timeline import appearances, measured
from tegu.environments.hide_and_seek.game import HideAndSeek
from tegu.runs import Run

STEPS = (1000, 2000, 3000, 4000)
FORTS = {0: (0.0, 0.2, 0.25, 0.1), 1: (0.0, 0.0, 0.0, 0.9)}  # by seed
SEEN = {0: (0.1, 0.3, 0.3, 0.1), 1: (0.1, 0.1, np.nan, 0.15)}
RETURN = {"eval/mean_reward": 0.0, "eval/mean_ep_length": 60.0}


def logged(environment: str = "hide-and-seek-tiny", **measures: dict[int, tuple[float, ...]]) -> Run:
    run = Run.create("runs", environment, "ippo", {"seeds": [0, 1]})
    with run.metrics() as store:
        for index, step in enumerate(STEPS):
            found = {
                seed: {f"eval/{name.replace('_at_', '/')}": float(of[seed][index]) for name, of in measures.items()}
                for seed in (0, 1)
            }
            store.write(step, {seed: RETURN | values for seed, values in found.items()})
    return run


def test_a_milestone_appears_at_the_first_evaluation_that_reaches_its_value(tegu: Command) -> None:
    run = logged(fort_at_end=FORTS, seen_at_mean=SEEN, seen_at_end=SEEN, reward_at_mean=SEEN)
    answer = tegu("timeline", "last", "--json")
    assert answer.status == 0, answer.err
    chasing, forts = answer.data["milestones"]
    assert forts == {
        "milestone": "fort building",
        "measure": "fort/end",
        "threshold": 0.25,
        "steps": {"0": 3000, "1": 4000},
        "mean": 3500,
    }
    assert (chasing["milestone"], chasing["steps"], chasing["mean"]) == ("chasing", {"0": 2000, "1": None}, 2000)
    assert answer.data["measures"] == ["seen/mean", "fort/end", "reward/mean"]
    assert answer.data["run"] == run.name
    assert Path(answer.data["plot"]).read_bytes().startswith(b"\x89PNG")
    shown = tegu("timeline", run.name, "--out", "milestones.svg").out.splitlines()
    assert shown[-1] == "milestones.svg"
    assert shown[0].split() == ["milestone", "measure", "from", "first", "step", "seeds", "seed", "0", "seed", "1"]
    (row,) = (line for line in shown if line.startswith("chasing"))
    assert row.split() == ["chasing", "seen/mean", "0.2", "2,000", "1", "of", "2", "2,000", "-"]
    (row,) = (line for line in shown if line.startswith("fort"))
    assert row.split()[2:] == ["fort/end", "0.25", "3,500", "2", "of", "2", "3,000", "4,000"]
    assert "fort building" in Path("milestones.svg").read_text()


def test_a_milestone_that_was_not_measured_is_named(tegu: Command) -> None:
    logged("hide-and-seek-tiny", seen_at_mean=SEEN)
    shown = tegu("timeline").out.splitlines()
    assert "fort building: no evaluation has measured fort/end" in shown
    assert not any("chasing: no evaluation" in line for line in shown)


def test_of_an_environment_without_milestones_the_measures_are_drawn(tegu: Command) -> None:
    logged("simple_spread_v3", collisions_at_mean=SEEN, collisions_at_end=FORTS)
    data = tegu("timeline", "--json").data
    assert data["milestones"] == []
    assert data["measures"] == ["collisions/mean"]
    assert tegu("timeline").out.splitlines() == ["simple_spread_v3 has no milestones", "timeline.png"]


def test_runs_that_say_nothing_of_milestones_are_one_line(tegu: Command) -> None:
    run = Run.create("runs", "hide-and-seek-tiny", "ippo", {"seeds": [0]})
    with run.metrics() as store:
        store.write(10, {0: {"rollout/ep_rew_mean": 1.0}})
    expected = f"tegu: {run.name} has no evaluations: train with --eval-every N"
    assert one_line(tegu("timeline"), 1) == expected
    logged("CartPole-v1")
    assert "have no measures, only returns: tegu compare --metric eval/mean_reward" in one_line(tegu("timeline"), 1)
    logged("own:World", fort_at_end=FORTS)
    assert "own:World, which is your own code: pass it again (--env own:World)" in one_line(tegu("timeline"), 1)


@pytest.mark.parametrize("name", ["tiny", "quadrant", "rooms"])
def test_the_milestones_of_hide_and_seek_go_by_measures_that_there_are(name: str) -> None:
    world = library.make(f"hide-and-seek-{name}")
    assert isinstance(world, HideAndSeek)
    assert list(world.milestones) == [
        "chasing", "fort building", "ramp use", "ramp defence", "box surfing", "surf defence",
    ]  # fmt: skip
    import jax

    state = jax.eval_shape(world.reset, jax.random.key(0))[0]
    steps, episodes = jax.eval_shape(world.measures, state), jax.eval_shape(world.episode_measures, state)
    assert not steps.keys() & episodes.keys()
    known = {f"{measure}/{part}" for measure in steps for part in ("mean", "end")}
    known |= {f"{measure}/end" for measure in episodes}
    assert {measure for measure, _ in world.milestones.values()} <= known
    assert "ramp defence" not in library.make(f"hide-and-seek-{name}", ramps=0).milestones


def test_what_was_measured_is_drawn_with_the_value_of_each_milestone(tmp_path: Path, monkeypatch) -> None:
    from tegu.analysis.plots import plot_measures

    monkeypatch.chdir(tmp_path)
    run = logged(fort_at_end=FORTS, other_at_mean=SEEN)
    milestones = {"fort building": ("fort/end", 0.25), "never measured": ("nothing/end", 1.0)}
    measures = measured(run, milestones)
    assert [each.milestone for each in appearances(milestones, measures)] == ["fort building"]
    forts, other = plot_measures(run, measures, milestones, "a.png").axes
    assert [ax.get_title(loc="left") for ax in (forts, other)] == ["fort building", "other"]
    thin, (dashed,) = forts.lines[:-2], forts.lines[-1:]
    for line, seed in zip(thin, (0, 1), strict=True):
        np.testing.assert_allclose(np.interp(STEPS, line.get_xdata(), line.get_ydata()), FORTS[seed], atol=0.02)
    assert set(dashed.get_ydata()) == {0.25}
    assert len(other.lines) == 3
