"""Levelling by ECS's own choice against an integer program.

    cargo run --example oracle-cases levelling 1000 | python tests/peers/oracle_levelling.py

Needs PyPI's highspy. Each line of the input is a drawn cluster in which every service is spread, and what a run without steering
made of it, on a simulator that chooses at random among instances that ECS's rules leave equal. The program finds the fewest moves
after which the load imbalance is as low, if each task could be sent where one likes: what steering does at best. It also tells
whether the threshold could be reached at all; and where one move would do if steered, how many any way without steering needs on
average, since ECS chooses where the task lands. What the run left is checked by itself: all tasks are there, each service is spread,
zones that ECS evens out have kept their tasks, and the load is no less even.
"""

import json
import math
import multiprocessing
import sys
from collections import Counter

from drawn import ZONE, domains, is_spread, next_places, read, reserved
from oracle_machines import Fewest, load_imbalance, may_move, room

# All moves together, to the fewest: 1.32 when this was written. ECS chooses where a task lands, so many a landing evens out less
# than the best would.
MOST_TO_FEWEST = 1.5
UNDER = "under the threshold"
# A run may start so many in vain whatever it moves.
FEWEST_IN_VAIN = 4
# A service is tried no more after so many starts in a row of which nothing came.
TRIES = 2
# REBALANCER_SURGE is 25 %: of so many tasks, two are started at once.
FEWEST_FOR_SEVERAL = 8
# The run's moves, where one steered move would do, to what any way without steering needs: 1.07 when this was written.
MOST_TO_UNSTEERED = 1.15
# What a figure that was rounded may be off by.
HARDLY_ABOVE_PERCENT = 1e-4


def tasks_by_zone(instances, service):
    return [sum(it.tasks[service.name] for it in zone) for zone in domains(instances, ZONE)]


def levels_at_once(service, instances, services, threshold, place):
    """Whether one of the service's tasks may go, and the load is under the threshold, once a new one is on that instance."""
    zones = tasks_by_zone(instances, service)

    def may_go_from(instance):
        instance.tasks[service.name] -= 1
        stays = is_spread(service, instances) and (not service.zones_stay or tasks_by_zone(instances, service) == zones)
        is_under = stays and load_imbalance(instances, services) < threshold
        instance.tasks[service.name] += 1
        return is_under

    origins = [it for it in instances if it is not place and it.tasks[service.name]]
    place.tasks[service.name] += 1
    is_under = any(may_go_from(it) for it in origins)
    place.tasks[service.name] -= 1
    return is_under


def moves_without_steering(instances, services, threshold):
    """Where one steered move would bring the load under the threshold: how many moves any way without steering needs on average, at
    least, unless it gives up. A start levels the load if it lands right, each of ECS's places being as likely as any other. The
    surest ones come first. A service of which several may be started at once is taken to be sure, if any place is right. Where none lands right before the starts in vain are used up, two moves are enough at best."""
    taken = {it.name: reserved(it, services) for it in instances}
    ports = {it.name: any(services[name].ports for name in it.tasks) for it in instances}
    free_on = lambda it: [has - used for has, used in zip(it.size, taken[it.name])]  # noqa: E731
    chances = []
    for service in filter(may_move, services.values()):
        has_room = lambda it: room(service, it, taken[it.name], ports[it.name]) > 0  # noqa: B023, E731
        places = next_places(service, instances, has_room, free_on)
        right = [levels_at_once(service, instances, services, threshold, place) for place in places]
        if any(right):
            is_sure = sum(it.tasks[service.name] for it in instances) >= FEWEST_FOR_SEVERAL
            chances += [1.0 if is_sure else sum(right) / len(places)] * TRIES
    surest = sorted(chances, reverse=True)[: FEWEST_IN_VAIN + 1]
    return 1 + math.prod(1 - chance for chance in surest)


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
    kind, reached, could_be = UNDER, threshold, None
    if imbalance_after >= threshold:
        could_be, _ = Fewest(before, services, threshold).solve()
        kind = "not under it, and nothing could be" if could_be is None else "not under it, and steering could be"
        reached = float(imbalance_after) + HARDLY_ABOVE_PERCENT
    fewest, is_proven = Fewest(before, services, reached).solve()
    if is_proven and fewest is not None and moves < fewest:
        found.append(f"the program finds {fewest} moves at least, and {moves} are enough")
    would_be = fewest if kind == UNDER else could_be
    unsteered = moves_without_steering(before, services, threshold) if would_be == 1 else None
    faults = [f"seed {case['seed']}, {threshold} %: {'; '.join(found)}\n{case['drawing']}"] if found else []
    return kind, faults, unsteered, moves, in_vain, fewest or 0


def main():
    with multiprocessing.Pool() as pool:
        judged = pool.map(judge, sys.stdin, chunksize=4)
    wrong = [fault for _, faults, *_ in judged for fault in faults]
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"levelling: {len(judged)} clusters, {len(wrong)} runs wrong")
    ratios = {}
    for kind in sorted({kind for kind, *_ in judged}, reverse=True):
        of_kind = [sums for it, _, _, *sums in judged if it == kind]
        moves, in_vain, fewest = (sum(it) for it in zip(*of_kind))
        ratios[kind] = moves / fewest if fewest else 1
        print(f"  {kind}: {len(of_kind)}; {moves} moves, {ratios[kind]:.2f} times the fewest; {in_vain} starts in vain")
    needed = [unsteered for _, _, unsteered, *_ in judged if unsteered]
    made = [moves for kind, _, unsteered, moves, *_ in judged if unsteered and kind == UNDER]
    needs, makes = (sum(it) / max(1, len(it)) for it in (needed, made))
    print(f"  one steered move would do: {len(needed)}; any way without steering needs {needs:.2f} on average, and gives none up")
    print(f"  of these under the threshold: {len(made)}; {makes:.2f} moves on average")
    if wrong or not judged or ratios.get(UNDER, 1) > MOST_TO_FEWEST or makes > needs * MOST_TO_UNSTEERED:
        sys.exit(1)


if __name__ == "__main__":
    main()
