"""Attention over lists of entities: against loops in float64, its symmetries, and where nothing is seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.core.spec import EnvironmentSpec
from tegu.nn.attention import CircularConv, EntityAttention, SelfAttention, attention, entities
from tegu.nn.description import describe
from tegu.nn.encoder import Encoder
from tegu.nn.heads import ActorCritic, QNetwork
from tegu.spaces.features import features

KEY = jax.random.key(0)
made_by = eqx.filter_jit(lambda network, *seen: network(*seen))
WORLD = spaces.Dict(
    {
        "action_mask": spaces.MultiBinary(2),
        "a": spaces.Box(-1, 1, (3, 2)),
        "light": spaces.Discrete(3),
        "more": spaces.Dict({"b": spaces.Box(-1, 1, (4, 5)), "self": spaces.Box(-1, 1, (2,))}),
    }
)
N = 6 + 3 + 20 + 2
FLAT = spaces.Box(-1, 1, (4,))
ONLY = spaces.Dict({"a": spaces.Box(-1, 1, (3, 2))})


def spec_of(space, actions=None):
    return EnvironmentSpec("test", space, actions or spaces.Discrete(2))


def observed(*, a=(True, False, True), b=(False, True, True, True), batch=(2, 3)):
    """Features ``[*batch, N]``, of which these entities are present."""
    x = np.random.default_rng(0).normal(size=(*batch, N)).astype(np.float32)
    x[..., :6] *= np.repeat(a, 2)
    x[..., 9:29] *= np.repeat(b, 5)
    return x


def shuffled(x, order_a, order_b):
    a, b = x[..., :6].reshape((*x.shape[:-1], 3, 2)), x[..., 9:29].reshape((*x.shape[:-1], 4, 5))
    parts = [a[..., order_a, :], x[..., 6:9], b[..., order_b, :], x[..., 29:]]
    return np.concatenate([part.reshape((*x.shape[:-1], -1)) for part in parts], axis=-1)


def by_hand(network, x):
    """What the network makes of one vector of features, entity by entity and head by head."""
    x = np.float64(x)

    def dense(layer, inputs):
        return inputs @ np.float64(layer.weight) + np.float64(layer.bias)

    own = np.concatenate([x[6:9], x[29:]])
    embedded = [np.maximum(dense(network.own, own), 0)]
    for layer, rows in zip(network.kinds, (x[:6].reshape(3, 2), x[9:29].reshape(4, 5)), strict=True):
        embedded += [np.maximum(dense(layer, np.concatenate([own, row])), 0) for row in rows if row.any()]
    myself, every = embedded[0], embedded
    for block in network.blocks:
        width = len(myself)
        size = width // block.heads
        query, key, value = zip(*(np.split(dense(block.projection, each), 3) for each in every), strict=True)
        after = []
        for i, each in enumerate(every):
            heads = []
            for start in range(0, width, size):
                part = slice(start, start + size)
                weights = np.exp([query[i][part] @ k[part] / np.sqrt(size) for k in key])
                heads.append(sum(w * v[part] for w, v in zip(weights / weights.sum(), value, strict=True)))
            total = each + dense(block.output, np.concatenate(heads))
            after.append((total - total.mean()) / np.sqrt(total.var() + 1e-5))
        every = after
    return np.concatenate([myself, np.mean(every, axis=0)])


@pytest.mark.parametrize(
    ("space", "found"),
    [
        (WORLD, [(0, 3, 2), (9, 4, 5)]),
        (ONLY, [(0, 3, 2)]),
        (spaces.Dict({"a": spaces.Box(0, 1, (0, 2)), "b": spaces.MultiBinary((2, 2)), "c": FLAT}), []),
        (spaces.Dict({"action_mask": spaces.Box(0, 1, (2, 2)), "b": spaces.Box(0, 1, (1, 2))}), [(0, 1, 2)]),
        (spaces.Box(-1, 1, (3, 2)), []),  # all that is observed: a matrix
        (spaces.Discrete(3), []),
    ],
)
def test_entities_are_the_rows_of_boxes_in_a_dict(space, found):
    assert [tuple(kind) for kind in entities(space)] == found


def test_entities_lie_among_the_features_where_they_are_said_to():
    seen = {name: jnp.asarray(part) for name, part in WORLD.sample().items() if name != "more"}
    seen["more"] = {name: jnp.asarray(part) for name, part in WORLD["more"].sample().items()}
    a, b = (kind.of(features(WORLD, seen)) for kind in entities(WORLD))
    np.testing.assert_array_equal(a, seen["a"])
    np.testing.assert_array_equal(b, seen["more"]["b"])


@pytest.mark.parametrize(("heads", "blocks"), [(1, 1), (4, 2)])
def test_it_is_the_papers_network(heads, blocks):
    """Against loops over entities and heads that leave out those who are absent."""
    network, x = EntityAttention(KEY, WORLD, 8, heads, blocks), observed()
    expected = [by_hand(network, one) for one in x.reshape(-1, N)]
    np.testing.assert_allclose(made_by(network, x).reshape(-1, 16), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_entities_of_a_kind_makes_no_difference():
    """Which of them are absent is shuffled with them. Before the mean, embeddings come in the order of entities."""
    network, x = EntityAttention(KEY, WORLD, 8, 2), observed()
    made = made_by(network, x)
    np.testing.assert_allclose(made_by(network, shuffled(x, [2, 0, 1], [3, 1, 0, 2])), made, rtol=1e-5, atol=1e-6)
    assert np.abs(made_by(network, x + np.float32(np.eye(N)[0])) - made).max() > 1e-3
    block, order = SelfAttention(KEY, 8, 2), np.array([2, 0, 3, 1])
    every, present = jax.random.normal(KEY, (5, 4, 8)), jnp.array([True, False, True, True])
    after = made_by(block, every[:, order], present[order])
    np.testing.assert_allclose(after, made_by(block, every, present)[:, order], rtol=1e-5, atol=1e-6)


def test_nothing_attends_to_what_is_absent():
    query, key, value = jax.random.normal(KEY, (3, 4, 2, 3))
    present = jnp.array([True, False, True, False])
    seen = attention(query, key, value, present)
    other = attention(query, key.at[1].add(9), value.at[3].add(9), present)
    np.testing.assert_array_equal(seen, other)
    np.testing.assert_allclose(seen, attention(query, key[::2], value[::2], jnp.ones(2, bool)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("space", "own"), [(WORLD, 1.0), (WORLD, 0.0), (ONLY, 0.0)])
def test_where_nothing_is_seen_all_is_finite(space, own):
    """The agent itself is the mean of all that there is: also where it has no features, and is what is learned."""
    network = EntityAttention(KEY, space, 8, 2)
    x = np.full((2, network.inputs), own, np.float32)
    for kind in network.lists:
        x[:, kind.start : kind.stop] = 0

    @jax.jit
    def squares(network, x):
        made = network(x)
        return (made**2).sum(), made

    (_, made), gradient = jax.value_and_grad(squares, (0, 1), has_aux=True)(network, x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((made, gradient)))
    assert np.asarray(made[:, 8:]).any() == (own > 0 or space is ONLY)


def test_gradients_are_those_of_finite_differences():
    """In one direction of all parameters and features."""
    with jax.enable_x64(True):
        network = jax.tree.map(lambda leaf: np.float64(leaf), EntityAttention(KEY, WORLD, 4, 2))
        x = np.float64(observed(batch=(2,)))

        @jax.jit
        def loss(network, x):
            return jnp.sin(network(x)).sum()

        def loss_at(h):
            return loss(jax.tree.map(lambda leaf, way: leaf + h * way, network, to), x + h * to_x)

        gradient, by_x = jax.grad(loss, (0, 1))(network, x)
        rng = np.random.default_rng(1)
        to = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), network)
        to_x = rng.normal(size=x.shape) * (x != 0)  # what is absent stays so
        slope = sum(np.vdot(g, way) for g, way in zip(jax.tree.leaves(gradient), jax.tree.leaves(to), strict=True))
        slope += np.vdot(by_x, to_x)
        np.testing.assert_allclose(slope, (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("gain", [None, 1.5])
def test_an_encoder_attends_and_a_layer_may_follow(gain):
    plain, wide = (Encoder(KEY, WORLD, name, gain) for name in ("attention", "attention:5"))
    x = observed()
    assert (plain.outputs, wide.outputs) == (256, 5)
    made = made_by(plain, x)
    np.testing.assert_allclose(made[1, 2], by_hand(plain.attention, x[1, 2]), rtol=1e-3, atol=1e-4)
    (weights,), (biases,) = wide.layers[0].weights, wide.layers[0].biases
    np.testing.assert_allclose(made_by(wide, x), np.maximum(made @ weights + biases, 0), rtol=1e-4, atol=1e-5)


def test_it_is_described():
    def described(network, *arguments):
        shapes = eqx.filter_eval_shape(network, KEY, *arguments)
        return describe(getattr(shapes, "parts", [("", shapes)]))

    assert described(QNetwork, spec_of(WORLD), (4,), "relu", "attention:16").startswith(
        "entity attention 5+3x2+4x5-16, MLP 16-4-2, relu; "
    )
    assert described(ActorCritic, spec_of(WORLD), (4,), "tanh", 0.0, None, "attention").startswith(
        "entity attention 5+3x2+4x5; actor MLP 256-4-2, tanh; critic MLP 256-4-1, tanh; "
    )
    both = spaces.Dict({"own": ONLY, "state": WORLD})
    assert described(ActorCritic, spec_of(both), (4,), "tanh", 0.0, ONLY, "attention").startswith(
        "actor entity attention 0+3x2, MLP 256-4-2, tanh; critic entity attention 5+3x2+3x2+4x5, MLP 256-4-1, tanh; "
    )


def test_an_actor_attends_to_its_own_entities_and_the_critic_to_all():
    spec = spec_of(spaces.Dict({"own": ONLY, "state": WORLD}))
    network = jax.jit(lambda key: ActorCritic(key, spec, (4,), "tanh", 0.0, ONLY, "attention"))(KEY)
    x = np.random.default_rng(0).normal(size=(3, 6 + N)).astype(np.float32)
    x[1, 6:12] = 0  # of the state
    x[2, :6] = 0  # its own
    policy, value = made_by(network, x)
    np.testing.assert_allclose(policy.logits[0], made_by(network, x[:1])[0].logits[0], rtol=1e-5)
    others = made_by(network, np.concatenate([x[:, :6], x[::-1, 6:]], axis=-1))
    np.testing.assert_array_equal(policy.logits, others[0].logits)
    assert (np.asarray(value) != others[1])[np.array([0, 2])].all()


# Rings of distances

SURROUNDED = spaces.Dict(
    {
        "around": spaces.Dict({"lidar": spaces.Box(0, 6, (5,)), "self": spaces.Box(-1, 1, (2,))}),
        "boxes": spaces.Box(-1, 1, (2, 3)),
        "light": spaces.Discrete(2),
        "sonar": spaces.Box(0, 6, (4,)),
    }
)


def ring_by_hand(convolution, ring):
    """Nine filters over each distance and its two neighbours, one after the other, in float64."""
    weight, bias, n = np.float64(convolution.layer.weight), np.float64(convolution.layer.bias), len(ring)
    made = []
    for i in range(n):
        around = [ring[(i - 1) % n], ring[i], ring[(i + 1) % n]]
        made += [max(0, sum(around[j] * weight[j, f] for j in range(3)) + bias[f]) for f in range(9)]
    return made


def test_a_convolution_goes_around_a_ring_and_turns_with_it():
    convolution = CircularConv(KEY)
    convolution = eqx.tree_at(lambda module: module.layer.bias, convolution, jnp.linspace(-0.2, 0.2, 9))
    ring = np.random.default_rng(0).uniform(-1, 1, size=(2, 3, 7)).astype(np.float32)
    made = np.asarray(made_by(convolution, ring))
    expected = [ring_by_hand(convolution, np.float64(one)) for one in ring.reshape(-1, 7)]
    np.testing.assert_allclose(made.reshape(-1, 63), expected, rtol=1e-5, atol=1e-6)
    for turn in range(1, 7):
        turned = made_by(convolution, np.roll(ring, turn, axis=-1))
        np.testing.assert_allclose(turned, np.roll(made, 9 * turn, axis=-1), rtol=1e-6)
    mirrored = np.asarray(made_by(convolution, ring[..., ::-1])).reshape(2, 3, 7, 9)
    assert np.abs(mirrored[..., ::-1, :] - made.reshape(2, 3, 7, 9)).max() > 0.1  # but left is not right


@pytest.mark.parametrize(
    ("rings", "own"),
    [
        ((), [*range(7), *range(13, 19)]),
        (("lidar",), [5, 6, *range(13, 19)]),
        (("sonar", "lidar"), [5, 6, 13, 14]),
    ],
)
def test_what_is_made_of_rings_is_joined_to_the_own_features(rings, own):
    """In the order of the features, whatever the order of the names; lists do not change."""
    network = EntityAttention(KEY, SURROUNDED, 8, 2, rings=rings)
    x = np.random.default_rng(1).normal(size=(2, 19)).astype(np.float32)
    made = [
        (network.convolutions[i], x[:, where]) for i, where in enumerate((slice(0, 5), slice(15, 19))[: len(rings)])
    ]
    expected = [
        np.concatenate([row[own], *(ring_by_hand(conv, np.float64(ring[i])) for conv, ring in made)])
        for i, row in enumerate(x)
    ]
    np.testing.assert_allclose(network.own_features(x), expected, rtol=1e-5, atol=1e-6)
    assert [tuple(kind) for kind in network.lists] == [(7, 2, 3)]
    assert made_by(network, x).shape == (2, 16)
    assert network.own.weight.shape == (len(expected[0]), 8)


def test_a_network_without_rings_is_as_before():
    """Their keys come last."""
    with_rings, without = (EntityAttention(KEY, SURROUNDED, 8, 2, rings=rings) for rings in (("lidar",), ()))
    jax.tree.map(np.testing.assert_array_equal, with_rings.blocks, without.blocks)


def test_rings_are_chosen_by_name_and_described():

    def encoder(space, extractor):
        return eqx.filter_eval_shape(Encoder, KEY, space, extractor)

    assert encoder(SURROUNDED, "attention+lidar+sonar:7").outputs == 7
    assert encoder(SURROUNDED, "attention+lidar+sonar:7").title == "entity attention 4+ring 5+ring 4+2x3-7"
    joint = spaces.Dict({"own": SURROUNDED, "state": spaces.Dict({"a": SURROUNDED, "b": SURROUNDED})})
    assert encoder(joint, "attention+lidar").title == "entity attention 24+ring 5+ring 5+ring 5+2x3+2x3+2x3"


@pytest.mark.parametrize("algorithm", [tegu.DQN, tegu.PPO])
@pytest.mark.parametrize(
    ("extractor", "space", "message"),
    [
        ("attention", FLAT, "attention is for lists of entities, Boxes of two dimensions in a Dict; .* are Box"),
        ("attention:no", WORLD, "'attention:no' must end in the width of a layer"),
        (
            "attention",
            spaces.Dict({"a": spaces.Box(-1, 1, (3, 2)), "camera": spaces.Box(0, 255, (8, 8, 3), np.uint8)}),
            "attention needs observations without images; they are Dict",
        ),
        ("attention+radar", SURROUNDED, r"attention\+radar: there is no part 'radar' in the observations, .* Dict"),
        ("attention+around", SURROUNDED, "there is no part 'around'"),
        ("attention+:8", SURROUNDED, "there is no part ''"),
        (
            "attention+lidar+boxes",
            SURROUNDED,
            r"'boxes' must be a Box of one dimension with at least 3 distances, .* Box.*2, 3",
        ),
        ("attention+light", SURROUNDED, r"'light' must be a Box of one dimension .* got Discrete\(2\)"),
        ("attention+self", SURROUNDED["around"], "attention is for lists of entities"),
        ("attention+self", SURROUNDED, "'self' must be a Box of one dimension with at least 3 distances"),
        ("auto+lidar", SURROUNDED, r"features_extractor must be one of auto, .* got 'auto\+lidar'"),
    ],
)
def test_what_does_not_fit_is_said(algorithm, extractor, space, message):
    with pytest.raises(tegu.TeguError, match=message):
        algorithm(features_extractor=extractor).validate(spec_of(space))


def test_every_actor_must_have_a_list_of_its_own():
    """One that is all an agent observes is in no Dict; the central critic's Dict around it does not count."""
    seen = spaces.Dict(dict.fromkeys("ab", spaces.Box(-1, 1, (4, 5))))
    spec = EnvironmentSpec("test", seen, spaces.Dict(dict.fromkeys("ab", spaces.Discrete(2))), 2, ("a", "b"))
    with pytest.raises(tegu.TeguError, match="MAPPO: features_extractor attention is for lists of entities"):
        tegu.MAPPO(features_extractor="attention", n_steps=4, batch_size=8).validate(spec)


