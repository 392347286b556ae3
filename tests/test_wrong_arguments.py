"""Arguments of a wrong type are answered in one line that names them, by every public function and method."""

import numpy as np
import pytest

import tegu
from tegu.core.errors import TeguError

THING = object()
NAMES = "CartPole-v1", "ppo"
CARTPOLE = np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    sizes = {"steps": 64, "n_envs": 1, "n_steps": 64, "batch_size": 64, "n_epochs": 1, "net_arch": [4]}
    return tegu.train(*NAMES, folder=tmp_path_factory.mktemp("runs"), **sizes)


def _train(**options):
    return lambda agent: tegu.train(*NAMES, **options)


WRONG = {
    **{f"train folder {value!r}": _train(folder=value) for value in (False, True, 3, b"runs", [])},
    **{
        f"train environment {value!r}": lambda agent, v=value: tegu.train(v, "ppo")
        for value in (None, 3, [], {}, "", b"x", THING)
    },
    **{
        f"train algorithm {value!r}": lambda agent, v=value: tegu.train("CartPole-v1", v)
        for value in (3, [], {}, b"x", THING)
    },
    **{
        f"train {name} {value!r}": _train(**{name: value}, folder=None)
        for name in (
            "steps",
            "seeds",
            "seed",
            "n_envs",
            "eval_every",
            "eval_episodes",
            "log_interval",
            "checkpoint_every",
            "prepare_evaluation",
            "gamma",
            "net_arch",
            "network",
            "backend",
            "callbacks",
            "observers",
            "then",
            "environment_options",
        )
        for value in ("ten", THING, {"a": 1}, [None], b"x")
        if (name, value) not in [("environment_options", {"a": 1}), ("gamma", [None])]
    },
    **{f"resume {value!r}": lambda agent, v=value: tegu.resume(v) for value in (None, 3, False, [], {}, THING, b"x")},
    **{
        f"resume {name} {value!r}": lambda agent, n=name, v=value: tegu.resume(agent.run, **{n: v})
        for name in (
            "steps",
            "folder",
            "callbacks",
            "observers",
            "then",
            "algorithm",
            "network",
            "prepare_evaluation",
            "log",
        )
        for value in ("ten", THING, {"a": 1}, [3], b"x")
        if name != "folder"
    },
    **{f"load {value!r}": lambda agent, v=value: tegu.load(v) for value in (None, 3, False, [], {}, THING, b"x")},
    **{
        f"load {name} {value!r}": lambda agent, n=name, v=value: tegu.load(agent.run, **{n: v})
        for name in ("environment", "algorithm", "network")
        for value in ("ten", THING, {"a": 1}, [3], b"x", 3)
    },
    **{
        f"load folder {value!r}": lambda agent, v=value: tegu.load("last", folder=v)
        for value in (None, 3, False, [], THING)
    },
    **{f"make {value!r}": lambda agent, v=value: tegu.make(v) for value in (None, 3, False, [], {}, THING, b"x", "")},
    **{
        f"sweep {value!r}": lambda agent, v=value: tegu.sweep(*NAMES, values=v)
        for value in (
            None,
            3,
            {},
            [],
            {"gamma": 3},
            {"gamma": "0.9"},
            {"gamma": []},
            {"gamma": [THING]},
            {3: [4]},
            {"gama": [0.9]},
        )
    },
    **{
        f"sweep folder {value!r}": lambda agent, v=value: tegu.sweep(*NAMES, values={"gamma": [0.9]}, folder=v)
        for value in (None, 3, False, [], THING)
    },
    **{f"save {value!r}": lambda agent, v=value: agent.save(v) for value in (None, 3, False, [], THING, b"x")},
    **{
        f"evaluate {value!r}": lambda agent, v=value: agent.evaluate(v)
        for value in (None, "ten", 0, -1, 1.5, [], THING)
    },
    **{
        f"evaluate deterministic {value!r}": lambda agent, v=value: agent.evaluate(2, deterministic=v)
        for value in (None, "no", [], THING)
    },
    **{f"learner {value!r}": lambda agent, v=value: agent.learner(v) for value in (None, "a", 1, -2, 0.5, [], THING)},
    **{
        f"predict index {value!r}": lambda agent, v=value: agent.predict(CARTPOLE, index=v)
        for value in (None, "a", 1, [], THING)
    },
    **{
        f"predict {type(value).__name__} {value!r}": lambda agent, v=value: agent.predict(v)
        for value in (
            None,
            "left",
            3,
            [],
            {},
            THING,
            np.zeros(3),
            np.zeros((2, 3)),
            np.zeros((1, 1, 4)),
            ["a"] * 4,
            {"x": CARTPOLE},
        )
    },
    "phase steps": lambda agent: tegu.train(*NAMES, folder=None, then=tegu.Phase(*NAMES, "ten")),
    "phase environment": lambda agent: tegu.train(*NAMES, folder=None, then=tegu.Phase(3, "ppo", 64)),
    "phase algorithm": lambda agent: tegu.train(*NAMES, folder=None, then=tegu.Phase("CartPole-v1", 3, 64)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=[name.split(" at 0x")[0] for name in WRONG])
def test_a_wrong_argument_is_one_line(call, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TeguError) as error:
        call(agent)
    assert str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_agent_stands_for_its_run(agent):
    with pytest.warns(UserWarning, match="is finished: all 64 steps are done"):
        assert tegu.resume(agent).run.path == agent.run.path
    alone = tegu.Agent(agent.algorithm, agent.spec, agent.learners, agent.seeds, agent.steps)
    with pytest.raises(TeguError, match="this agent has no run on disk"):
        tegu.resume(alone)
