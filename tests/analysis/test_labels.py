"""What agents are called in tables and pictures."""

from tegu.analysis.labels import labels_of


def test_agents_of_one_run_go_by_their_steps() -> None:
    run = "a/b/1"
    assert labels_of([f"{run}@step=20000", f"{run}@step=1M", f"{run}@best", run]) == ["20,000", "1M", "best", "last"]


def test_agents_of_several_runs_go_by_their_names() -> None:
    names = ["a/b/1@step=20000", "a/b/2"]
    assert labels_of(names) == names
