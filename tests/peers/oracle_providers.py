"""The measure of services that are shared out over several capacity providers against an integer program.

    cargo run --example oracle-cases providers | python tests/peers/oracle_providers.py

Needs PyPI's highspy. Each line of the input is a drawn cluster with the measure's answer. The program states what is meant, not
how the measure finds it: every provider keeps as many tasks as it has, on its own instances; of all such arrangements those whose
domains of the first level are the most even, by the sum of the squares of their tasks; of these, where there is a second level,
those that are the most even inside, by how far the sum of squares of each domain lies above the least for as many tasks; and of
these the one with the fewest tasks that are more than an instance, or a domain of it, has.
"""

import json
import sys
from collections import defaultdict
from dataclasses import dataclass

import highspy

CPU_OF_A_TASK = 256


@dataclass
class Instance:
    zone: str
    name: str
    provider: str
    tasks: int
    most: int


def read(drawing):
    """The instances, and the levels that the service spreads over."""
    instances, levels = [], []
    for line in drawing.splitlines():
        first, second, *words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if first == "service":
            levels = [entry.rsplit(":", 1)[1] for entry in values["strategy"].split(",")]
            continue
        most = int(values["cpu"]) // CPU_OF_A_TASK
        instances.append(Instance(first, second, values["provider"], words.count("web"), most))
    # A provider that has none of its tasks gets none, and its instances are no domains.
    with_tasks = {it.provider for it in instances if it.tasks}
    return [it for it in instances if it.provider in with_tasks], levels


def least_squares(limits, total):
    """What the sum of squares of each number of tasks up to the total is at least, over domains with these limits."""
    tasks, sums = [0] * len(limits), [0]
    for _ in range(total):
        emptiest = min((it for it in range(len(limits)) if tasks[it] < limits[it]), key=lambda it: tasks[it])
        sums.append(sums[-1] + 2 * tasks[emptiest] + 1)
        tasks[emptiest] += 1
    return sums


def fewest_moves(instances, levels):
    program = highspy.Highs()
    program.silent()
    integer = highspy.HighsVarType.kInteger
    total = sum(it.tasks for it in instances)
    at = [program.addVariable(lb=0, ub=it.most, type=integer) for it in instances]

    def groups(key):
        found = defaultdict(list)
        for number, instance in enumerate(instances):
            found[key(instance)].append(number)
        return list(found.values())

    def counted(members, most):
        """Variables of which the first so many are one as there are tasks."""
        units = [program.addVariable(lb=0, ub=1, type=integer) for _ in range(most)]
        for one, next_one in zip(units, units[1:]):
            program.addConstr(one >= next_one)
        program.addConstr(sum((at[it] for it in members), 0 * at[0]) == sum(units, 0 * at[0]))
        return units

    for members in groups(lambda it: it.provider):
        program.addConstr(sum((at[it] for it in members), 0 * at[0]) == sum(instances[it].tasks for it in members))

    names = {"instanceId": lambda it: it.name, "ecs.availability-zone": lambda it: it.zone}
    aims = []
    first = groups(names[levels[0]])
    limit = lambda members: min(total, sum(instances[it].most for it in members))
    units = [counted(members, limit(members)) for members in first]
    aims.append(sum((unit * (2 * n + 1) for of_domain in units for n, unit in enumerate(of_domain)), 0 * at[0]))
    if len(levels) > 1:
        above = 0 * at[0]
        for members, of_domain in zip(first, units):
            least = least_squares([instances[it].most for it in members], len(of_domain))
            for n, unit in enumerate(of_domain):
                above = above - unit * (least[n + 1] - least[n])
            for it in members:
                inside = counted([it], min(total, instances[it].most))
                above = above + sum((unit * (2 * n + 1) for n, unit in enumerate(inside)), 0 * at[0])
        aims.append(above)
    moves = 0 * at[0]
    # Where instances are not told apart, a provider's tasks of one domain are as good on one as on another.
    for members in groups(lambda it: (it.provider, names[levels[-1]](it))):
        more = program.addVariable(lb=0)
        has = sum(instances[it].tasks for it in members)
        program.addConstr(more >= sum((at[it] for it in members), 0 * at[0]) - has)
        moves = moves + more
    aims.append(moves)
    for aim in aims:
        program.minimize(aim)
        assert program.getModelStatus() == highspy.HighsModelStatus.kOptimal, program.getModelStatus()
        best = round(program.getObjectiveValue())
        program.addConstr(aim <= best)
    return best


def main():
    wrong = cases = misplaced_cases = 0
    for line in sys.stdin:
        case = json.loads(line)
        instances, levels = read(case["drawing"])
        misplaced = fewest_moves(instances, levels) if any(it.tasks for it in instances) else 0
        cases += 1
        misplaced_cases += misplaced > 0
        if misplaced != case["misplaced"]:
            wrong += 1
            print(f"seed {case['seed']}: the program finds {misplaced}, the measure {case['misplaced']}, on:\n{case['drawing']}")
    print(f"{cases} clusters of one to four capacity providers, {misplaced_cases} with misplaced tasks: {wrong} wrong")
    if wrong or cases < 1_000 or misplaced_cases < 300:
        sys.exit(1)


if __name__ == "__main__":
    main()
