"""Models of Stable-Baselines3, as ``record_sb3_models.py`` saved them, and files that are none."""

import io
import json
import os
import pickle
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import tegu
from tegu.agents.sb3_files import imported
from tegu.agents.torch_file import tensors
from tegu.algorithms.hyper_parameters import hyper_parameters
from tegu.core.errors import TeguError

FOLDER = Path(__file__).with_name("sb3_models")
MODELS = {
    "ppo": ("CartPole-v1", "ppo", {"net_arch": [5, 4], "critic_arch": [6], "batch_size": 16, "clip_range": 0.2}),
    "ppo_box": ("Pendulum-v1", "ppo", {"activation": "elu", "batch_size": 64, "clip_range": 0.25, "n_epochs": 10}),
    "a2c": ("CartPole-v1", "a2c", {"gamma": 0.9, "ent_coef": 0.01, "activation": "tanh", "learning_rate": 0.0007}),
    "dqn": ("CartPole-v1", "dqn", {"net_arch": [9, 8], "learning_starts": 20, "exploration_final_eps": 0.05}),
    "sac": ("Pendulum-v1", "sac", {"ent_coef": "auto_0.2", "n_critics": 2, "target_entropy": -1.0}),
    "td3": ("Pendulum-v1", "td3", {"tau": 0.01, "net_arch": [5], "critic_arch": [6, 4], "action_noise": None}),
    "ddpg": ("Pendulum-v1", "ddpg", {"learning_starts": 50, "n_critics": 1, "activation": "relu"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_model_does_what_it_did(name):
    environment, algorithm, settings = MODELS[name]
    with pytest.warns(UserWarning, match="truncated minibatch of size 32") if name == "ppo_box" else nullcontext():
        agent, left_out = imported(FOLDER / f"{name}.zip", environment)
    with np.load(FOLDER / "actions.npz") as recorded:
        seen, expected = recorded[f"{name}/observations"], recorded[f"{name}/actions"]
    assert len(np.unique(expected)) > 1
    np.testing.assert_allclose(agent.predict(seen)[0], expected, atol=1e-5)
    found = hyper_parameters(agent.algorithm)
    assert (agent.algorithm.name, {key: found[key] for key in settings}) == (algorithm, settings)
    assert agent.seeds == (3,)
    assert agent.steps >= 200
    changed = {"dqn": ["learning_rate", "train_freq"], "ppo": [], "ppo_box": [], "a2c": []}
    assert left_out == changed.get(name, ["train_freq"])  # DQN's learning rate is a function of Python


def test_an_imported_agent_is_kept_like_any_other(tmp_path):
    agent = tegu.import_sb3(FOLDER / "sac.zip", "Pendulum-v1")
    agent.save(tmp_path / "agent")
    seen = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(tegu.load(tmp_path / "agent").predict(seen)[0], agent.predict(seen)[0])


def test_the_environment_must_be_the_models():
    with pytest.raises(TeguError, match=r"ppo\.zip does not fit Pendulum-v1: shape of its observation_space is \[4\]"):
        imported(FOLDER / "ppo.zip", "Pendulum-v1")
    with pytest.raises(TeguError, match=r"sac\.zip does not fit CartPole-v1"):
        imported(FOLDER / "sac.zip", "CartPole-v1")


def rewritten(tmp_path, name, change, **members):
    """A model with its settings changed, or other members."""
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        inside = {each: archive.read(each) for each in archive.namelist()}
    data = json.loads(inside["data"])
    change(data)
    inside |= {
        "data": json.dumps(data).encode(),
        **{key.replace("_pth", ".pth"): each for key, each in members.items()},
    }
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for each, content in inside.items():
            archive.writestr(each, content)
    return tmp_path / "model.zip"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(use_sde=True), "use_sde=True cannot be imported"),
        (lambda data: data["policy_class"].update(__module__="my.policies"), "a policy of my.policies cannot"),
        (lambda data: data.pop("policy_class"), "a policy of its own cannot be imported"),
        (
            lambda data: data.update(policy_kwargs={"activation_fn": "<class 'torch.nn.modules.activation.GELU'>"}),
            "activation_fn must be one of Tanh, ReLU, ELU, SiLU",
        ),
        (lambda data: data.update(gamma=7), "gamma"),
        (lambda data: data.update(gae_lambda="\x1b[31m"), "gae_lambda"),
    ],
)
def test_what_cannot_be_had_here_is_named(change, says, tmp_path):
    with pytest.raises(TeguError, match=says) as raised:
        imported(rewritten(tmp_path, "ppo", change), "CartPole-v1")
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def with_data(**changes):
    return lambda data: data.update(changes)


