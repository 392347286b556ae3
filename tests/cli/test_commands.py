"""The commands that look at runs and environments."""

import csv
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import ESCAPE, Command, one_line
from PIL import Image

import tegu as library
from tegu.acting.evaluation import Evaluation
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.cli.score import interval, score

RUN = "lizard/q-learning/1"


def test_evaluate(tegu: Command, runs: Path) -> None:
    answer = tegu("evaluate", RUN, "--runs", runs, "--episodes", "20")
    assert answer.status == 0
    assert "deterministic" in answer.out
    assert "seed 1" in answer.out
    assert not ESCAPE.search(answer.out)


def test_evaluate_in_json(tegu: Command, runs: Path) -> None:
    data = tegu("evaluate", "last", "--runs", runs, "--episodes", "20", "--json").data
    assert data.keys() == {"run", "environment", "algorithm", "steps", "seeds", "deterministic", "stochastic"}
    for way in ("deterministic", "stochastic"):
        assert data[way]["min"] <= data[way]["mean"] <= data[way]["max"]
        assert (data[way]["episodes"], len(data[way]["per_seed"])) == (20, 2)


def test_evaluate_a_saved_agent(tegu: Command, runs: Path, tmp_path: Path) -> None:
    library.load(runs / RUN).save(tmp_path / "agent")
    data = tegu("evaluate", tmp_path / "agent", "--episodes", "5", "--json").data
    assert (data["run"], data["environment"]) == (str(tmp_path / "agent"), "lizard")


