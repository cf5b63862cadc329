"""Levelling by ECS's own choice against an integer program.

    cargo run --example oracle-cases levelling 1000 | python tests/peers/oracle_levelling.py

Needs PyPI's highspy. Each line of the input is a drawn cluster in which every service is spread, and what a run without steering
made of it, on a simulator that chooses at random among instances that ECS's rules leave equal. The program finds the fewest moves
after which the load imbalance is as low, if each task could be sent where one likes: what steering does at best. It also tells
whether the threshold could be reached at all. What the run left is checked by itself: all tasks are there, each service is spread,
zones that ECS evens out have kept their tasks, and the load is no less even.
"""

import json
import multiprocessing
import sys
from collections import Counter

from drawn import ZONE, domains, is_spread, read
from oracle_machines import Fewest, load_imbalance

# All moves together, to the fewest: 1.32 when this was written. ECS chooses where a task lands, so many a landing evens out less
# than the best would.
MOST_TO_FEWEST = 1.5
UNDER = "under the threshold"
# A run may start so many in vain whatever it moves.
FEWEST_IN_VAIN = 4
# What a figure that was rounded may be off by.
HARDLY_ABOVE_PERCENT = 1e-4


def tasks_by_zone(instances, service):
    return [sum(it.tasks[service.name] for it in zone) for zone in domains(instances, ZONE)]


def judge(line):
    case = json.loads(line)
    before, services = read(case["drawing"])
    after, _ = read(case["drawing"])
    for instance in after:
        instance.tasks = Counter(case["after"].get(instance.name, []))
    found = []
    for name, service in services.items():
        zones_before, zones_after = tasks_by_zone(before, service), tasks_by_zone(after, service)
        if sum(zones_before) != sum(zones_after):
            found.append(f"{name} has {sum(zones_after)} tasks of {sum(zones_before)}")
        if not is_spread(service, after):
            found.append(f"{name} is not spread any more")
        if service.zones_stay and zones_before != zones_after:
            found.append(f"{name}'s zones don't stay")
    imbalance_before, imbalance_after = load_imbalance(before, services), load_imbalance(after, services)
    if imbalance_after > imbalance_before:
        found.append(f"load imbalance rises from {float(imbalance_before):.1f} to {float(imbalance_after):.1f} %")
    moves, in_vain, threshold = case["moves"], case["starts_in_vain"], case["threshold_percent"]
    if in_vain > max(FEWEST_IN_VAIN, moves // 2):
        found.append(f"{in_vain} started in vain beside {moves} moves")
    kind, reached = UNDER, threshold
    if imbalance_after >= threshold:
        could_be, _ = Fewest(before, services, threshold).solve()
        kind = "not under it, and nothing could be" if could_be is None else "not under it, and steering could be"
        reached = float(imbalance_after) + HARDLY_ABOVE_PERCENT
    fewest, is_proven = Fewest(before, services, reached).solve()
    if is_proven and fewest is not None and moves < fewest:
        found.append(f"the program finds {fewest} moves at least, and {moves} are enough")
    faults = [f"seed {case['seed']}, {threshold} %: {'; '.join(found)}\n{case['drawing']}"] if found else []
    return kind, faults, moves, in_vain, fewest or 0


def main():
    with multiprocessing.Pool() as pool:
        judged = pool.map(judge, sys.stdin, chunksize=4)
    wrong = [fault for _, faults, *_ in judged for fault in faults]
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"levelling: {len(judged)} clusters, {len(wrong)} runs wrong")
    ratios = {}
    for kind in sorted({kind for kind, *_ in judged}, reverse=True):
        of_kind = [sums for it, _, *sums in judged if it == kind]
        moves, in_vain, fewest = (sum(it) for it in zip(*of_kind))
        ratios[kind] = moves / fewest if fewest else 1
        print(f"  {kind}: {len(of_kind)}; {moves} moves, {ratios[kind]:.2f} times the fewest; {in_vain} starts in vain")
    if wrong or not judged or ratios.get(UNDER, 1) > MOST_TO_FEWEST:
        sys.exit(1)


if __name__ == "__main__":
    main()