def test_absent_entities_are_not_standardised():
    with pytest.raises(tegu.TeguError, match="normalize_observation must be off with features_extractor attention:8"):
        tegu.PPO(features_extractor="attention:8", normalize_observation=True).validate(spec_of(WORLD))


class Nearest(tegu.Environment):
    """Up to four entities in random order, each with a distance and one of three kinds: the action that names the kind
    of the nearest one is worth 1. Episodes of one step."""

    id: str = eqx.field(static=True, kw_only=True, default="Nearest")

    @property
    def observation_space(self):
        return spaces.Dict({"entities": spaces.Box(0, 1, (4, 4))})

    @property
    def action_space(self):
        return spaces.Discrete(3)

    def reset(self, key):
        far, kinds, there = jax.random.split(key, 3)
        distance, kind = jax.random.uniform(far, (4, 1), minval=0.1), jax.random.randint(kinds, (4,), 0, 3)
        present = jax.random.bernoulli(there, 0.7, (4, 1)).at[0].set(True)
        rows = jnp.where(present, jnp.concatenate([distance, jax.nn.one_hot(kind, 3)], axis=1), 0)
        answer = kind[jnp.argmin(jnp.where(present, distance, 2)[:, 0])]
        return answer, {"entities": rows}

    def step(self, state, action, key):
        _, observation = self.reset(key)
        return tegu.Timestep(state, observation, jnp.float32(action == state), jnp.bool_(True))


@pytest.mark.slow
def test_entities_are_learned_from():
    """Who knows only which kinds there are, and not how far, is right in less than two of three."""
    algorithm = tegu.PPO(
        learning_rate=2e-3, n_steps=32, batch_size=64, n_epochs=2, net_arch=(16,), features_extractor="attention"
    )
    agent = tegu.train(Nearest(), algorithm, steps=4_096, n_envs=8, seed=0, folder=None)
    assert agent.evaluate(300).mean > 0.8