def test_import_a_model_of_stable_baselines3(tegu: Command, tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "agents/sb3_models/a2c.zip"
    answer = tegu("import", model, "--env", "CartPole-v1", "--out", tmp_path / "agent")
    assert answer.status == 0
    assert answer.out.splitlines() == [
        "A2C on CartPole-v1, 200 steps, actor MLP 4-5-4-2, tanh; critic MLP 4-5-4-1, tanh; 113 parameters -> "
        f"{tmp_path / 'agent'}"
    ]
    data = tegu("evaluate", tmp_path / "agent", "--episodes", "2", "--json").data
    assert (data["environment"], data["algorithm"], data["steps"]) == ("CartPole-v1", "a2c", 200)
    assert "exists: name another folder with --out" in one_line(
        tegu("import", model, "--env", "CartPole-v1", "--out", tmp_path / "agent"), 1
    )
    sac = model.with_name("sac.zip")
    answer = tegu("import", sac, "--env", "Pendulum-v1", "--out", tmp_path / "sac", "--json")
    assert (answer.data["algorithm"], answer.data["left_out"]) == ("sac", ["train_freq"])
    assert "does not fit CartPole-v1" in one_line(tegu("import", sac, "--env", "CartPole-v1", "--out", "new"), 1)
    assert "it has no data" in one_line(tegu("import", other_zip(tmp_path), "--env", "CartPole-v1", "--out", "new"), 1)
    assert not (tmp_path / "new").exists()


def other_zip(folder: Path) -> Path:
    """A zip that Stable-Baselines3 has not written."""
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("policy.pth", b"")
    return folder / "other.zip"


def test_one_episode_has_no_interval() -> None:
    found = score(Evaluation(np.array([[3.0]]), np.array([[7]])), deterministic=True)
    assert found["mean"] == 3
    assert found["interval"] == [None, None]
    assert interval(*found["interval"]) == "-"


def test_resume_adds_steps(tegu: Command, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / RUN, tmp_path / "runs" / RUN)
    answer = tegu("resume", "--steps", "6k", "--json", "--quiet")
    assert (answer.status, answer.data["steps"], answer.data["evaluation"]["episodes"]) == (0, 6000, 100)


def test_watch_writes_an_animation_and_a_frame_strip(tegu: Command, runs: Path, tmp_path: Path) -> None:
    words = ("watch", RUN, "--runs", runs, "--seed-index", "1", "--out", tmp_path, "--format", "webp", "--fps", "2")
    answer = tegu(*words)
    assert answer.status == 0
    assert "return 9 in 2 steps, seed 1" in answer.out
    moving, strip = (Path(line) for line in answer.out.splitlines()[1:])
    assert (moving.suffix, strip.suffix) == (".webp", ".png")
    with Image.open(moving) as picture:
        assert picture.n_frames == 3
    assert strip.is_file()
    data = tegu(*words, "--json").data
    assert data.keys() == {"run", "environment", "seed", "return", "steps", "animation", "frame_strip"}
    assert "seed_index must lie in 0..1" in one_line(tegu("watch", "--runs", runs, "--seed-index", "2"), 1)


def test_watch_shows_several_next_to_each_other(tegu: Command, runs: Path, tmp_path: Path) -> None:
    words = ("watch", RUN, "lizard", "last", "--runs", runs, "--out", "all.gif", "--fps", "2")
    *episodes, moving, strip = tegu(*words).out.splitlines()
    assert (moving, strip) == ("all.gif", "all.png")
    assert episodes == [f"{name}, step 4,000: return 9 in 2 steps" for name in (RUN, "lizard", "last")]
    assert tegu("watch", RUN, "--runs", runs, "--out", "one.gif").status == 0
    with Image.open("all.gif") as together, Image.open("one.gif") as alone:
        width, height = alone.size
        assert together.n_frames == alone.n_frames == 3
        assert together.height == height
        assert 3 * width < together.width < 4 * width
        drawn = np.asarray(together.convert("RGB"))
        assert np.array_equal(drawn[:, :width], drawn[:, -width:])
    data = tegu(*words, "--json").data
    assert [(each["run"], each["return"], each["steps"]) for each in data["episodes"]][1] == ("lizard", 9, 2)
    for flag in ("--terminal", "--model", "--dream"):
        assert "show one RUN, not several" in one_line(tegu("watch", "last", "last", flag, "--runs", runs), 2)


def test_watch_writes_a_video_where_it_can(tegu: Command, runs: Path, tmp_path: Path, monkeypatch) -> None:
    """Every frame of the episode, at the speed asked for, in the place that is named."""
    words = ("watch", RUN, "--runs", runs, "--seed-index", "1", "--json")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "av", None)
        assert Path(tegu(*words, "--out", tmp_path).data["animation"]).suffix == ".gif"
        for asked in (("--format", "mp4"), ("--out", "a.mp4")):
            said = one_line(tegu(*words, *asked), 1)
            assert said == "tegu: videos need PyAV: pip install 'tegu[video]'"
    av = pytest.importorskip("av")
    assert Path(tegu(*words, "--out", tmp_path).data["animation"]).suffix == ".mp4"
    data = tegu(*words, "--out", "new/a.mp4", "--fps", "2.5").data
    assert (data["animation"], data["frame_strip"]) == ("new/a.mp4", "new/a.png")
    assert Path("new/a.png").is_file()
    with av.open("new/a.mp4") as video:
        assert video.streams.video[0].average_rate == 2.5
        assert len(list(video.decode(video=0))) == data["steps"] + 1


def test_watch_asks_for_one_format(tegu: Command, runs: Path, tmp_path: Path) -> None:
    said = one_line(tegu("watch", "--runs", runs, "--out", "a.gif", "--format", "webp"), 2)
    assert "--out a.gif is no webp" in said
    (tmp_path / "a.gif").mkdir()
    data = tegu("watch", "--runs", runs, "--out", "a.gif", "--format", "webp", "--json").data
    assert data["animation"] == "a.gif/4000-seed-0.webp"


def test_watch_in_the_terminal(tegu: Command, runs: Path, tmp_path: Path) -> None:
    answer = tegu("watch", "--runs", runs, "--terminal")
    assert answer.out.count("LIZARD") == 3
    assert not ESCAPE.search(answer.out)
    assert not (runs / RUN / "replays").exists()


def test_compare(tegu: Command, runs: Path, tmp_path: Path) -> None:
    answer = tegu("compare", RUN, "--runs", runs)
    assert "q-learning" in answer.out
    assert (tmp_path / "compare.png").is_file()
    data = tegu("compare", RUN, runs / RUN, "--runs", runs, "--metric", "time/fps", "--out", "a.svg", "--json").data
    assert data.keys() == {"metric", "groups", "plot"}
    assert (len(data["groups"]), data["metric"], data["plot"]) == (2, "time/fps", "a.svg")
    assert "did you mean rollout/ep_rew_mean" in one_line(tegu("compare", RUN, "--runs", runs, "--metric", "ep_rew"), 1)