@pytest.mark.parametrize(
    ("name", "environment", "change", "says"),
    [
        ("a2c", "CartPole-v1", with_data(cg_max_steps=15), "a model of another algorithm"),
        ("sac", "MountainCarContinuous-v0", with_data(), "shape of its observation_space is \\[3\\], not \\(2,\\)"),
        ("sac", "Pendulum-v1", lambda data: data["action_space"].update(low="[-1.]"), "low of its action_space is"),
        ("ppo", "CartPole-v1", lambda data: data["action_space"].update(n="3"), "n of its action_space is 3, not 2"),
        (
            "ppo",
            "CartPole-v1",
            lambda data: data["action_space"].update({":type:": "<class 'gymnasium.spaces.box.Box'>"}),
            "its action_space is of <class 'gymnasium.spaces.box.Box'>, expected Discrete\\(2\\)",
        ),
    ],
)
def test_spaces_and_algorithms_must_be_the_same(name, environment, change, says, tmp_path):
    model = rewritten(tmp_path, name, change)
    with pytest.raises(TeguError, match=says):
        imported(model, environment)


def test_nothing_stays_random(tmp_path):
    nothing = torch_file(pickle.dumps({}, 2))
    for name, environment in (("dqn", "CartPole-v1"), ("td3", "Pendulum-v1"), ("a2c", "CartPole-v1")):
        with pytest.raises(TeguError, match=r"has no action_net|has nothing for"):
            imported(rewritten(tmp_path, name, lambda data: None, policy_pth=nothing), environment)
    with pytest.raises(TeguError, match=r"it has nothing for \.log_ent_coef"):
        imported(rewritten(tmp_path, "sac", lambda data: None, pytorch_variables_pth=nothing), "Pendulum-v1")


def test_every_array_comes_to_its_place():
    """By two independent ways: the names there, and those here."""
    learner = imported(FOLDER / "td3.zip", "Pendulum-v1").agent.learner()
    with zipfile.ZipFile(FOLDER / "td3.zip") as archive:
        theirs = tensors(archive.read("policy.pth"), "td3")
    for ours, name in (
        (learner.actor.mlp, "actor.mu"),
        (learner.target_actor.mlp, "actor_target.mu"),
        (learner.critics[0].mlp, "critic.qf0"),
        (learner.critics[1].mlp, "critic.qf1"),
        (learner.target_critics[0].mlp, "critic_target.qf0"),
        (learner.target_critics[1].mlp, "critic_target.qf1"),
    ):
        for number, (weight, bias) in enumerate(zip(ours.weights, ours.biases, strict=True)):
            np.testing.assert_array_equal(weight, theirs[f"{name}.{2 * number}.weight"].T)
            np.testing.assert_array_equal(bias, theirs[f"{name}.{2 * number}.bias"])
    sac = imported(FOLDER / "sac.zip", "Pendulum-v1").agent.learner()
    with zipfile.ZipFile(FOLDER / "sac.zip") as archive:
        coefficient = tensors(archive.read("pytorch_variables.pth"), "sac")["log_ent_coef"]
    assert float(sac.log_ent_coef) == float(coefficient[0]) < 0


def test_settings_that_tegu_has_otherwise_are_named(tmp_path):
    def change(data):
        data.update(n_steps=3, replay_buffer_kwargs={"n_sampled_goal": 4}, dueling=True, network="x:y")

    agent, left_out = imported(rewritten(tmp_path, "td3", change), "Pendulum-v1")
    assert left_out == ["train_freq", "n_steps", "replay_buffer_kwargs"]
    assert agent.algorithm.network is None


def test_files_that_are_no_models(tmp_path):
    for content, says in ((b"", "cannot be read"), (b"PK\x03\x04 but not more", "cannot be read")):
        (tmp_path / "x.zip").write_bytes(content)
        with pytest.raises(TeguError, match=says):
            imported(tmp_path / "x.zip", "CartPole-v1")
    with pytest.raises(TeguError, match="No such file"):
        imported(tmp_path / "nothing.zip", "CartPole-v1")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(TeguError, match="is no model of Stable-Baselines3: it has no data"):
        imported(tmp_path / "empty.zip", "CartPole-v1")
    with pytest.raises(TeguError, match="data is no table"):
        imported(rewritten(tmp_path, "ppo", lambda data: None, data=b"[]"), "CartPole-v1")


