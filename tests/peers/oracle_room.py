"""The making of room against an integer program.

    cargo run --example oracle-cases room | python tests/peers/oracle_room.py

Needs PyPI's highspy. Each line of the input is a drawn cluster in which a service lacks tasks that don't all fit, with the job's
moves and the places it expects. The program states what is wanted, not the job's way: as many of the lacking tasks as can be
have a place, by as few moves of other services' tasks as can be. Each service moves in one of two turns; in each turn every task
had room where it went, with what leaves in that turn not counted as room; in each availability zone a service that spreads over
them has as many tasks as before, unless it has only one, and one that spreads over instances has no more tasks too many or too few
than before. Each plan is checked against the same, by itself.
"""

import json
import math
import multiprocessing
import statistics
import sys
from collections import Counter

import highspy
from drawn import ZONE, domains, read, reserved
from oracle_machines import may_move

MOST_SECONDS = 2
MOST_MEDIAN_GAP_PERCENT = 2
# The job stops at 12 moves for a task, and at one that needs another before it.
LEAST_PART_PLACED = 0.92
INTEGER = highspy.HighsVarType.kInteger
BINARY = dict(lb=0, ub=1, type=INTEGER)
# CPU, memory, and the one host port that is drawn.
KINDS = range(3)


def takes(service):
    return (service.cpu, service.memory, int(bool(service.ports)))


def free(instance, services):
    taken = reserved(instance, services)
    with_port = sum(tasks for name, tasks in instance.tasks.items() if services[name].ports)
    return (instance.cpu - taken[0], instance.memory - taken[1], 1 - with_port)


def stays_inside(service, instances):
    """The instances of each domain inside which its tasks may be anywhere."""
    eligible = [it for it in instances if service.may_run_on(it)]
    is_only_task = sum(it.tasks[service.name] for it in instances) == 1
    return domains(eligible, ZONE) if ZONE in service.levels and not is_only_task else [eligible] if eligible else []


def beyond(counts):
    """By how many tasks instances are above what the even share allows, and by how many below."""
    share, more = divmod(sum(counts), len(counts))
    most = share + bool(more)
    return sum(max(0, it - most) for it in counts), sum(max(0, share - it) for it in counts)