def test_list(tegu: Command, runs: Path) -> None:
    data = tegu("list", "--runs", runs, "--json").data
    assert data.keys() == {"environments", "algorithms", "presets", "runs"}
    found = {entry["name"]: entry for entry in data["environments"]}
    algorithms = found["CartPole-v1"].pop("algorithms")
    assert algorithms[:2] == ["ppo", "dqn"]  # the usual one first
    assert not {"q-learning", "ddpg", "alphazero"} & set(algorithms)
    assert found["CartPole-v1"] == {"name": "CartPole-v1", "backend": "jax", "agents": []}
    assert found["Blackjack-v1"] == {"name": "Blackjack-v1", "backend": "gymnasium"}
    assert found["simple_push_v3"]["agents"] == ["adversary_0", "agent_0"]
    assert found["simple_push_v3"]["algorithms"][0] == "maddpg"
    assert (found["connect-four"]["agents"], found["connect-four"]["algorithms"]) == (
        ["first", "second"],
        ["alphazero", "muzero"],
    )
    assert {entry["name"]: entry["for"] for entry in data["algorithms"]} == {
        **dict.fromkeys(ALGORITHMS, "single agent"),
        **dict.fromkeys(("maddpg", "matd3", "iddpg", "ippo", "mappo"), "multi-agent"),
        **dict.fromkeys(("alphazero", "alphago"), "board games"),
        "muzero": "single agent, board games",
    }
    assert any(entry["environment"] == "CartPole-v1" for entry in data["presets"])
    (run,) = data["runs"]
    assert (run["run"], run["state"], run["steps"], run["seeds"]) == (RUN, "finished", 4000, 2)
    summaries = {entry["name"]: entry["summary"] for entry in data["algorithms"]}
    assert summaries["rainbow"].startswith("Double, dueling, prioritized, 3-step")
    text = tegu("list", "--runs", runs).out
    assert all(word in text for word in ("CartPole-v1", "q-learning", RUN, "finished"))
    assert "adversary_0 to adversary_2, agent_0 " in text
    assert "ppo 100,000 steps, 8 envs; dqn, double-dqn, " in text
    assert max(map(len, text.splitlines())) <= 200


def test_list_passes_over_damage(tegu: Command, tmp_path: Path) -> None:
    assert "no runs yet" in tegu("list", "runs").out
    folder = tmp_path / "runs/a/b/1"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("= 3")
    answer = tegu("list", "runs")
    assert answer.status == 0
    assert "damaged" in answer.out


def test_check(tegu: Command, tmp_path: Path, monkeypatch) -> None:
    answer = tegu("check", "lizard", "--json")
    assert answer.status == 0
    assert answer.data.keys() == {"environment", "ok", "findings", "facts"}
    assert answer.data["ok"]
    (tmp_path / "broken.py").write_text(
        "import gymnasium\n"
        "class Broken(gymnasium.Env):\n"
        "    observation_space = action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return 7, {}\n"
        "    def step(self, action):\n"
        "        return 7, 0.0, False, False, {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    answer = tegu("check", "broken:Broken", "--steps", "20")
    assert answer.status == 1
    assert "error in" in answer.out


def test_export(tegu: Command, runs: Path, tmp_path: Path) -> None:
    answer = tegu("export", RUN, "--runs", runs, "--csv", "all.csv", "--json")
    assert tegu("export", RUN, "--runs", runs, "--csv", "-").out == (tmp_path / "all.csv").read_text()
    assert "both write to standard output" in one_line(tegu("export", RUN, "--csv", "-", "--json"), 2)
    assert answer.data == {"run": str(runs / RUN), "format": "csv", "path": "all.csv"}
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert rows[0].keys() == {"step", "seed", "name", "value"}
    assert {row["seed"] for row in rows} == {"0", "1"}
    tegu("export", "--runs", runs, "--tensorboard", "events")
    assert len(list((tmp_path / "events").glob("seed-*/events*"))) == 2
    assert np.isfinite([float(row["value"]) for row in rows]).all()
