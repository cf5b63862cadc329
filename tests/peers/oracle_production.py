"""The evening out of the production fleet's machines against a bound that no plan can pass.

    cargo run --example oracle-cases production | python tests/peers/oracle_production.py

Needs PyPI's highspy. The fleet is too large for the integer program of `oracle_machines.py`; but where moves needn't be whole,
instances of a zone needn't be told apart by where tasks arrive, and room is no matter, the fewest moves are found at once, and
no plan has fewer.
"""

import json
import math
import sys
from collections import defaultdict

import highspy
from drawn import read, reserved
from oracle_machines import CLEARLY_BELOW, faults

MOST_TIMES_THE_BOUND = 1.05


def bound(instances, services, threshold_percent):
    """The fewest moves that bring LoadImbalance under the threshold, if tasks could be cut into pieces."""
    program = highspy.Highs()
    program.silent()
    taken = {it.name: reserved(it, services) for it in instances}
    change = {(it.name, kind): [] for it in instances for kind in range(2)}
    left = []
    arriving = defaultdict(list)
    for instance in instances:
        for name, tasks in instance.tasks.items():
            out = program.addVariable(lb=0, ub=tasks)
            left.append(out)
            arriving[name].append(-out)
            for kind in range(2):
                change[instance.name, kind].append(-out * services[name].size[kind])
    for name, service in services.items():
        for instance in instances:
            if service.may_run_on(instance):
                # A task that arrives where its like is can as well stay there.
                comes = program.addVariable(lb=0)
                arriving[name].append(comes)
                for kind in range(2):
                    change[instance.name, kind].append(comes * service.size[kind])
    for balance in arriving.values():
        program.addConstr(program.qsum(balance) == 0)
    for kind in range(2):
        registered = sum(it.size[kind] for it in instances)
        all_reserved = sum(it[kind] for it in taken.values())
        percent = 100 / all_reserved
        excesses = []
        for instance in instances:
            beyond = taken[instance.name][kind] - all_reserved * instance.size[kind] / registered
            excess = program.addVariable(lb=0)
            excesses.append(excess)
            program.addConstr(excess - percent * program.qsum(change[instance.name, kind]) >= percent * beyond)
        program.addConstr(program.qsum(excesses) <= threshold_percent - CLEARLY_BELOW)
    program.minimize(program.qsum(left))
    assert program.getModelStatus() == highspy.HighsModelStatus.kOptimal, program.getModelStatus()
    return program.getObjectiveValue()


def main():
    line = sys.stdin.readline()
    if not line:
        print("skipped: the production fleet, whose snapshot is absent")
        return
    case = json.loads(line)
    instances, services = read(case["drawing"])
    fewest = bound(instances, services, case["threshold_percent"])
    found, after = faults(case, instances, services)
    print("\n".join(found), end="\n" if found else "")
    moves = len(case["moves"])
    ratio = moves / math.ceil(fewest - 1e-6)
    print(f"production: {moves} moves bring load imbalance to {float(after):.2f} %; no plan has fewer than {fewest:.1f}: {ratio:.3f}")
    if found or after >= case["threshold_percent"] or ratio > MOST_TIMES_THE_BOUND:
        sys.exit(1)


if __name__ == "__main__":
    main()
