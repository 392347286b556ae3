"""What is logged of a chunk, however long it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.acting.episodes import Episodes
from tegu.core.step import Step
from tegu.training.tally import Sum, Tally, fault_message, summarize


def test_a_sum_loses_nothing() -> None:
    """Ones added to 2**24, where float32 stands still; and numbers of all sizes against float64."""
    many = jax.lax.fori_loop(0, 1000, lambda _, sum: sum.add(jnp.float32(1)), Sum(jnp.float32(2**24), jnp.float32(0)))
    assert float(many) == 2**24 + 1000
    values = (np.random.default_rng(0).normal(size=5000) * 10.0 ** (np.arange(5000) % 7)).astype(np.float32)
    added, _ = jax.lax.scan(lambda sum, value: (sum.add(value), None), Sum.zero(), values)
    assert float(added) == pytest.approx(values.astype(np.float64).sum(), rel=1e-12)


def test_a_chunk_of_many_episodes_has_their_mean() -> None:
    """Forty million episodes of one step with a return of 1: a count in float32 ends at 16,777,216."""
    steps = Step(*[jnp.zeros((1, 1))] * 7)
    episodes = Episodes(jnp.int32(100_000), jnp.float32(100_000), jnp.int32(100_000))
    metrics = {"loss": jnp.float32(0.1)}
    start = Tally.zero(steps.reward, metrics)
    tally = jax.jit(lambda: jax.lax.fori_loop(0, 400, lambda _, tally: tally.add(steps, episodes, metrics), start))()
    (logged,) = summarize(jax.tree.map(lambda leaf: np.asarray(leaf)[None], tally))
    assert logged == {
        "rollout/ep_rew_mean": 1.0,
        "rollout/ep_len_mean": 1.0,
        "rollout/episodes": 40_000_000.0,
        "train/loss": pytest.approx(0.1, rel=1e-7),
    }


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("observation", "an observation"),
        ("next_observation", "an observation"),
        ("reward", "a reward"),
        ("metrics", "the loss"),
    ],
)
def test_the_first_number_that_is_not_finite_is_named(where: str, words: str) -> None:
    """Also one in what is seen last of an episode; what breaks later, because of it, is not."""
    good, bad = jnp.zeros((2, 3)), jnp.zeros((2, 3)).at[1, 2].set(jnp.inf)
    episodes, loss = Episodes(jnp.int32(0), jnp.float32(0), jnp.int32(0)), {"loss": jnp.float32(0)}
    calm = Step(*[good] * 7)
    broken = calm._replace(**{where: bad}) if where in Step._fields else calm
    tally = Tally.zero(calm.reward, loss).add(calm, episodes, loss)
    tally = tally.add(broken, episodes, {"loss": jnp.float32(jnp.nan if where == "metrics" else 0)})
    tally = tally.add(Step(*[bad] * 7), episodes, {"loss": jnp.float32(jnp.nan)})
    seeds = jax.tree.map(lambda leaf: np.stack([np.zeros_like(leaf), np.asarray(leaf)]), tally)
    seeds.fault.iteration[0] = -1
    assert fault_message(seeds, 1_000, 100, [5, 6]) == f"{words} became NaN or infinite by step 1,200 (seed 6)"
