"""What must hold for every algorithm that is registered: a new one is tested here without a line of its own."""

import ast
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from duet import Duet

import tegu
from tegu.algorithms.base import Algorithm, Update
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.registry import algorithm, class_of, constructor, fitting, settings, summary
from tegu.core.auto import Auto
from tegu.core.schedule import Clock, Linear
from tegu.experience.base import Feedback, Replay, Rollout
from tegu.training.fitting import validate
from tegu.training.fused import Fused
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
WORLDS = [
    tegu.make("lizard"),
    tegu.make("CartPole-v1"),
    tegu.make("Pendulum-v1"),
    tegu.make("tic-tac-toe"),
    Duet(),
]  #: an algorithm lives in the first where it fits
SMALL = {
    "net_arch": (8,),
    "critic_arch": (8,),
    "n_steps": 4,
    "batch_size": 8,
    "buffer_size": 64,
    "learning_starts": 8,
    "train_freq": 4,
    "gradient_steps": 2,
    "width": 8,
    "blocks": 1,
    "simulations": 4,
    "burn_in": 1,
    "sequence_length": 2,
    "lstm_hidden_size": 4,
}  #: of which an algorithm gets those that it has
VARIANTS = {"maddpg": {"ensemble": 2, "infer_policies": True}, "ippo": {"share_parameters": True}}
ONE_OF_EACH_CLASS = list({entry.path: name for name, entry in ALGORITHMS.items()}.values())


def fits():
    """The worlds by the algorithms that can learn there."""
    found = {}
    for world in WORLDS:
        for name in fitting(spec_of(world.id, world, 1)):
            found.setdefault(name, world)
    return found


HOMES = fits()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_have_a_home(name):
    assert name in HOMES, "add a small world where it can learn"


@pytest.fixture(params=ALGORITHMS, scope="module")  # so that all tests of an algorithm follow each other
def name(request):
    return request.param


def built(name, **more):
    known = settings(name)
    small = {key: value for key, value in SMALL.items() if key in known}
    return algorithm(name, small | VARIANTS.get(name, {}) | more)


@pytest.fixture(scope="module")
def home(name):
    """An algorithm, its environment, and the specification of two of these side by side."""
    world = HOMES[name]
    made, spec = built(name), spec_of(world.id, world, 2)
    validate(made, spec)
    return made, world, spec


def iteration(home, *, learns):
    """The state of the fused loop, what an iteration makes of it, and what happened in it: all by their shapes."""
    made, environment, spec = home
    loop = Fused(made, environment, spec)
    state = jax.eval_shape(lambda made: loop.init(jnp.int32(0), made), made)
    after, _, happened = jax.eval_shape(lambda *given: loop.iteration(*given, learns=learns), state, made, CLOCK, CLOCK)
    return state, after, happened


@pytest.fixture(scope="module")
def learning(home):
    """An iteration that learns."""
    return iteration(home, learns=True)


def types(tree):
    return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]


CLOCK = Clock(*(jax.ShapeDtypeStruct((), dtype) for dtype in (np.int32, np.float32)))


def keeps_its_types(state, after):
    for part in ("learner", "buffer", "collector"):
        assert types(getattr(after, part)) == types(getattr(state, part))
        assert jax.tree.structure(getattr(after, part)) == jax.tree.structure(getattr(state, part))


def test_a_run_keeps_its_types(learning):
    """No array is of a weak type, and an iteration hands back exactly the types it was given.

    So nothing is compiled twice, and a checkpoint fits.
    """
    state, after, _ = learning
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state.learner))
    keeps_its_types(state, after)


def test_a_run_keeps_its_types_while_it_waits(home):
    if not isinstance(home[0].experience, Replay):
        pytest.skip("it has nothing to wait for")
    state, after, _ = iteration(home, learns=False)
    keeps_its_types(state, after)


def test_figures_are_scalars(home, learning):
    metrics = learning[2][2]
    assert len(metrics) > (0 if home[0].name == "mpc" else 2)  # which learns nothing
    assert {(leaf.shape, leaf.dtype) for leaf in metrics.values()} == {((), np.dtype(np.float32))}


@pytest.mark.parametrize("n_envs", [1, 8])
def test_what_is_learned_has_the_same_shape_for_any_number_of_environments(home, n_envs):
    """A learner holds nothing of single environments: it can go on, be loaded and be evaluated with others."""
    made, environment, _ = home
    one, other = (
        jax.eval_shape(lambda spec=spec: made.init(KEY, spec))
        for spec in (spec_of(environment.id, environment, n) for n in (2, n_envs))
    )
    assert types(one) == types(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)


