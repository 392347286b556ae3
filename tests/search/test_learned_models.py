"""Gumbel's search in models that are tables, against a search in plain Python, and against the best there is to do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.search.planning import Model, Outcome, Root, gumbel, puct

KEY, B, S, A, GAMMA = jax.random.key(0), 6, 12, 4, 0.9
C_SCALE = 0.2
OPTIONS = {"noise": 0.0, "c_scale": C_SCALE}


def tables(seed):
    """``S`` states with ``A`` actions each: next states, rewards, logits and values."""
    rng = np.random.default_rng(seed)
    return {
        "next": rng.integers(S, size=(S, A)).astype(np.int32),
        "reward": rng.normal(size=(S, A)).astype(np.float32),
        "logits": rng.normal(size=(S, A)).astype(np.float32),
        "value": 3 * rng.normal(size=S).astype(np.float32),
    }


def model(discount=GAMMA, legal=None):
    """The tables, which are the search's parameters, as a model; ``legal`` bool ``[A]`` at the root."""

    def root(known, state):
        mask = None if legal is None else jnp.broadcast_to(legal, (len(state), A))
        return Root(known["logits"][state], known["value"][state], state, mask)

    def step(known, key, action, state):
        after = known["next"][state, action]
        paid = known["reward"][state, action]
        return Outcome(paid, jnp.full(len(state), discount), known["logits"][after], known["value"][after]), after

    return Model(root, step)


class Node:
    """A node of the search in plain Python (Danihelka et al. 2022, and appendix D for the mixed value)."""

    def __init__(self, known, state, illegal=()):
        self.known, self.state, self.illegal = known, int(state), set(illegal)
        self.logits = known["logits"][state].astype(float)
        self.raw = self.mean = float(known["value"][state])
        self.children, self.visits, self.n = {}, np.zeros(A, int), 1

    def q(self, action, discount):
        return float(self.known["reward"][self.state, action]) + discount * self.children[action].mean

    def nodes(self):
        return [self] + [node for child in self.children.values() for node in child.nodes()]


def completed(node, root, discount, normalize):
    """The completed action values of a node, times c_scale and (50 + the most visits)."""
    q = np.array([node.q(a, discount) if node.visits[a] else 0.0 for a in range(A)])
    raw = node.raw
    if normalize:
        found = [root.raw] + [each.q(a, discount) for each in root.nodes() for a in each.children]
        least, size = min(found), max(found) - min(found) or 1.0
        q, raw = (q - least) / size, (raw - least) / size
    seen = node.visits > 0
    prior = np.exp(node.logits - node.logits.max()) * np.array([a not in node.illegal for a in range(A)])
    weighted = (prior * q)[seen].sum() / prior[seen].sum() if seen.any() else 0.0
    mixed = (raw + node.visits.sum() * weighted) / (1 + node.visits.sum())
    return (50 + node.visits.max()) * C_SCALE * np.where(seen, q, mixed)


def searched(known, state, simulations, discount, normalize, illegal=()):
    """The root after a search without noise, its action and its improved policy."""
    root = Node(known, state, illegal)
    legal = [a for a in range(A) if a not in illegal]

    def score(action):
        return root.logits[action] + completed(root, root, discount, normalize)[action]

    def simulate(action):
        path, node = [(root, action)], root.children.get(action)
        while node is not None:
            improved = np.exp(node.logits + completed(node, root, discount, normalize))
            improved /= improved.sum()
            action = int(np.argmax(improved - node.visits / (1 + node.visits.sum())))
            path.append((node, action))
            node = node.children.get(action)
        parent, action = path[-1]
        parent.children[action] = leaf = Node(known, known["next"][parent.state, action])
        value = leaf.raw
        for parent, action in reversed(path):
            value = float(known["reward"][parent.state, action]) + discount * value
            parent.mean = (parent.mean * parent.n + value) / (parent.n + 1)
            parent.n += 1
            parent.visits[action] += 1

    # sequential halving: each of the actions considered is tried as often as the others, then the better half of them
    considered, phases, tried = len(legal), int(np.ceil(np.log2(len(legal)))), 0
    while root.visits.sum() < simulations:
        for _ in range(max(1, simulations // (phases * considered))):
            for _ in range(considered):
                if root.visits.sum() < simulations:
                    simulate(max((a for a in legal if root.visits[a] == tried), key=score))
            tried += 1
        considered = max(2, considered // 2)
    most = root.visits.max()
    action = max((a for a in legal if root.visits[a] == most), key=score)
    policy = np.exp(root.logits + completed(root, root, discount, normalize))
    policy[list(illegal)] = 0
    return root, action, policy / policy.sum()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("discount", [GAMMA, -1.0])
def test_a_search_is_what_the_paper_says(normalize, discount):
    """Of each of several states, with an action that is illegal at the root alone."""
    legal, simulations = np.array([True, True, False, True]), 24
    states = jnp.arange(B)
    search = jax.jit(partial(gumbel, model(discount, legal), simulations=simulations, **OPTIONS, normalize=normalize))
    for seed in range(3):
        known = tables(seed)
        found = jax.device_get(search(known, states, KEY))
        for b in range(B):
            root, action, policy = searched(known, b, simulations, discount, normalize, illegal=(2,))
            np.testing.assert_array_equal(found.visits[b], root.visits)
            assert found.action[b] == action
            np.testing.assert_allclose(found.policy[b], policy, rtol=1e-3, atol=1e-6)
            values = [root.q(a, discount) if root.visits[a] else 0.0 for a in range(A)]
            np.testing.assert_allclose(found.action_values[b], values, rtol=1e-4, atol=1e-5)


def test_normalized_values_do_not_depend_on_the_unit_of_rewards():
    """Nor on a value that all states have more."""
    search = jax.jit(partial(gumbel, model(1.0), simulations=24, **OPTIONS, normalize=True))
    known, states = tables(5), jnp.arange(B)
    other = known | {"reward": 64 * known["reward"], "value": 64 * known["value"] + 256}
    one, two = search(known, states, KEY), search(other, states, KEY)
    np.testing.assert_array_equal(one.visits, two.visits)
    np.testing.assert_allclose(one.policy, two.policy, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(64 * one.value + 256, two.value, rtol=1e-4)


GREEDY = [partial(gumbel, **OPTIONS, normalize=True), partial(puct, dirichlet_fraction=0.0, temperature=0.0)]


@pytest.mark.slow
@pytest.mark.parametrize("search", GREEDY, ids=["gumbel", "puct"])
def test_with_a_perfect_model_the_best_action_is_found(search):
    """Against value iteration, without a prior: where states are worth what the best policy earns, hardly anything is
    lost of what random actions lose."""
    compiled, lost, lost_at_random = jax.jit(partial(search, model(), simulations=64)), [], []
    for seed in range(5):
        known = tables(seed)
        exact = np.zeros(S)
        for _ in range(300):
            q = known["reward"] + GAMMA * exact[known["next"]]
            exact = q.max(axis=1)
        found = compiled(known | {"value": exact.astype(np.float32), "logits": 0 * known["logits"]}, jnp.arange(S), KEY)
        lost.append(exact - q[np.arange(S), found.action])
        lost_at_random.append(exact - q.mean(axis=1))
        assert (np.asarray(found.action_values) <= q + 1e-4)[found.visits > 0].all(), "what was found can be done"
    assert np.mean(lost) < 0.2 * np.mean(lost_at_random)
