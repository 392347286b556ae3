"""Updates from the same weights, batches and noise are Stable-Baselines3's, as ``record_sb3_off_policy.py`` found."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import given_noise
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from record_sb3_off_policy import ACTION, DISCRETE, FILE, HIDDEN, OBSERVATION, N, unpacked

import tegu
from tegu.core.auto import Auto
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step

SETTINGS = {
    "learning_rate": 1e-2,
    "gamma": 0.9,
    "tau": 0.1,
    "net_arch": tuple(HIDDEN),
    "activation": "tanh",
    "batch_size": N,
}
SEEN, BOX = spaces.Box(-9, 9, (OBSERVATION,)), spaces.Box(-1, 1, (ACTION,))
MAKE = {
    "dqn": lambda: tegu.DQN(**SETTINGS | {"tau": 1.0}, target_update_interval=1000),
    "ddpg": lambda: tegu.DDPG(**SETTINGS),
    "td3": lambda: tegu.TD3(**SETTINGS, target_policy_noise=0.4),
    "sac": lambda: tegu.SAC(**SETTINGS, ent_coef=Auto(0.2)),
    "tqc": lambda: tegu.TQC(**SETTINGS, n_quantiles=4, n_critics=3, top_quantiles_to_drop_per_net=1),
}

pytestmark = pytest.mark.usefixtures("x64")


def loaded(network: Any, found: Mapping[str, np.ndarray], *names: str) -> Any:
    """A network whose layers are those of PyTorch; several names are one layer, side by side."""
    layers = [name.split("+") for name in names]
    weights = tuple(jnp.asarray(np.concatenate([found[f"{n}.weight"] for n in layer]).T) for layer in layers)
    biases = tuple(jnp.asarray(np.concatenate([found[f"{n}.bias"] for n in layer])) for layer in layers)
    return eqx.tree_at(lambda network: (network.mlp.weights, network.mlp.biases), network, (weights, biases))


def learner_of(name: str, learner: Any, found: Mapping[str, np.ndarray]) -> Any:
    """The learner with SB3's weights, of networks and of targets."""
    if name == "dqn":
        nets = [[f"{part}.q_net.{i}" for i in (0, 2, 4)] for part in ("q_net", "q_net_target")]
        return learner._replace(
            online=loaded(learner.online, found, *nets[0]), target=loaded(learner.target, found, *nets[1])
        )
    if name in ("ddpg", "td3"):
        actors = {"actor": "actor", "target_actor": "actor_target"}
        policies = {
            field: loaded(learner.actor, found, *(f"{part}.mu.{i}" for i in (0, 2, 4)))
            for field, part in actors.items()
        }
    else:
        layers = "actor.latent_pi.0", "actor.latent_pi.2", "actor.mu+actor.log_std"
        policies = {"actor": loaded(learner.actor, found, *layers)}
    critics = {
        field: tuple(
            loaded(critic, found, *(f"{part}.qf{number}.{i}" for i in (0, 2, 4)))
            for number, critic in enumerate(learner.critics)
        )
        for field, part in {"critics": "critic", "target_critics": "critic_target"}.items()
    }
    if "log_ent_coef" in found:
        policies["log_ent_coef"] = jnp.asarray(found["log_ent_coef"])
    return learner._replace(**policies, **critics)


def steps_of(name: str, found: Mapping[str, np.ndarray], update: int) -> Step:
    seen, action, following, done, reward = (
        jnp.asarray(found[f"batch/{key}"][update])
        for key in ("observations", "actions", "next_observations", "dones", "rewards")
    )
    action = action[:, 0].astype(int) if name == "dqn" else action
    return Step(seen, action, reward[:, 0], following, done[:, 0] == 1, jnp.zeros(N, bool))


def part(found: Mapping[str, np.ndarray], when: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{when}/"): value for key, value in found.items() if key.startswith(f"{when}/")}


class Learned(NamedTuple):
    """What Tegu and SB3 make of the same."""

    algorithm: Any
    before: Any
    ours: Any
    theirs: Any
    reported: dict[str, float]  #: means over the updates
    logged: dict[str, np.ndarray]
    steps: list[Step]


@pytest.fixture
def learn() -> Any:
    def learn(name: str) -> Learned:
        recorded, algorithm = unpacked(np.load(FILE)[name]), MAKE[name]()
        spec = EnvironmentSpec("", SEEN, spaces.Discrete(DISCRETE) if name == "dqn" else BOX)
        fresh = algorithm.init(jax.random.key(0), spec)
        before = ours = learner_of(name, fresh, part(recorded, "before"))
        steps = [steps_of(name, recorded, update) for update in range(len(recorded["batch/rewards"]))]
        # SB3 draws the policy's noise before the target's, Tegu the other way round
        noise = [part[::-1] for part in np.split(recorded["noise"], len(steps))]
        reported = []
        for batch, drawn in zip(steps, noise, strict=True):
            ours, metrics = given_noise.update(algorithm, ours, batch, list(drawn))
            reported.append(metrics)
        theirs = learner_of(name, fresh, part(recorded, "after"))
        means = {key: float(np.mean([each[key] for each in reported])) for key in reported[0]}
        return Learned(algorithm, before, ours, theirs, means, part(recorded, "logged"), steps)

    return learn


def numbers(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def agree(learned: Learned, fields: Sequence[str], logged: Sequence[str]) -> None:
    for field in fields:
        ours, before, theirs = (
            numbers(getattr(each, field)) for each in (learned.ours, learned.before, learned.theirs)
        )
        assert (np.abs(theirs - before) > 1e-6).mean() > 0.5, f"{field} has learned nothing"
        np.testing.assert_allclose(ours, theirs, atol=1e-9, err_msg=field)
    for key in logged:
        np.testing.assert_allclose(learned.reported[key], learned.logged[key], rtol=1e-9, err_msg=key)


@pytest.mark.slow
def test_dqn(learn: Any) -> None:
    agree(learn("dqn"), ("online",), ("loss",))


@pytest.mark.slow
def test_td3(learn: Any) -> None:
    """Two updates, so that the actor and all targets have moved once."""
    learned = learn("td3")
    agree(learned, ("actor", "critics", "target_actor", "target_critics"), ("critic_loss",))
    np.testing.assert_allclose(learned.ours.actor_loss, learned.logged["actor_loss"], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "tqc"])
def test_sac(learn: Any, name: str) -> None:
    learned = learn(name)
    losses = ("critic_loss", "actor_loss", "ent_coef", "ent_coef_loss")
    agree(learned, ("actor", "critics", "target_critics", "log_ent_coef"), losses)


@pytest.mark.slow
def test_ddpg(learn: Any) -> None:
    """One update. SB3's actor learns from the new critic, Tegu's from the old one: with the new one it is theirs."""
    learned = learn("ddpg")
    agree(learned, ("critics", "target_critics"), ("critic_loss",))
    given = learned.before, learned.theirs.critics, learned.theirs.critics[0], learned.steps[0].observation
    learned = learned._replace(ours=learned.before._replace(**learned.algorithm.policy_update(*given)))
    agree(learned, ("actor", "target_actor"), ())
    np.testing.assert_allclose(learned.ours.actor_loss, learned.logged["actor_loss"], rtol=1e-9)
