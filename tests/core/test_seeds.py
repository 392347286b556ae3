"""Many seeds in one program, each computed as it would be alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.core.seeds import Layout, first_entropy, first_key, stacked
from tegu.core.trees import to_arrays
from tegu.training.loops import make_loop
from tegu.training.plan import make_plan

SEEDS = [1, 2, 3, 5]


def test_no_phase_draws_what_another_does() -> None:
    drawn = [jax.random.key_data(first_key(seed, phase)) for seed in range(3) for phase in range(4)]
    drawn += [jax.random.key_data(jax.random.split(first_key(seed), n)) for seed in range(3) for n in (2, 3, 5)]
    keys = np.concatenate([np.reshape(each, (-1, 2)) for each in drawn])
    twice = 3 * (2 + 3)  # a key's first parts do not depend on how many there are
    assert len(np.unique(keys, axis=0)) == len(keys) - twice
    assert (jax.random.key_data(first_key(5)) == jax.random.key_data(jax.random.key(5))).all()


def test_no_environment_of_the_host_has_an_episode_of_another_one_or_of_another_phase() -> None:
    """An adapter adds the number of the episode, and NumPy takes missing numbers for zeros."""
    counted = [
        np.random.SeedSequence([*first_entropy(seed, environment, phase), episode]).generate_state(2)
        for seed in range(2)
        for environment in range(4)
        for phase in range(4)
        for episode in range(4)
    ]
    assert len(np.unique(counted, axis=0)) == len(counted)


# The layout alone


def tree_of(n_seeds: int) -> dict[str, Any]:
    rng = np.random.default_rng(n_seeds)
    return {
        "x": rng.normal(size=(n_seeds, 4)).astype(np.float32),
        "n": np.arange(n_seeds, dtype=np.int32),
        "key": stacked([jax.random.key(seed) for seed in range(n_seeds)]),
    }


def as_numpy(tree: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: to_arrays({"a": leaf})["['a']"] for name, leaf in tree.items()}


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_joining_undoes_splitting(n_seeds: int) -> None:
    layout, tree = Layout(n_seeds), tree_of(n_seeds)
    parts = layout.split(tree)
    assert len({len(part["n"]) for part in parts}) == 1, "one program serves all parts"
    joined = layout.join(parts)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(joined))
    jax.tree.map(np.testing.assert_array_equal, joined, as_numpy(tree))


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_each_seed_is_found_once_and_in_order(n_seeds: int) -> None:
    layout, tree = Layout(n_seeds), tree_of(n_seeds)
    found = list(layout.each(layout.split(tree)))
    assert [int(part["n"]) for part in found] == list(range(n_seeds))
    for i, part in enumerate(found):
        np.testing.assert_array_equal(part["x"], tree["x"][i])
        np.testing.assert_array_equal(jax.random.key_data(part["key"]), jax.random.key_data(tree["key"][i]))


def work(part: dict[str, Any], rate: jax.Array) -> dict[str, Any]:
    """Of one seed: matrix products and random numbers, of which rounding shows."""
    noise = jax.random.normal(part["key"], (4, 4))

    def step(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        x = jnp.tanh(noise @ x + rate * part["n"])
        return x, x.sum()

    x, sums = jax.lax.scan(step, part["x"], length=50)
    return {"x": x, "sums": sums, "key": jax.random.split(part["key"])[0]}


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_a_program_computes_for_each_seed_what_it_would_alone(n_seeds: int) -> None:
    """To the bit, whichever core takes it."""
    layout, tree, rate = Layout(n_seeds), tree_of(n_seeds), np.float32(0.1)
    program = layout.program(work, n_shared=1)
    results = layout.join(program(layout.split(tree), rate))
    alone = Layout(1)
    one_program = alone.program(work, n_shared=1)
    for i in range(n_seeds):
        one = alone.join(one_program(alone.split(jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], tree)), rate))
        jax.tree.map(lambda many, its, i=i: np.testing.assert_array_equal(many[i], its[0]), results, one)


@pytest.mark.parametrize("n_seeds", SEEDS)
def test_programs_take_several_trees_and_give_back_what_the_next_call_takes(n_seeds: int) -> None:
    layout, tree = Layout(n_seeds), tree_of(n_seeds)

    def go_on(part: dict[str, Any], more: jax.Array) -> dict[str, Any]:
        return part | {"x": part["x"] + more}

    program = layout.program(go_on, donate_argnums=0)
    parts = layout.split(jax.tree.map(jnp.array, tree))
    more = layout.split(np.arange(n_seeds, dtype=np.float32))
    for _ in range(3):
        parts = program(parts, more)
    expected = tree["x"].copy()
    for _ in range(3):
        expected += np.arange(n_seeds, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(layout.join(parts)["x"], expected)


def test_stacked_numbers_are_arrays() -> None:
    both = stacked([{"a": 1.5, "b": np.ones(2)}, {"a": 2.5, "b": np.zeros(2)}])
    np.testing.assert_array_equal(both["a"], [1.5, 2.5])
    assert both["b"].shape == (2, 2)


TASKS: list[tuple[str, str, dict[str, Any]]] = [
    ("CartPole-v1", "ppo", {"n_envs": 4, "n_steps": 32, "batch_size": 64, "n_epochs": 2, "net_arch": [16]}),
    (
        "CartPole-v1",
        "dqn",
        {"n_envs": 2, "buffer_size": 500, "learning_starts": 50, "batch_size": 16, "net_arch": [16]},
    ),
    ("lizard", "q-learning", {"n_envs": 1}),
]  #: small settings that compile in a second or two
tasks = pytest.mark.parametrize(("environment", "algorithm", "settings"), TASKS, ids=[task[1] for task in TASKS])


@pytest.mark.slow
@tasks
def test_nothing_is_compiled_twice(environment, algorithm, settings) -> None:
    """What a chunk hands back has exactly the types it was given, so the next one runs the same program."""
    loop = make_loop(make_plan(environment, algorithm, steps=10_000, **settings))
    state, steps = loop.start(), 0
    for _ in range(5):
        state, tally = loop.chunk(state, 20, steps, 10_000)
        steps += int(tally.iterations[0]) * loop.steps_per_iteration
    warms_up = algorithm == "dqn"
    assert [len(program._compiled) for program in loop._chunk.values()] == [int(warms_up), 1]
