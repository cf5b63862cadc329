"""The freeing of container instances against an integer program.

    cargo run --example oracle-cases consolidation | python tests/peers/oracle_consolidation.py

Needs PyPI's highspy. Each line of the input is a drawn cluster with the instances that the job frees and its moves. The program
states what is wanted, not the job's way: as few instances as can be hold tasks that are not daemons', every service has as many
tasks in each availability zone as before (a single task may go anywhere), what can't move stays, every task had room where it
went, with what leaves not counted as room, the instances that hold tasks keep the headroom of CPU and memory, and on one of them
there is room for the largest task: by CPU, and by memory. Each plan is checked against the same, by itself.
"""

import json
import multiprocessing
import statistics
import sys
from collections import Counter

import highspy
from drawn import ZONE, domains, read, reserved
from oracle_machines import room

MOST_SECONDS = 2
MOST_MEDIAN_GAP_PERCENT = 2
LEAST_PART_FREED = 0.95
INTEGER = highspy.HighsVarType.kInteger


def is_daemon(service):
    return service.settings.get("daemon") == "true"


def may_move(service):
    """Not one whose owner forbids it, which is being deployed, or which ECS puts on every instance."""
    settings = service.settings
    return settings.get("tag.ecs-rebalancer:enabled") != "false" and "pending" not in settings and not is_daemon(service)


def tasks_held(instance, services):
    """Those that are not daemons'."""
    return sum(tasks for name, tasks in instance.tasks.items() if not is_daemon(services[name]))


def daemons_reserve(instance, services):
    of = [(services[name].size, tasks) for name, tasks in instance.tasks.items() if is_daemon(services[name])]
    return [sum(size[kind] * tasks for size, tasks in of) for kind in range(2)]


def largest(instances, services):
    """The services for one more task of which there must be room: of equal ones in both, one is enough."""
    placed = {name for it in instances for name, tasks in it.tasks.items() if tasks and not is_daemon(services[name])}
    # Of equally large ones the last by name.
    return [max(sorted(placed), key=lambda name: services[name].size[kind]) for kind in range(2)] if placed else []


def most_freed(instances, services, headroom_percent):
    """How many more instances than now can be free, and whether that is proven; the bound where it isn't."""
    program = highspy.Highs()
    program.silent()
    binary = dict(lb=0, ub=1, type=INTEGER)
    stays = {it.name: program.addVariable(**binary) for it in instances}
    taken = {it.name: reserved(it, services) for it in instances}
    ports = {it.name: any(services[name].ports for name in it.tasks) for it in instances}
    coming = {it.name: [] for it in instances}
    for name, service in services.items():
        if is_daemon(service):
            continue
        with_tasks = [it for it in instances if it.tasks[name]]
        if not may_move(service):
            for instance in with_tasks:
                program.addConstr(stays[instance.name] >= 1)
            continue
        total = sum(it.tasks[name] for it in with_tasks)
        balance = {it.name: [] for it in instances}
        left = []
        for instance in instances:
            here = instance.tasks[name]
            if here:
                leaves = program.addVariable(lb=0, ub=here, type=INTEGER)
                program.addConstr(leaves + here * stays[instance.name] >= here)
                balance[instance.name].append(-leaves)
                left.append(leaves)
            most = min(total, room(service, instance, taken[instance.name], ports[instance.name]))
            if most and service.may_run_on(instance):
                comes = program.addVariable(lb=0, ub=most, type=INTEGER)
                program.addConstr(comes - most * stays[instance.name] <= 0)
                balance[instance.name].append(1 * comes)
                coming[instance.name].append((service, comes))
        for part in domains(instances, ZONE) if total > 1 else [instances]:
            terms = [term for it in part for term in balance[it.name]]
            if terms:
                program.addConstr(program.qsum(terms) == 0)
        most = service.settings.get("tag.ecs-rebalancer:max-moves")
        if most is not None and left:
            program.addConstr(program.qsum([1 * it for it in left]) <= int(most))
    kept_for = [(services[name], []) for name in largest(instances, services)]
    for instance in instances:
        free = [has - used for has, used in zip(instance.size, taken[instance.name])]
        comes = [[by * service.size[kind] for service, by in coming[instance.name]] for kind in range(3)]
        for kind in range(3):
            if comes[kind]:
                program.addConstr(program.qsum(comes[kind]) <= free[kind])
        with_port = [1 * by for service, by in coming[instance.name] if service.ports]
        if len(with_port) > 1:
            program.addConstr(program.qsum(with_port) <= 1)
        for service, places in kept_for:
            if service.may_run_on(instance) and all(has >= asks for has, asks in zip(free, service.size)):
                is_here = program.addVariable(**binary)
                places.append(1 * is_here)
                program.addConstr(is_here - stays[instance.name] <= 0)
                for kind in range(3):
                    if comes[kind] and service.size[kind]:
                        program.addConstr(program.qsum(comes[kind]) + service.size[kind] * is_here <= free[kind])
    for _, places in kept_for:
        if not places:
            return 0, True
        program.addConstr(program.qsum(places) >= 1)
    for kind in range(2):
        # Their daemons' tasks go with instances; all others are held by those that stay.
        daemons = {it.name: daemons_reserve(it, services)[kind] for it in instances}
        others = sum(taken[it.name][kind] - daemons[it.name] for it in instances)
        part = 1 - headroom_percent / 100
        program.addConstr(
            program.qsum([(it.size[kind] * part - daemons[it.name]) * stays[it.name] for it in instances]) >= others - 1e-6
        )
    program.setOptionValue("time_limit", float(MOST_SECONDS))
    program.setOptionValue("threads", 1)
    program.minimize(program.qsum([1 * it for it in stays.values()]))
    before = sum(tasks_held(it, services) > 0 for it in instances)
    status = program.getModelStatus()
    # What is not kept to as it is can't be come by through freeing more.
    if status == highspy.HighsModelStatus.kInfeasible:
        return 0, True
    if status == highspy.HighsModelStatus.kTimeLimit:
        return before - round(max(0, program.getInfo().mip_dual_bound) + 0.499999), False
    assert status == highspy.HighsModelStatus.kOptimal, status
    return max(0, before - round(program.getObjectiveValue())), True


