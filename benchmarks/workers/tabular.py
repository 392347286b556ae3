"""Whether each seed's greedy policy in a run on disk is worth as much, exactly, as the best there is."""

import numpy as np
from meter import report, settings

import tegu
from tegu.environments.grids.exact import policy_value, start_value, value_iteration
from tegu.runs import Run, checkpoint

TOLERANCE = 1e-6  #: of the value of the first state


def main() -> None:
    given = settings()
    run, environment = Run.open(given["run"]), tegu.make(given["environment"])
    gamma = run.config["hyper_parameters"]["gamma"]
    tables = checkpoint.load_latest(run.checkpoints).blobs["learner"][".table.values"]  # [seeds, states, actions]
    best = start_value(environment, value_iteration(environment, gamma).values)
    policies = np.argmax(tables, axis=-1)
    values = [start_value(environment, policy_value(environment, policy, gamma)) for policy in policies]
    optimal = [abs(value - best) <= TOLERANCE * max(1.0, abs(best)) for value in values]
    report({"gamma": gamma, "best_value": best, "values": values, "optimal": optimal})


main()
