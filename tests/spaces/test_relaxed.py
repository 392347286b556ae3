"""Actions as vectors: choices relaxed, and continuous ones within their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from scipy import stats

from tegu.exploration import masked
from tegu.spaces.relaxed import RelaxedActions

KEY = jax.random.key(0)
DISCRETE = spaces.Discrete(4, start=2)
SHARES = spaces.Box(0, 1, (4,))  # a relaxed choice
MOVE_AND_WORD = spaces.Box(0, 1, (7,))  # two of them, the first of 5
TORQUES = spaces.Box(np.float32([[-1, 0]]), np.float32([[1, 3]]))
MANY = 20_000


def outputs(n, rows=6):
    return np.random.default_rng(n).normal(0, 1.5, (rows, n))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def repeated(out):
    """One row many times."""
    return np.repeat(out[:1], MANY, axis=0)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (DISCRETE, True),
        (SHARES, True),
        (MOVE_AND_WORD, True),
        (TORQUES, False),
        (spaces.Box(0, 2, (3,)), False),
        (spaces.Box(0, 1, (1,)), False),  # a share of one choice would always be 1
    ],
)
def test_what_is_a_choice(space, expected):
    assert RelaxedActions(space).is_choice == expected


@pytest.mark.usefixtures("x64")
class TestChoices:
    @pytest.mark.parametrize("space", [DISCRETE, SHARES])
    def test_without_noise_a_choice_is_the_softmax(self, space):
        np.testing.assert_allclose(RelaxedActions(space).choose(outputs(4)), softmax(outputs(4)), rtol=1e-12)

    def test_a_long_action_is_a_move_and_a_word(self):
        out, shares = outputs(7), np.asarray(RelaxedActions(MOVE_AND_WORD).choose(outputs(7)))
        np.testing.assert_allclose(shares[:, :5], softmax(out[:, :5]), rtol=1e-12)
        np.testing.assert_allclose(shares[:, 5:], softmax(out[:, 5:]), rtol=1e-12)

    def test_a_long_choice_is_one_choice(self):
        """Only relaxed actions are split: a Discrete space names one of its actions."""
        np.testing.assert_allclose(RelaxedActions(spaces.Discrete(7)).choose(outputs(7)).sum(axis=1), 1)

    @pytest.mark.parametrize("relax", ["soft", "straight_through"])
    def test_the_largest_share_is_distributed_as_the_softmax(self, relax):
        """The Gumbel-max trick."""
        out = outputs(4)
        chosen = RelaxedActions(DISCRETE, relax).choose(repeated(out), KEY)
        counts = np.bincount(np.asarray(chosen.argmax(axis=1)), minlength=4)
        assert stats.chisquare(counts, MANY * softmax(out[0])).pvalue > 1e-3

    def test_soft_choices_are_shares(self):
        chosen = np.asarray(RelaxedActions(SHARES).choose(repeated(outputs(4)), KEY))
        np.testing.assert_allclose(chosen.sum(axis=1), 1)
        assert ((chosen > 0) & (chosen < 1)).all()

    def test_straight_through_is_one_hot_with_the_soft_gradient(self):
        out, weight = outputs(7), np.random.default_rng(0).normal(size=7)
        soft, hard = RelaxedActions(MOVE_AND_WORD), RelaxedActions(MOVE_AND_WORD, "straight_through")
        chosen = np.asarray(hard.choose(out, KEY))
        relaxed = np.asarray(soft.choose(out, KEY))
        for part in (slice(0, 5), slice(5, 7)):
            expected = np.eye(relaxed[:, part].shape[1])[relaxed[:, part].argmax(axis=1)]
            np.testing.assert_allclose(chosen[:, part], expected, atol=1e-12)
        gradients = [jax.grad(lambda x, a=a: (a.choose(x, KEY) @ weight).sum())(jnp.array(out)) for a in (soft, hard)]
        np.testing.assert_allclose(*gradients, rtol=1e-12)
        assert np.abs(gradients[0]).max() > 0.01

    @pytest.mark.parametrize("relax", ["soft", "straight_through"])
    def test_an_illegal_choice_has_no_share(self, relax):
        legal = np.array([True, False, True, False])
        chosen = RelaxedActions(DISCRETE, relax).choose(masked(jnp.array(repeated(outputs(4))), legal), KEY)
        assert not np.asarray(chosen)[:, ~legal].any()

    @pytest.mark.parametrize(("space", "cuts"), [(DISCRETE, []), (MOVE_AND_WORD, [5])])
    def test_negative_log_likelihood_is_cross_entropy_less_entropy(self, space, cuts):
        """Summed over the choices of an action, weighted with the shares taken."""
        n = 7 if cuts else 4
        vectors, out, taken = (
            RelaxedActions(space),
            outputs(n),
            np.asarray(RelaxedActions(space).choose(outputs(n), KEY)),
        )
        expected = 0.0
        for logits, shares in zip(np.split(out, cuts, axis=1), np.split(taken, cuts, axis=1), strict=True):
            p = softmax(logits)
            expected += (-(shares * np.log(p)).sum(1) + 0.3 * (p * np.log(p)).sum(1)).mean()
        np.testing.assert_allclose(vectors.negative_log_likelihood(out, taken, entropy_coef=0.3), expected, rtol=1e-10)


@pytest.mark.usefixtures("x64")
class TestTorques:
    def test_without_noise_it_is_a_tanh_which_the_bounds_stretch(self):
        unit, vectors = np.tanh(outputs(2)), RelaxedActions(TORQUES)
        chosen = vectors.choose(outputs(2))
        np.testing.assert_allclose(chosen, unit, rtol=1e-6)
        action = np.stack([unit[:, 0], 1.5 + 1.5 * unit[:, 1]], axis=1)[:, None]
        np.testing.assert_allclose(vectors.to_action(chosen), action, rtol=1e-6)

    def test_noise_is_gaussian_in_half_ranges_and_clipped(self):
        """Beyond 2.5 standard deviations it is cut off: 1.2 % of a normal distribution."""
        unit = np.asarray(RelaxedActions(TORQUES).choose(np.zeros((MANY, 2)), KEY, 0.2)) / 0.2
        np.testing.assert_allclose(np.abs(unit).max(axis=0), 2.5, rtol=1e-6)
        np.testing.assert_allclose((np.abs(unit) > 2.499).mean(), 2 * stats.norm.sf(2.5), atol=3e-3)
        inner = unit[np.abs(unit) < 2.4]
        assert stats.kstest(inner, stats.truncnorm(-2.4, 2.4).cdf).pvalue > 1e-3

    def test_noise_never_leaves_the_bounds(self):
        chosen = np.asarray(RelaxedActions(TORQUES).choose(np.full((MANY, 2), 2.0), KEY, 5.0))
        assert (np.abs(chosen) <= 1).all()
        assert (chosen == 1).any(axis=0).all()

    def test_no_noise_is_no_noise(self):
        """A key alone makes nothing random."""
        vectors = RelaxedActions(TORQUES)
        np.testing.assert_array_equal(vectors.choose(outputs(2), KEY, 0.0), vectors.choose(outputs(2)))

    def test_negative_log_likelihood_is_the_squared_error(self):
        vectors, taken = RelaxedActions(TORQUES), np.array([[0.5, 2.0]] * 6)
        error = ((np.asarray(vectors.choose(outputs(2))) - taken) ** 2).mean()
        np.testing.assert_allclose(
            vectors.negative_log_likelihood(outputs(2), taken, entropy_coef=0.3), error, rtol=1e-10
        )


@pytest.mark.parametrize("space", [DISCRETE, SHARES, MOVE_AND_WORD, TORQUES], ids=str)
def test_actions_lie_in_the_space(space):
    vectors = RelaxedActions(space)
    n = 4 if space == DISCRETE else int(np.prod(space.shape))
    action = np.asarray(vectors.to_action(vectors.choose(jnp.float32(outputs(n)), KEY, 0.5)))
    assert action.dtype == (np.int32 if space == DISCRETE else np.float32)
    assert all(space.contains(each.astype(space.dtype)) for each in action)


@pytest.mark.parametrize("space", [SHARES, MOVE_AND_WORD, TORQUES], ids=str)
def test_a_critic_sees_a_boxs_action_as_it_was_chosen(space):
    vectors, n = RelaxedActions(space), int(np.prod(space.shape))
    chosen = vectors.choose(jnp.float32(outputs(n)), KEY, 0.1)
    np.testing.assert_allclose(vectors.from_action(vectors.to_action(chosen)), chosen, atol=1e-6)


def test_a_critic_sees_a_choice_made():
    """Discrete actions, counted from where the space starts, as one-hot vectors of the largest share."""
    vectors = RelaxedActions(DISCRETE)
    shares = jnp.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]])
    action = vectors.to_action(shares)
    assert action.tolist() == [4, 2]
    np.testing.assert_array_equal(vectors.from_action(action), [[0, 0, 1, 0], [1, 0, 0, 0]])


def test_equal_ones_are_one_to_the_compiler():
    assert RelaxedActions(spaces.Discrete(3)) == RelaxedActions(spaces.Discrete(3))
    assert hash(RelaxedActions(spaces.Discrete(3))) == hash(RelaxedActions(spaces.Discrete(3)))
    assert RelaxedActions(spaces.Discrete(3)) != RelaxedActions(spaces.Discrete(4))