def test_updates_answer_in_the_words_of_the_contract(home):
    """``take`` keeps rows of the same steps, ``act`` decides for each environment, ``update`` returns an ``Update``."""
    made, environment, spec = home
    loop, seen = Fused(made, environment, spec), {}

    def one(made):
        state = loop.init(jnp.int32(0), made)
        now = made.at(Clock.of(1, 2))
        _, steps, _ = loop.collect(made, state.learner, state.collector, KEY, Clock.of(1, 2))
        decision = now.act(state.learner, state.collector.observation, state.collector.memory, KEY, explore=False)
        seen["memory"] = jax.tree.structure(decision.memory) == jax.tree.structure(state.collector.memory)
        batch, taken = steps, (state.learner, steps)
        if loop.size.replays:
            taken = now.take(state.learner, steps)
            batch = state.buffer.draw(KEY, made.experience, spec.n_envs).batch
        update = now.update(taken[0], batch, KEY)
        seen["update"], seen["feedback"] = isinstance(update, Update), isinstance(update.feedback, Feedback)
        return decision, taken, update

    decision, taken, update = jax.eval_shape(one, made)
    assert all(seen.values())
    assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(decision))
    assert all(leaf.shape[:2] == (loop.size.n_steps, 2) for leaf in jax.tree.leaves(taken[1]))
    assert types(taken[0]) == types(update.learner)
    assert isinstance(made.experience, Rollout | Replay)


def test_nothing_is_scheduled_any_more_once_it_is_at_a_clock(name):
    """And the numbers in between are those of the schedule, wherever the field is kept."""
    if "learning_rate" not in settings(name):
        pytest.skip("it has no schedule")
    falling, half = built(name, learning_rate="lin_0.5"), built(name, learning_rate=0.25)
    now = falling.at(Clock.of(50, 100))
    assert not [leaf for leaf in jax.tree.leaves(now, is_leaf=is_linear) if is_linear(leaf)]
    for one, other in zip(jax.tree.leaves(now), jax.tree.leaves(half.at(Clock.of(50, 100))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert type(now) is type(falling)
    assert jax.tree.structure(now.at(Clock.of(50, 100))) == jax.tree.structure(now)


def is_linear(leaf):
    return isinstance(leaf, Linear)


def test_numbers_are_arguments_of_a_program_and_shapes_are_not(name):
    """Every float hyper-parameter is a leaf: one compiled program serves all its values."""
    made = built(name)
    for key, setting in settings(name).items():
        if float not in setting.kinds:
            continue
        value = next(x for x in (0.125, -0.125, 1.125) if setting.range is None or x in setting.range)
        other = built(name, **{key: value})
        same = jax.tree.structure(other) == jax.tree.structure(made)
        assert same or setting.default is None or Auto in setting.kinds, key
        assert value in jax.tree.leaves(other), key


def test_names_lead_to_the_same_algorithm(name):
    made = algorithm(name, {})
    assert made.name == name
    assert made == constructor(name)()
    assert made == getattr(tegu, ALGORITHMS[name].public)()
    assert isinstance(made, class_of(name))


def test_an_algorithm_says_what_it_is_in_one_sentence(name):
    """A variant something else than its class, in Python too."""
    entry, said = ALGORITHMS[name], summary(name)
    assert said.endswith(".")
    assert "\n" not in said
    if entry.defaults:
        assert said == entry.summary
        assert constructor(name).__doc__.startswith(said)
        assert [summary(other) for other in ALGORITHMS].count(said) == 1


def test_every_hyper_parameter_says_what_it_is(name):
    for key, setting in settings(name).items():
        assert setting.help, key
        assert setting.name == key


@pytest.mark.parametrize("name", ONE_OF_EACH_CLASS)
def test_classes_are_one_level_under_algorithm(name):
    """What algorithms share is in functions and fields, not in classes between."""
    assert class_of(name).__bases__ == (Algorithm,)


def test_no_file_of_algorithms_has_others_between():
    """Also of those that are not registered."""
    found = {}
    for path in Path(tegu.algorithms.base.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name: [ast.unparse(base) for base in node.bases] for node in tree.body if is_class(node)}
    for bases in found.values():
        assert all(base not in found or base == "Algorithm" for base in bases), bases


def is_class(node):
    return isinstance(node, ast.ClassDef)


def test_fields_that_are_worked_out_are_no_hyper_parameters(name):
    derived = {field.name for field in dataclasses.fields(class_of(name)) if field.metadata.get("derived")}
    assert not derived & settings(name).keys()
    assert "name" not in settings(name)
