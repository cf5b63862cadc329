"""The measure against an integer program, on clusters too large for trying every arrangement.

    cargo run --example oracle-cases spread | python tests/peers/oracle.py

Needs PyPI's highspy. Each line of the input is a drawn cluster with the measure's answer. The drawing is read here anew, and
the program states the definition, not the measure's way: an arrangement is balanced when no two domains of one parent differ
by more than one task, except where the smaller is full: every instance holds as many as its size has room for beside daemons,
of which there are none here, and a domain as many as its instances do; wanted is the balanced arrangement with the fewest tasks that are
more than the domain has (misplaced), or more than it has and has room for (stuck).
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
    tasks: int
    room: int
    most: int


def read(drawing):
    """The instances that may take the service's tasks, its levels, and whether each takes one at most."""
    instances, settings = [], {}
    for line in drawing.splitlines():
        first, second, *words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if first == "service":
            settings[second] = values
            continue
        names = [word for word in words if "=" not in word]
        size = int(values["cpu"]) // CPU_OF_A_TASK
        if values["attr.fits"] == "true" and size > 0:
            instances.append(Instance(first, second, names.count("web"), size - len(names), size))
    web = settings["web"]
    levels = [entry.rsplit(":", 1)[1] for entry in web["strategy"].split(",")]
    return instances, levels, "distinctInstance" in web["constraint"]


def fewest_missing(instances, levels, one_on_each, counts_room):
    total = sum(instance.tasks for instance in instances)
    program = highspy.Highs()
    program.silent()
    integer = highspy.HighsVarType.kInteger
    missing = []

    def domains(instances, level):
        by_value = defaultdict(list)
        for instance in instances:
            by_value[instance.name if levels[level] == "instanceId" else instance.zone].append(instance)
        return by_value.values()

    def most_of(instances):
        return sum(1 if one_on_each else instance.most for instance in instances)

    def arrange(instances, level):
        """A variable for the tasks of these instances together, with all that must hold inside."""
        most = most_of(instances)
        tasks = program.addVariable(lb=0, ub=most, type=integer)
        if level == len(levels):
            has = sum(instance.tasks for instance in instances)
            if counts_room:
                one = lambda instance: min(instance.room, 1 - min(instance.tasks, 1))
                has += sum(one(it) if one_on_each else it.room for it in instances)
            lacks = program.addVariable(lb=0)
            program.addConstr(lacks >= tasks - has)
            missing.append(lacks)
            return tasks
        # No two differ by more than one: some number has all at most one above it, and all that aren't full not below it.
        floor = program.addVariable(lb=-1, ub=total, type=integer)
        inside = 0
        for domain in domains(instances, level):
            of_domain = arrange(domain, level + 1)
            inside = inside + of_domain
            program.addConstr(of_domain <= floor + 1)
            is_full = program.addVariable(lb=0, ub=1, type=integer)
            program.addConstr(of_domain >= most_of(domain) * is_full)
            program.addConstr(of_domain >= floor - (total + 1) * is_full)
        program.addConstr(inside == tasks)
        return tasks

    program.addConstr(arrange(instances, 0) == min(total, most_of(instances)))
    program.minimize(sum(missing[1:], missing[0] + 0))
    assert program.getModelStatus() == highspy.HighsModelStatus.kOptimal, program.getModelStatus()
    return round(program.getObjectiveValue())


def main():
    wrong = cases = misplaced_cases = stuck_cases = 0
    for line in sys.stdin:
        case = json.loads(line)
        instances, levels, one_on_each = read(case["drawing"])
        if not instances:
            continue
        misplaced = fewest_missing(instances, levels, one_on_each, counts_room=False)
        stuck = fewest_missing(instances, levels, one_on_each, counts_room=True)
        cases += 1
        misplaced_cases += misplaced > 0
        stuck_cases += stuck > 0
        if (misplaced, stuck) != (case["misplaced"], case["stuck"]):
            wrong += 1
            print(f"seed {case['seed']}: the program finds {misplaced} misplaced and {stuck} stuck,")
            print(f"  the measure {case['misplaced']} and {case['stuck']}, on:\n{case['drawing']}")
    print(f"{cases} clusters, {misplaced_cases} with misplaced and {stuck_cases} with stuck tasks: {wrong} wrong")
    if wrong or cases < 150 or misplaced_cases < 50 or stuck_cases < 20:
        sys.exit(1)


if __name__ == "__main__":
    main()
