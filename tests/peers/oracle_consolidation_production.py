"""The freeing of the production fleet's container instances against a bound that no plan can pass.

    python tests/peers/oracle_consolidation_production.py target/debug/rehearse ../shared/data/production.json

Needs PyPI's highspy. The whole job plans, as a dry run on the simulator. The fleet is too large for the integer program of
`oracle_consolidation.py`; but where instances and tasks could be cut into pieces, instances that are alike needn't be told
apart, and the fewest that must stay are found at once. No plan keeps fewer. The plan itself is checked move by move.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
from collections import Counter

import highspy
from drawn import Instance, Service
from oracle_consolidation import LEAST_PART_FREED, faults, tasks_held

HEADROOM_PERCENT = 10
ENVIRONMENT = {
    "REBALANCER_MODE": "consolidate",
    "REBALANCER_STEER": "true",
    "REBALANCER_DRY_RUN": "true",
    "REBALANCER_HEADROOM": str(HEADROOM_PERCENT),
    "REBALANCER_MAX_MOVES": "5000",
    "REBALANCER_MAX_SERVICES": "100",
}


def amounts(resources):
    """CPU units, mebibytes, GPUs."""
    by_name = {it["name"]: it for it in resources}
    gpus = by_name.get("GPU", {}).get("stringSetValue", [])
    return by_name["CPU"]["integerValue"], by_name["MEMORY"]["integerValue"], len(gpus)


def asked(definition):
    """The same for a task."""
    containers = definition["containerDefinitions"]
    gpus = [it for of in containers for it in of.get("resourceRequirements", []) if it["type"] == "GPU"]
    sums = [sum(of.get(key, 0) for of in containers) for key in ("cpu", "memory")]
    return *sums, sum(int(it["value"]) for it in gpus)


def read(snapshot):
    """The instances and, by name, the services of a snapshot."""
    definitions = {it["taskDefinitionArn"]: asked(it) for it in snapshot["taskDefinitions"]}
    services = {}
    for it in snapshot["services"]:
        assert it["schedulingStrategy"] == "REPLICA" and not it.get("placementConstraints"), "the bound knows neither"
        name = it["serviceName"]
        services[name] = Service(name, *definitions[it["taskDefinition"]], [], [], False, [], {})
    tasks = {it["containerInstanceArn"]: Counter() for it in snapshot["containerInstances"]}
    for it in snapshot["tasks"]:
        tasks[it["containerInstanceArn"]][it["group"].removeprefix("service:")] += 1
    instances = []
    for it in snapshot["containerInstances"]:
        attributes = {of["name"]: of.get("value") for of in it["attributes"]}
        cpu, memory, gpus = amounts(it["registeredResources"])
        arn = it["containerInstanceArn"]
        instances.append(Instance(arn, attributes["ecs.availability-zone"], cpu, memory, attributes, tasks[arn], gpus))
    return instances, services


def fewest_that_stay(instances, services):
    """How many instances must hold tasks at least, if they and tasks could be cut into pieces."""
    program = highspy.Highs()
    program.silent()
    alike = Counter((it.zone, it.attributes.get("ecs.instance-type"), it.size) for it in instances)
    stay = {of: program.addVariable(lb=0, ub=number) for of, number in alike.items()}
    held = {of: ([], [], []) for of in alike}
    for name, service in services.items():
        in_zones = Counter()
        for it in instances:
            in_zones[it.zone] += it.tasks[name]
        total = in_zones.total()
        for zone, number in in_zones.items():
            if not number:
                continue
            placed = []
            for of, kinds in held.items():
                of_zone, _, size = of
                # A single task may go to any zone.
                if (of_zone == zone or total == 1) and all(has >= asks for has, asks in zip(size, service.size)):
                    there = program.addVariable(lb=0)
                    placed.append(1 * there)
                    for terms, asks in zip(kinds, service.size):
                        if asks:
                            terms.append(asks * there)
            program.addConstr(program.qsum(placed) == number)
    for of, kinds in held.items():
        for terms, has in zip(kinds, of[-1]):
            if terms:
                program.addConstr(program.qsum(terms) - has * stay[of] <= 0)
    for kind in range(2):
        reserved = sum(services[name].size[kind] * tasks for it in instances for name, tasks in it.tasks.items())
        registered = program.qsum([of[-1][kind] * number for of, number in stay.items()])
        program.addConstr(registered >= reserved / (1 - HEADROOM_PERCENT / 100))
    program.minimize(program.qsum([1 * number for number in stay.values()]))
    assert program.getModelStatus() == highspy.HighsModelStatus.kOptimal, program.getModelStatus()
    return program.getObjectiveValue()


def planned(rehearse, snapshot):
    """The job's report."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(
            [rehearse, snapshot, "--report", file.name],
            env={"PATH": os.environ["PATH"], **ENVIRONMENT}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return json.loads(pathlib.Path(file.name).read_text())


def main():
    rehearse, snapshot = sys.argv[1], pathlib.Path(sys.argv[2])
    if not snapshot.exists():
        print("skipped: the production fleet, whose snapshot is absent")
        return
    instances, services = read(json.loads(snapshot.read_text()))
    in_use = sum(tasks_held(it, services) > 0 for it in instances)
    fewest = fewest_that_stay(instances, services)
    most = in_use - math.ceil(fewest - 1e-6)
    report = planned(rehearse, str(snapshot))
    case = {
        "moves": [(it["service"], it["from"]["container_instance"], it["to"]["container_instance"]) for it in report["plan"]],
        "freed": [it["container_instance"] for it in report["consolidation"]["freed"]],
        "headroom_percent": HEADROOM_PERCENT,
    }
    found, freed = faults(case, instances, services)
    print("\n".join(found), end="\n" if found else "")
    print(
        f"production: {freed} of {in_use} instances come free by {len(case['moves'])} moves; "
        f"{fewest:.1f} must stay, so no plan frees more than {most}: {freed / most:.3f}"
    )
    if found or freed > most or freed < LEAST_PART_FREED * most:
        sys.exit(1)


if __name__ == "__main__":
    main()