def faults(case, instances, services):
    """What is wrong with the job's plan, and how many more instances are free after it. Makes its moves."""
    found = []
    before = sum(tasks_held(it, services) > 0 for it in instances)
    by_name = {it.name: it for it in instances}
    taken = {it.name: reserved(it, services) for it in instances}
    at_first = {it.name: Counter(it.tasks) for it in instances}
    totals = {name: sum(it.tasks[name] for it in instances) for name in services}
    in_zones = lambda name: [sum(it.tasks[name] for it in part) for part in domains(instances, ZONE)]  # noqa: E731
    zones_before = {name: in_zones(name) for name in services}
    coming = {it.name: [] for it in instances}
    moved = Counter()
    for name, source, target in case["moves"]:
        if not may_move(services[name]) or at_first[source][name] <= 0:
            found.append(f"a task of {name} on {source} may not move")
        at_first[source][name] -= 1
        by_name[source].tasks[name] -= 1
        by_name[target].tasks[name] += 1
        coming[target].append(services[name])
        moved[name] += 1
    for name, service in services.items():
        if totals[name] > 1 and in_zones(name) != zones_before[name]:
            found.append(f"{name} has other numbers in its zones")
        if moved[name] > int(service.settings.get("tag.ecs-rebalancer:max-moves", 10**6)):
            found.append(f"{name} moves {moved[name]} times")
    left = {}
    for name, came in coming.items():
        instance = by_name[name]
        left[name] = [has - used - sum(it.size[kind] for it in came) for kind, (has, used) in enumerate(zip(instance.size, taken[name]))]
        if min(left[name]) < 0:
            found.append(f"{name} has no room for what comes")
        for service in came:
            had = sum(source == name and moving == service.name for moving, source, _ in case["moves"])
            if not service.may_run_on(instance) or (service.one_on_each and instance.tasks[service.name] + had > 1):
                found.append(f"{name} may not take what comes")
        with_port = [it for it in came if it.ports]
        if with_port and len(with_port) + any(services[it].ports for it in at_first[name].elements()) > 1:
            found.append(f"two tasks want one port of {name}")
    stay = [it for it in instances if tasks_held(it, services) > 0]
    for name in case["freed"]:
        if tasks_held(by_name[name], services):
            found.append(f"{name} does not come free")
    if case["moves"]:
        for kind, what in enumerate(("CPU", "memory")):
            registered = sum(it.size[kind] for it in stay)
            used = sum(reserved(it, services)[kind] for it in stay)
            if used * 100 > registered * (100 - case["headroom_percent"]):
                found.append(f"headroom of {what} is used up")
        for name in largest(instances, services):
            fits = lambda it: all(has >= asks for has, asks in zip(left[it.name], services[name].size))  # noqa: E731, B023
            if not any(services[name].may_run_on(it) and fits(it) for it in stay):
                found.append(f"there is no room for one more of {name}")
    return found, before - len(stay)


def judge(line):
    case = json.loads(line)
    instances, services = read(case["drawing"])
    most, is_proven = most_freed(instances, services, case["headroom_percent"])
    found, freed = faults(case, instances, services)
    if freed > most:
        found.append(f"the program frees {most} at most, and {freed} come free")
    if found:
        found = [f"seed {case['seed']}, {case['headroom_percent']} %: {'; '.join(found)}\n{case['moves']}\n{case['drawing']}"]
    return case["seed"], found, freed, most, is_proven


def main():
    with multiprocessing.Pool() as pool:
        judged = pool.map(judge, sys.stdin, chunksize=4)
    wrong = [fault for _, found, *_ in judged for fault in found]
    print("\n".join(wrong), end="\n" if wrong else "")
    counted = [(seed, freed, most) for seed, _, freed, most, _ in judged if most > 0]
    gaps = [100 * (most - freed) / most for _, freed, most in counted]
    median = statistics.median(gaps)
    freed_of_all = sum(freed for _, freed, _ in counted) / sum(most for *_, most in counted)
    short = sorted(((most - freed, seed) for seed, freed, most in counted if freed < most), reverse=True)
    print(f"consolidation: {len(judged)} clusters, {len(wrong)} plans wrong")
    print(f"  some can come free: {len(counted)}; all that can do: {len(counted) - len(short)}")
    print(f"  gap to the most: median {median:.1f} %, mean {statistics.mean(gaps):.1f} %; freed of all that could be: {freed_of_all:.3f}")
    print(f"  furthest below: {[f'{by} (seed {seed})' for by, seed in short[:5]]}")
    print(f"  not proven in {MOST_SECONDS} s, and held to the bound: {sum(not is_proven for *_, is_proven in judged)}")
    if wrong or median >= MOST_MEDIAN_GAP_PERCENT or freed_of_all < LEAST_PART_FREED or len(counted) < 300:
        sys.exit(1)


if __name__ == "__main__":
    main()
