"""PettingZoo's environments from the command line."""

from pathlib import Path

import pytest
from cli.conftest import Command, one_line

pytest.importorskip("mpe2")

SMALL = (
    *("--learning-starts", "50", "--buffer-size", "500", "--batch-size", "16"),
    *("--net-arch", "8", "--n-envs", "1", "--episodes", "2"),
)
ENV = "mpe2:simple_tag_v3"


@pytest.mark.long
def test_train_resume_evaluate_and_watch(tegu: Command) -> None:
    """What the run names is code: whoever goes on with it names it, too."""
    answer = tegu("train", ENV, "maddpg", "--steps", "200", *SMALL, "--json", "--quiet")
    assert answer.status == 0
    assert (answer.data["backend"], answer.data["steps"]) == ("pettingzoo", 200)
    assert f"was trained on {ENV}" in one_line(tegu("resume", "--steps", "300"), 1)
    resumed = tegu("resume", "--steps", "300", "--episodes", "0", "--env", ENV, "--json", "--quiet")
    assert resumed.data["steps"] == 300
    found = tegu("evaluate", "--episodes", "3", "--env", ENV, "--json").data["deterministic"]
    assert set(found["agents"]) == {"adversary_0", "adversary_1", "adversary_2", "agent_0"}
    watched = tegu("watch", "--env", ENV, "--json").data
    assert watched["steps"] == 25
    assert Path(watched["animation"]).is_file()


@pytest.mark.slow
def test_the_backend_is_named(tegu: Command) -> None:
    answer = tegu("train", "simple_v3", "maddpg", "--backend", "pettingzoo", "--steps", "100", *SMALL)
    assert answer.status == 0
    assert "environment: PettingZoo, stepped in Python" in answer.err
    assert "did you mean simple_tag_v3" in one_line(tegu("train", "mpe2:simple_tagg_v3", "maddpg"), 1)


def test_check(tegu: Command, tmp_path: Path) -> None:
    for words in ((ENV,), ("simple_tag_v3", "--backend", "pettingzoo")):
        answer = tegu("check", *words, "--steps", "30", "--json")
        assert answer.status == 0
        assert (answer.data["ok"], answer.data["facts"]["kind"]) == (True, "PettingZoo")
    (tmp_path / "spaceless.py").write_text(
        "from pettingzoo import ParallelEnv\n"
        "class Spaceless(ParallelEnv):\n"
        "    metadata = {'name': 'spaceless'}\n"
        "    possible_agents = ['only']\n"
    )
    answer = tegu("check", "spaceless:Spaceless")
    assert answer.status == 1
    assert 'error in observation_space("only"): raised AttributeError' in answer.out
