"""How a case is trained now: what ``config.toml`` must hold if a run on disk is to stand for it."""

from meter import report, settings

from tegu.training.plan import make_plan

given = settings()
report(make_plan(given["environment"], given["algorithm"], seeds=given["seeds"], steps=given["steps"]).config)