def test_tensors_are_those_of_pytorch():
    found = tensors((FOLDER / "tensors.pth").read_bytes(), "tensors.pth")
    with np.load(FOLDER / "tensors.npz") as expected:
        assert found.keys() == set(expected.files)
        for name, array in found.items():
            assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
            np.testing.assert_array_equal(array, expected[name])


def torch_file(program, **members):
    """A file as ``torch.save`` writes it, with a pickle of one's own."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {"data.pkl": program, "byteorder": b"little", **members}.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


class Runs:
    """Its pickle is a program that makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_is_run(protocol, tmp_path):
    target = tmp_path / "made"
    program = pickle.dumps({"weight": Runs(target)}, protocol)
    with pytest.raises(TeguError, match=r"^x is not loaded: "):
        tensors(torch_file(program), "x")
    assert not target.exists()
    pickle.loads(program)  # as it would have been
    assert target.exists()


PREFIX = b"\x80\x02}X\x01\x00\x00\x00w"  # a dict, and the name of what is set in it
STORAGE = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
REST = b"\x89ccollections\nOrderedDict\n)RtRs."  # no gradient, no hooks; call, set, stop


def tensor_program(offset, shape, stride):
    """The pickle of one tensor in a storage of four numbers."""

    def numbers(values):
        return b"(" + b"".join(b"J" + int(value).to_bytes(4, "little", signed=True) for value in values) + b"t"

    return (
        PREFIX
        + b"ctorch._utils\n_rebuild_tensor_v2\n"
        + STORAGE
        + numbers([offset])[1:-1]
        + numbers(shape)
        + numbers(stride)
        + REST
    )


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "fits"),
    [
        (0, (2, 2), (2, 1), True),
        (1, (3,), (1,), True),
        (0, (0, 9), (1, 1), True),
        (1, (4,), (1,), False),
        (0, (2, 2), (3, 1), False),
        (-1, (2,), (1,), False),
        (0, (2,), (-1,), False),
        (0, (-2,), (1,), False),
        (0, (2**30, 2**30), (0, 0), False),
        (0, (2,), (1, 1), False),
    ],
)
def test_a_tensor_lies_within_its_numbers(offset, shape, stride, fits):
    """Outside are other parts of the memory."""
    numbers = np.arange(4, dtype="<f4")
    file = torch_file(tensor_program(offset, shape, stride), **{"data/0": numbers.tobytes()})
    if not fits:
        with pytest.raises(TeguError, match="x is not loaded: a tensor"):
            tensors(file, "x")
        return
    steps = tuple(4 * each for each in stride)
    expected = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps)
    np.testing.assert_array_equal(tensors(file, "x")["w"], expected)


def test_damaged_files_are_refused_in_one_line():
    whole = (FOLDER / "tensors.pth").read_bytes()
    random = np.random.default_rng(0)
    messages = []
    for number in range(600):
        broken = bytearray(whole[: random.integers(len(whole))] if number % 3 == 0 else whole)
        for place in random.integers(max(len(broken), 1), size=3 * bool(broken)):
            broken[place] = random.integers(256)
        try:
            assert all(isinstance(array, np.ndarray) for array in tensors(bytes(broken), "x").values())
        except TeguError as error:
            messages.append(str(error))
    assert len(messages) > 300
    assert not any("\n" in message for message in messages)


@pytest.mark.slow
def test_keys_that_are_no_names_are_never_hashed():
    """A tuple in three million others would overflow the stack of the interpreter."""
    with pytest.raises(TeguError, match="it holds something else than tables with names"):
        tensors(torch_file(b"\x80\x02})" + b"\x85" * 3_000_000 + b"K\x01s."), "x")
    doubled = b"".join(b"q\x00h\x00\x86" for _ in range(60))
    with pytest.raises(TeguError, match="it would call a tuple"):
        tensors(torch_file(b"\x80\x02)" + doubled + b")R."), "x")


def test_other_files_of_torch():
    for value in ([1, 2], {"a": 1}, "text", {1: 2}):
        with pytest.raises(TeguError, match="x is not loaded"):
            tensors(torch_file(pickle.dumps(value, 2)), "x")
    assert tensors(torch_file(pickle.dumps({}, 2)), "x") == {}
    with pytest.raises(TeguError, match="cannot be read"):
        tensors(pickle.dumps({}, 2), "x")  # as PyTorch wrote before 1.6
    with pytest.raises(TeguError, match="little-endian"):
        tensors(torch_file(pickle.dumps({}, 2), byteorder=b"big"), "x")
