"""Run folders: numbers, configuration, finding, status and lock."""

import json
import math
import os
import signal
import subprocess
import sys
import tomllib

import pytest

from tegu.runs import Run, RunError, checkpoint

IDS = ["CartPole-v1", "ALE/Pong-v5", "my_pkg:MyEnv-v0", "100%", "..", ".hidden", "a b", "ünï/çödé", "a\\b\0c", "%2E"]


def make(root, environment="CartPole-v1", algorithm="ppo", config=None, **more):
    run = Run.create(root, environment, algorithm, config or {}, **more)
    make.time = getattr(make, "time", 10**18) + 1  # creation times a nanosecond apart would tie on coarse clocks
    os.utime(run.path / "config.toml", ns=(make.time, make.time))
    return run


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("environment", IDS)
def test_any_environment_id_makes_one_safe_folder(tmp_path, environment):
    run = make(tmp_path, environment)
    assert run.path.parent.parent.parent == tmp_path
    assert run.name == f"{environment}/ppo/1"
    assert run.config["environment"] == environment
    assert Run.open(run.name, tmp_path).path == run.path
    assert [path.name for path in tmp_path.rglob("*.toml")] == ["config.toml"]


def test_an_empty_name_is_refused(tmp_path):
    with pytest.raises(RunError, match="empty"):
        Run.create(tmp_path, "", "ppo", {})


def test_config_roundtrip(tmp_path):
    config = {
        "steps": 10**12,
        "large": 2**70,
        "hyperparameters": {"learning_rate": 3e-4, "net_arch": (64, 64), "clip": None, "nested": {"a": [1, 2]}},
        "text": 'quote " newline \n tab \t ünï \u0001',
        "infinite": math.inf,
        "on": True,
        "nothing": None,
        "odd key.with dots": 1,
        "dotted.table": {"a.b": None, "": None, "c": {"d": None}},
        "phases": [{"steps": 1, "target_kl": None}, {"target_kl": 0.1}],
    }
    run = make(tmp_path, config=config, command=["tegu", "train", "CartPole-v1", "--learning-rate", "3e-4"])
    stored = dict(run.config)
    assert stored == Run.open(run.path).config
    ours = {key: stored.pop(key) for key in ("environment", "algorithm", "created", "command", "versions")}
    config["hyperparameters"]["net_arch"] = [64, 64]
    assert stored == config
    assert ours["command"] == ["tegu", "train", "CartPole-v1", "--learning-rate", "3e-4"]
    assert ours["created"].endswith("+00:00")
    assert set(ours["versions"]) == {"tegu", "python", "numpy", "jax"}


def test_the_file_names_what_is_none(tmp_path):
    run = make(tmp_path, config={"steps": None, "hyper_parameters": {"target_kl": None, "a.b": None, "clip": 1}})
    content = tomllib.loads((run.path / "config.toml").read_text())
    assert content["none"] == [["steps"], ["hyper_parameters", "target_kl"], ["hyper_parameters", "a.b"]]
    assert content["hyper_parameters"] == {"clip": 1}
    assert "none" not in run.config
    assert "none" not in tomllib.loads((make(tmp_path, config={"steps": 1}).path / "config.toml").read_text())


NONSENSE = [
    "1",
    '"steps"',
    "{}",
    '["steps"]',
    "[[]]",
    "[[1]]",
    "[[true]]",
    '[["hyper_parameters"]]',  # it is a table
    '[["hyper_parameters", "clip"]]',  # it is a number
    '[["hyper_parameters", "clip", "x"]]',
    '[["hyper_parameters", ["x"]]]',
    '[["hyper_parameters", 0]]',
    '[["missing", "x"]]',
    '[["list", 0]]',
    '[["list", true, "x"]]',
    '[["list", 1, "x"]]',
    '[["list", -1, "x"]]',
    '[["list", "0", "x"]]',
    '[[["list"], "x"]]',
    '[[{ a = 1 }, "x"]]',
    '[["x"], ["x"]]',
    '[["x"], ["x", "y"]]',
    f'["{"x" * 5000}"]',
]


