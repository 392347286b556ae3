"""How a case is trained now: what ``config.toml`` must hold if a run on disk is to stand for it.

That leaves out what is None.
"""

from meter import report, settings

from tegu.training.plan import make_plan

given = settings()
config = make_plan(given["environment"], given["algorithm"], seeds=given["seeds"], steps=given["steps"]).config
hyper = config["hyper_parameters"]
report(config | {"hyper_parameters": {name: value for name, value in hyper.items() if value is not None}})