class Room:
    """The program."""

    def __init__(self, instances, services, short, lacking):
        self.program = program = highspy.Highs()
        program.silent()
        self.lacking = lacking
        self.leaves = []
        self.free = {it.name: free(it, services) for it in instances}
        # By instance and turn.
        self.coming = {(it.name, turn): [] for it in instances for turn in range(2)}
        self.leaving = {(it.name, turn): [] for it in instances for turn in range(2)}
        for service in services.values():
            if service.name != short.name and may_move(service):
                self.add(service, instances)
        self.places = {}
        for instance in instances:
            if short.may_run_on(instance):
                most = min(lacking, 1 - min(1, instance.tasks[short.name])) if short.one_on_each else lacking
                self.places[instance.name] = program.addVariable(lb=0, ub=most, type=INTEGER)
            for kind in KINDS:
                self.fits(instance, kind, short)
        program.addConstr(self.placed() <= lacking)
        program.setOptionValue("time_limit", float(MOST_SECONDS))
        program.setOptionValue("threads", 1)

    def add(self, service, instances):
        program = self.program
        total = sum(it.tasks[service.name] for it in instances)
        is_later = program.addVariable(**BINARY)
        left = []
        for part in stays_inside(service, instances):
            change = {}
            for instance in part:
                here = instance.tasks[service.name]
                terms = change[instance.name] = []
                for turn in range(2):
                    in_turn = is_later if turn else 1 - is_later
                    if here:
                        leaves = program.addVariable(lb=0, ub=here, type=INTEGER)
                        program.addConstr(leaves <= here * in_turn)
                        self.leaving[instance.name, turn].append((takes(service), leaves))
                        left.append(leaves)
                        terms.append(-leaves)
                    most = 1 - min(1, here) if service.one_on_each else total
                    if most:
                        comes = program.addVariable(lb=0, ub=most, type=INTEGER)
                        program.addConstr(comes <= most * in_turn)
                        self.coming[instance.name, turn].append((takes(service), comes))
                        terms.append(1 * comes)
            program.addConstr(program.qsum([term for terms in change.values() for term in terms]) == 0)
            counts = [it.tasks[service.name] for it in part]
            if "instanceId" in service.levels and sum(counts):
                share, more = divmod(sum(counts), len(counts))
                above, below = [], []
                for instance in part:
                    after = instance.tasks[service.name] + program.qsum(change[instance.name])
                    above.append(program.addVariable(lb=0))
                    program.addConstr(after - above[-1] <= share + bool(more))
                    below.append(program.addVariable(lb=0))
                    program.addConstr(after + below[-1] >= share)
                for excess, before in zip((above, below), beyond(counts)):
                    program.addConstr(program.qsum([1 * it for it in excess]) <= before)
        most = service.settings.get("tag.ecs-rebalancer:max-moves")
        if most is not None and left:
            program.addConstr(program.qsum([1 * it for it in left]) <= int(most))
        self.leaves.extend(left)

    def fits(self, instance, kind, short):
        """What comes in each turn, and the lacking tasks at last."""
        program = self.program
        of = lambda terms: [size[kind] * number for size, number in terms if size[kind]]  # noqa: E731
        name = instance.name
        came, left = [], []
        for turn in range(2):
            comes = of(self.coming[name, turn])
            if comes:
                program.addConstr(program.qsum(came + comes) - program.qsum(left) <= self.free[name][kind])
            came, left = came + comes, left + of(self.leaving[name, turn])
        if name in self.places and takes(short)[kind]:
            last = came + [takes(short)[kind] * self.places[name]]
            program.addConstr(program.qsum(last) - program.qsum(left) <= self.free[name][kind])

    def placed(self):
        return self.program.qsum([1 * it for it in self.places.values()])

    def solve(self, objective, least):
        """The number, and whether it is proven; the bound where it isn't. None where there is no way."""
        solve = self.program.minimize if least else self.program.maximize
        solve(objective)
        status = self.program.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None, True
        if status == highspy.HighsModelStatus.kTimeLimit:
            bound = self.program.getInfo().mip_dual_bound
            # Where there was not even time for a bound, no fewer moves than none are needed, and all that are lacking may fit.
            if not math.isfinite(bound):
                return (0 if least else self.lacking), False
            return round(bound + 0.499999 if least else bound - 0.499999), False
        assert status == highspy.HighsModelStatus.kOptimal, status
        return round(self.program.getObjectiveValue()), True

    def most_placed(self):
        return self.solve(self.placed(), least=False) if self.places else (0, True)

    def fewest_moves(self, placed):
        self.program.addConstr(self.placed() >= placed)
        if not self.leaves:
            return 0, True
        moves, is_proven = self.solve(self.program.qsum([1 * it for it in self.leaves]), least=True)
        return (max(0, moves) if moves is not None else None), is_proven