@pytest.mark.parametrize("nones", NONSENSE)
def test_nonsense_about_none_is_refused(tmp_path, nones):
    run = make(tmp_path)
    (run.path / "config.toml").write_text(f"none = {nones}\nlist = [{{}}]\n[hyper_parameters]\nclip = 1\n")
    with pytest.raises(RunError) as caught:
        Run.open(run.path)
    assert one_line(caught).startswith(f"cannot read {run.path}/config.toml: none ")
    assert len(one_line(caught)) < 300


def test_the_command_line_is_the_default(tmp_path):
    assert make(tmp_path).config["command"] == sys.argv


def test_config_that_toml_cannot_hold_claims_nothing(tmp_path):
    for config in ({"a": object()}, {"a": [None]}, {"environment": "x"}, {"none": []}):
        with pytest.raises(ValueError, match="config"):
            Run.create(tmp_path, "E", "ppo", config)
    assert list(tmp_path.iterdir()) == []


def test_numbers_rise_and_are_not_given_twice(tmp_path):
    assert [make(tmp_path).path.name for _ in range(3)] == ["1", "2", "3"]
    (tmp_path / "CartPole-v1" / "ppo" / "9").write_text("in the way")
    (tmp_path / "CartPole-v1" / "ppo" / "notes").mkdir()
    assert make(tmp_path).path.name == "10"


