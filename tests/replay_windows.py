"""Rows of several environments stepped side by side, and what windows drawn from them must be."""

import numpy as np
from scipy import stats


def rows(first, steps, n_envs):
    """``steps`` steps of ``n_envs`` environments, flattened as the loops do it: step by step."""
    t, env = np.divmod(np.arange(steps * n_envs, dtype=np.int32), n_envs)
    return {"t": first + t, "env": env}


def assert_windows(drawn, held, n_steps):
    """Windows ``[n_steps, n]`` are consecutive steps of one environment among the rows ``held``, in order of age."""
    t, env = np.asarray(drawn["t"]), np.asarray(drawn["env"])
    assert len(t) == n_steps
    np.testing.assert_array_equal(t, t[0] + np.arange(n_steps)[:, None])
    np.testing.assert_array_equal(env, np.broadcast_to(env[0], env.shape))
    assert set(zip(t.ravel().tolist(), env.ravel().tolist(), strict=True)) <= held


def assert_uniform(drawn, held, n_steps):
    """Every window that lies among the rows ``held`` is drawn, and all are equally likely: chi-square."""
    possible = {(t, env) for t, env in held if (t + n_steps - 1, env) in held}
    begun = list(zip(np.asarray(drawn["t"])[0].tolist(), np.asarray(drawn["env"])[0].tolist(), strict=True))
    assert set(begun) == possible
    assert len(possible) == 1 or stats.chisquare([begun.count(window) for window in possible]).pvalue > 1e-3


def newest(written, capacity):
    """The rows that a ring holds of all those ``written``, a list of blocks."""
    pairs = [pair for block in written for pair in zip(block["t"].tolist(), block["env"].tolist(), strict=True)]
    return set(pairs[-capacity:])
