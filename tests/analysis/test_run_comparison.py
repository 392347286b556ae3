"""Groups, curves and rows from real runs on disk."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from tegu.analysis import curves, summary, table, to_json
from tegu.core.errors import TeguError
from tegu.runs import Run

RETURN = "rollout/ep_rew_mean"


@pytest.fixture
def make(tmp_path):
    """Make a run whose seeds log ``{step: value}``."""

    def make(seeds, environment="CartPole-v1", algorithm="ppo", fps=None, name=RETURN, **hyper):
        config = {"seeds": list(seeds), "log_interval": len(seeds), "hyper_parameters": hyper}
        run = Run.create(tmp_path, environment, algorithm, config)
        with run.metrics() as metrics:
            for seed, logged in seeds.items():
                for step, value in logged.items():
                    metrics.write(step, {seed: {name: value} | ({"time/fps": fps} if fps else {})})
        return run

    return make


def test_curves_are_linear_on_the_steps_all_seeds_have(make):
    (group,) = curves([make({0: {0: 0, 10: 10}, 7: {2: 5, 4: 5, 20: 21}})], points=5)
    np.testing.assert_array_equal(group.steps, [2, 4, 6, 8, 10])
    np.testing.assert_array_equal(group.values, [[2, 4, 6, 8, 10], [5, 5, 7, 9, 11]])
    assert (group.seeds, group.n, group.label, group.environment) == ((0, 7), 2, "ppo", "CartPole-v1")
    assert math.isnan(group.fps)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_leaves_a_gap(make, bad):
    (group,) = curves([make({0: {0: 0, 10: 10, 20: bad, 30: 30, 40: 40}})], points=9)
    np.testing.assert_array_equal(group.values, [[0, 5, 10, np.nan, np.nan, np.nan, 30, 35, 40]])


def test_one_logged_value_is_a_curve_of_one_point(make):
    (group,) = curves([make({0: {5: 1.5}})])
    assert (group.steps.tolist(), group.values.tolist()) == ([5], [[1.5]])


def test_runs_that_differ_in_seeds_alone_are_one_group(make):
    line = {0: 0, 10: 1}
    runs = [make({0: line, 1: line}, gamma=0.9), make({5: line}, gamma=0.9), make({0: line}, gamma=0.5)]
    first, second = curves(runs)
    assert (first.label, first.seeds, first.runs) == ("ppo gamma=0.9", (0, 1, 5), tuple(run.name for run in runs[:2]))
    assert (second.label, second.seeds) == ("ppo gamma=0.5", (0,))


def test_none_is_as_good_as_nothing(make):
    """Runs from before ``config.toml`` could tell what is None do without it."""
    line = {0: 0, 10: 1}
    (group,) = curves([make({0: line}, clip_range_vf=None), make({1: line})])
    assert (group.label, group.seeds) == ("ppo", (0, 1))
    labels = [
        group.label for group in curves([make({0: line}, clip_range_vf=None), make({0: line}, clip_range_vf=0.2)])
    ]
    assert labels == ["ppo", "ppo clip_range_vf=0.2"]


def test_the_same_seed_again_is_no_new_evidence(make):
    line = {0: 0, 10: 1}
    groups = curves([make({0: line, 1: line}), make({1: line, 2: line}), make({2: line})])
    assert [(group.label, group.seeds) for group in groups] == [("ppo #1+3", (0, 1, 2)), ("ppo #2", (1, 2))]


def test_labels_say_what_differs_within_an_algorithm(make):
    line = {0: 0, 10: 1}
    runs = [
        make({0: line}, gamma=0.9, net={"width": [64, 64], "act": "relu"}),
        make({0: line}, gamma=0.9, net={"width": [64, 32], "act": "relu"}, target_kl=0.02),
        make({0: line}, algorithm="dqn", gamma=0.99),
        make({0: line}, environment="Acrobot-v1", gamma=0.5),
    ]
    assert [group.label for group in curves(runs)] == [
        "ppo width=[64,64]",
        "ppo width=[64,32] target_kl=0.02",
        "dqn",
        "ppo",
    ]


def test_labels_keep_dotted_names_where_the_last_part_is_not_clear(make):
    runs = [make({0: {0: 0}}, actor={"lr": value}, critic={"lr": 1 - value}) for value in (0.25, 0.5)]
    assert curves(runs)[0].label == "ppo hyper_parameters.actor.lr=0.25 hyper_parameters.critic.lr=0.75"


def test_a_missing_metric_is_named_with_what_is_near(make):
    run = make({0: {0: 0}})
    with pytest.raises(TeguError, match=r"CartPole-v1/ppo/1 has no metric 'rollout/ep_rew': did you mean rollout/ep_"):
        curves([run], "rollout/ep_rew")
    with pytest.raises(TeguError, match=r"it has rollout/ep_rew_mean$"):
        curves([run], "zzz")
    many = make({0: {0: 0}})
    with many.metrics() as store:
        store.write(1, {0: {f"train/{chr(97 + number)}": 0.0 for number in range(20)}})
    named = ", ".join(["rollout/ep_rew_mean", *(f"train/{chr(97 + number)}" for number in range(11))])
    with pytest.raises(TeguError, match=rf"it has {named} and 9 more$"):
        curves([many], "zzz")
    with pytest.raises(TeguError, match="it has none yet"):
        curves([make({0: {}})])


def test_seeds_without_the_metric_do_not_count(make):
    run = make({0: {0: 1}, 1: {0: 1}})
    with run.metrics() as metrics:
        metrics.write(0, {2: {"train/loss": 1.0}})
    assert curves([run])[0].seeds == (0, 1)


def test_nothing_to_compare_is_one_line(make):
    with pytest.raises(TeguError, match="no runs"):
        curves([])
    with pytest.raises(TeguError, match=r"the seeds of ppo on CartPole-v1 have no steps of .* in common"):
        curves([make({0: {0: 0, 5: 1}, 1: {6: 0, 9: 1}})])


def test_summary_takes_every_value_logged_in_the_last_part(make):
    steep = {step: float(step) for step in range(1, 101)}
    flat = dict.fromkeys([1, 50, 92, 100], 7.0)
    (row,) = summary(curves([make({3: steep, 4: flat}, fps=500)], points=3))
    assert row.finals == (95.5, 7.0)
    assert (row.mean, row.iqm, row.n, row.steps, row.fps) == (51.25, 51.25, 2, 100, 500)
    assert (row.best_seed, row.best, row.worst_seed, row.worst) == (3, 95.5, 4, 7.0)
    assert summary(curves([make({3: steep})]), last=1)[0].finals == (50.5,)


def test_every_episode_counts_the_same(make):
    """Nine episodes of 40 and one of 140: 50 on average, not 90."""
    run = make({0: {10: 40.0, 20: 140.0}}, name=RETURN)
    with run.metrics() as metrics:
        for step, episodes in ((10, 9.0), (20, 1.0)):
            metrics.write(step, {0: {"rollout/episodes": episodes, "train/loss": float(step)}})
    assert summary(curves([run]), last=1)[0].finals == (50.0,)
    assert summary(curves([run], "train/loss"), last=1)[0].finals == (15.0,)


def test_summary_stops_where_the_shortest_seed_stops(make):
    line = {step: float(step) for step in range(0, 101, 10)}
    (row,) = summary(curves([make({0: line, 1: {0: 0, 50: 1}})]))
    assert (row.finals, row.steps) == ((50, 1), 50)


def test_a_value_logged_long_before_the_end_still_counts(make):
    assert summary(curves([make({0: {0: 3, 200: 9}, 1: {0: 0, 100: 1}})]))[0].finals == (3, 1)


def test_the_interval_of_the_mean_lies_around_it(make):
    (row,) = summary(curves([make({seed: {10: seed} for seed in range(8)})]))
    assert row.mean_interval.low < row.mean < row.mean_interval.high
    assert row.iqm_interval.low < row.iqm < row.iqm_interval.high
    assert row.mean_interval.n == 8


def test_a_diverged_seed_is_the_worst_and_spoils_the_mean(make):
    (row,) = summary(curves([make({0: {10: 1}, 1: {10: math.nan}, 2: {10: 3}, 3: {10: 2}})]))
    assert (row.best_seed, row.worst_seed) == (2, 1)
    assert math.isnan(row.mean)
    assert math.isnan(row.worst)


@pytest.mark.parametrize("last", [0, 1.5])
def test_last_is_a_fraction(last):
    with pytest.raises(ValueError, match="last must"):
        summary([], last)


def printed(rows):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table(rows))
        return console.export_text()


def test_table_shows_an_interval_where_there_are_several_seeds(make):
    many = make({seed: {1000: 2000 + seed} for seed in range(5)}, fps=61_234, note="[bold]")
    few = make({0: {1000: 0.125}}, note="none")
    text = printed(summary(curves([many, few])))
    line_many, line_few = (next(line for line in text.splitlines() if f"note={note}" in line) for note in ("[b", "n"))
    for content in ("2,002", "2,000 to 2,004", "2,004 (4)", "2,000 (0)", "1,000", "61,234"):
        assert content in line_many
    assert " to " not in line_few
    assert "0.125" in line_few
    assert "environment" not in text


def test_table_names_environments_where_there_are_several(make):
    runs = [make({seed: {5: 1} for seed in range(4)}, environment=name) for name in ("A-v0", "B-v0")]
    text = printed(summary(curves(runs)))
    assert "environment" in text
    assert "B-v0" in text


def test_json_is_plain(make):
    rows = summary(curves([make({0: {10: 1}, 1: {10: math.nan}}), make({0: {10: 2}}, algorithm="dqn", fps=9)]))
    first, second = json.loads(json.dumps(to_json(rows), allow_nan=False))
    assert (first["finals"], first["mean"], first["n"], first["fps"]) == ([1, None], None, 2, None)
    assert (second["label"], second["mean_interval"], second["best"], second["fps"]) == ("dqn", [None, None], 2, 9)


def test_looking_imports_neither_jax_nor_matplotlib():
    code = "import sys, tegu.analysis; print({'jax', 'matplotlib', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"