def test_processes_never_share_a_number(tmp_path):
    code = (
        "import sys; from tegu.runs import Run\nfor _ in range(25): print(Run.create(sys.argv[1], 'E', 'ppo', {}).path)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    paths = [path for process in processes for path in process.communicate(timeout=60)[0].split()]
    assert len(paths) == len(set(paths)) == 100
    assert {run.path.name for run in Run.list(tmp_path)} == {str(number) for number in range(1, 101)}


def test_open_finds_the_newest(tmp_path, monkeypatch):
    runs = [
        make(tmp_path, environment, algorithm)
        for environment in ("CartPole-v1", "ALE/Pong-v5", "CartPole-v10")
        for algorithm in ("ppo", "dqn")
        for _ in range(2)
    ]
    by_name = {run.name: run.path for run in runs}
    expected = {
        "last": "CartPole-v10/dqn/2",
        "CartPole-v1": "CartPole-v1/dqn/2",
        "CartPole-v1/ppo": "CartPole-v1/ppo/2",
        "CartPole-v1/ppo/last": "CartPole-v1/ppo/2",
        "CartPole-v1/last": "CartPole-v1/dqn/2",
        "CartPole-v1/ppo/1": "CartPole-v1/ppo/1",
        "CartPole-v1/ppo/1/": "CartPole-v1/ppo/1",
        "ALE/Pong-v5": "ALE/Pong-v5/dqn/2",
        "ALE/Pong-v5/ppo/1": "ALE/Pong-v5/ppo/1",
    }
    for selector, name in expected.items():
        assert Run.open(selector, tmp_path).path == by_name[name], selector
        assert Run.open(by_name[name]).name == name
    monkeypatch.chdir(tmp_path.parent)
    assert Run.open(f"{tmp_path.name}/CartPole-v1/ppo/1").name == "CartPole-v1/ppo/1"
    assert [run.name for run in Run.list(tmp_path)] == [run.name for run in reversed(runs)]


def test_open_suggests_the_nearest(tmp_path):
    with pytest.raises(RunError) as caught:
        Run.open("last", tmp_path / "runs")
    assert "there are 0 runs" in one_line(caught)
    make(tmp_path), make(tmp_path, "Acrobot-v1", "dqn")
    for selector in ("CartPole/ppo/1", "CartPole-v1/ppo/7", "CartPole-v", "cartpole-v1/ppo"):
        with pytest.raises(RunError) as caught:
            Run.open(selector, tmp_path)
        assert "did you mean CartPole-v1/ppo/1" in one_line(caught)
    with pytest.raises(RunError, match="there is no run ''"):
        Run.open("", tmp_path)


def test_broken_folders_are_passed_over(tmp_path):
    good = make(tmp_path)
    for name in ("CartPole-v1/ppo/7", "CartPole-v1/ppo/notes", "other", "a/b/c/d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "CartPole-v1/ppo/notes/config.toml").write_text("a = 1")
    (tmp_path / "CartPole-v1/ppo/8").symlink_to(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    assert [run.path for run in Run.list(tmp_path)] == [good.path]


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"a = " + b"[" * 100_000, b"a = 1\na = 2"])
def test_a_damaged_config_is_one_line(tmp_path, content):
    run = make(tmp_path)
    (run.path / "config.toml").write_bytes(content)
    assert len(Run.list(tmp_path)) == 1
    for selector in (run.path, "last"):
        with pytest.raises(RunError) as caught:
            Run.open(selector, tmp_path)
        assert f"cannot read {run.path}/config.toml" in one_line(caught)


def test_status(tmp_path):
    run = make(tmp_path)
    assert run.status.state == "interrupted"
    run.set_status("running", steps=5, total=10)
    assert (run.status.state, run.status.steps, run.status.total, run.status.pid) == ("running", 5, 10, os.getpid())
    for state in ("finished", "stopped", "failed"):
        run.set_status(state, message="why")
        assert (run.status.state, run.status.message) == (state, "why")
    with pytest.raises(ValueError, match="paused"):
        run.set_status("paused")
    assert sorted(path.name for path in run.path.iterdir()) == ["config.toml", "status.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"state": "running"}', "null", "[" * 100_000])
def test_a_damaged_status_is_no_error(tmp_path, content):
    run = make(tmp_path)
    (run.path / "status.json").write_text(content)
    assert (run.status.state, run.status.message) == ("interrupted", "status.json is damaged")


@pytest.mark.parametrize("pid", [0, -1, 2**80])
def test_an_impossible_process_is_not_alive(tmp_path, pid):
    run = make(tmp_path)
    content = {"state": "running", "pid": pid, "steps": 1, "total": 2, "message": ""}
    (run.path / "status.json").write_text(json.dumps(content))
    assert run.status.state == "interrupted"


TRAINER = """
import sys, time
from tegu.runs import Run
run = Run.open(sys.argv[1])
with run.lock():
    run.set_status("running", steps=3, total=9)
    print(flush=True)
    time.sleep(60)
"""


def test_lock_and_status_of_a_killed_process(tmp_path):
    run = make(tmp_path)
    with subprocess.Popen([sys.executable, "-c", TRAINER, str(run.path)], stdout=subprocess.PIPE) as trainer:
        trainer.stdout.readline()
        assert (run.status.state, run.status.pid) == ("running", trainer.pid)
        with pytest.raises(RunError) as caught, run.lock():
            pass
        assert f"in use by process {trainer.pid}" in one_line(caught)
        trainer.send_signal(signal.SIGKILL)
    assert (run.status.state, run.status.steps, run.status.total) == ("interrupted", 3, 9)
    with run.lock(), pytest.raises(RunError, match=f"process {os.getpid()}"), run.lock():
        pass
    with run.lock():
        pass


def test_errors_within_the_lock_are_not_touched(tmp_path):
    run = make(tmp_path)
    with pytest.raises(OSError, match="mine"), run.lock():
        raise OSError("mine")
    with run.lock():
        pass


def test_a_missing_folder_is_one_line(tmp_path):
    run = Run(tmp_path / "gone")
    for use in (lambda: run.set_status("running"), lambda: run.lock().__enter__(), lambda: run.config):
        with pytest.raises(RunError) as caught:
            use()
        assert "No such file or directory" in one_line(caught)


def test_checkpoints_and_metrics_lie_in_the_run(tmp_path):
    run = make(tmp_path)
    checkpoint.save(run.checkpoints, 1, {}, {})
    with run.metrics() as metrics:
        metrics.write(1, {0: {"a": 1}})
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "config.toml", "metrics.sqlite"]