def faults(case, instances, services):
    """What is wrong with the job's plan. Makes its moves."""
    found = []
    by_name = {it.name: it for it in instances}
    at_first = {it.name: Counter(it.tasks) for it in instances}
    counts = lambda service: [[it.tasks[service.name] for it in part] for part in stays_inside(service, instances)]  # noqa: E731
    before = {name: counts(service) for name, service in services.items()}
    moved, turn_of = Counter(), {}

    def come(name, target, has_room):
        instance, service = by_name[target], services[name]
        if not all(has >= asks for has, asks in zip(has_room, takes(service))):
            found.append(f"{target} has no room for {name}")
        if not service.may_run_on(instance) or (service.one_on_each and instance.tasks[name] > 0):
            found.append(f"{target} may not take {name}")
        instance.tasks[name] += 1
        return [has - asks for has, asks in zip(has_room, takes(service))]

    for turn, moves in enumerate(case["turns"]):
        has_room = {it.name: free(it, services) for it in instances}
        for name, source, target in moves:
            if name == case["short"] or not may_move(services[name]) or at_first[source][name] <= 0:
                found.append(f"a task of {name} on {source} may not move")
            if turn_of.setdefault(name, turn) != turn:
                found.append(f"{name} moves in both turns")
            at_first[source][name] -= 1
            has_room[target] = come(name, target, has_room[target])
            moved[name] += 1
        for name, source, _ in moves:
            by_name[source].tasks[name] -= 1
    for name, service in services.items():
        after = counts(service)
        if [sum(part) for part in after] != [sum(part) for part in before[name]]:
            found.append(f"{name} has other numbers in its zones")
        if "instanceId" in service.levels:
            worse = [any(it > was for it, was in zip(beyond(part), beyond(had))) for part, had in zip(after, before[name])]
            if any(worse):
                found.append(f"{name} is spread worse")
        if moved[name] > int(service.settings.get("tag.ecs-rebalancer:max-moves", 10**6)):
            found.append(f"{name} moves {moved[name]} times")
    for target in case["places"]:
        come(case["short"], target, free(by_name[target], services))
    if len(case["places"]) > case["lacking"]:
        found.append("more places than tasks are lacking")
    return found


def judge(line):
    case = json.loads(line)
    instances, services = read(case["drawing"])
    room = Room(instances, services, services[case["short"]], case["lacking"])
    placed, moves = len(case["places"]), sum(map(len, case["turns"]))
    most, most_is_proven = room.most_placed()
    fewest, fewest_is_proven = room.fewest_moves(placed)
    found = faults(case, instances, services)
    if placed > most or fewest is None or moves < fewest:
        found.append(f"the program places {most} at most, and needs {fewest} moves for {placed}; the job needs {moves}")
    if found:
        found = [f"seed {case['seed']}: {'; '.join(found)}\n{case['turns']} {case['places']}\n{case['drawing']}"]
    return case["seed"], found, (placed, most), (moves, fewest), most_is_proven and fewest_is_proven


def main():
    with multiprocessing.Pool() as pool:
        judged = pool.map(judge, sys.stdin, chunksize=4)
    wrong = [fault for _, found, *_ in judged for fault in found]
    print("\n".join(wrong), end="\n" if wrong else "")
    placed, most = (sum(it[2][at] for it in judged) for at in range(2))
    fewer = [(most - placed, seed) for seed, _, (placed, most), *_ in judged if placed < most]
    counted = [(moves, fewest, seed) for seed, _, _, (moves, fewest), _ in judged if fewest]
    gaps = [100 * (moves - fewest) / fewest for moves, fewest, _ in counted]
    median = statistics.median(gaps)
    more = [it for it in counted if it[0] > it[1]]
    all_moves = sum(moves for moves, *_ in counted) / sum(fewest for _, fewest, _ in counted)
    worst = max(more, key=lambda it: it[0] - it[1], default=None)
    print(f"room: {len(judged)} clusters, {len(wrong)} plans wrong")
    print(f"  lacking tasks with a place: {placed} of the {most} that can have one: {placed / most:.3f}; fewer on {len(fewer)}: {sorted(fewer, reverse=True)[:5]}")
    print(f"  room is made on {len(counted)}, by the fewest moves for as many on {len(counted) - len(more)}")
    print(f"  gap to the fewest: median {median:.1f} %, mean {statistics.mean(gaps):.1f} %, all moves together {100 * (all_moves - 1):.1f} %")
    if worst:
        print(f"  worst: {worst[0]} moves where {worst[1]} are enough (seed {worst[2]})")
    print(f"  not proven in {MOST_SECONDS} s, and held to the bound: {sum(not is_proven for *_, is_proven in judged)}")
    if wrong or median >= MOST_MEDIAN_GAP_PERCENT or placed < LEAST_PART_PLACED * most or len(counted) < 300:
        sys.exit(1)


if __name__ == "__main__":
    main()
