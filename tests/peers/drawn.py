"""Drawn clusters, read anew for the integer programs: the notation is the simulator's (`ecs-simulator/src/drawing.rs`), and what is
made of it is said here a second time."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

ZONE = "attribute:ecs.availability-zone"


@dataclass
class Instance:
    name: str
    zone: str
    cpu: int
    memory: int
    attributes: dict
    tasks: Counter
    gpus: int = 0
    provider: str = ""

    @property
    def size(self):
        return (self.cpu, self.memory, self.gpus)


@dataclass
class Service:
    name: str
    cpu: int
    memory: int
    gpus: int
    levels: list
    expressions: list
    is_distinct: bool
    ports: list
    settings: dict = field(repr=False)

    @property
    def size(self):
        return (self.cpu, self.memory, self.gpus)

    @property
    def one_on_each(self):
        return self.is_distinct or bool(self.ports)

    @property
    def zones_stay(self):
        """ECS evens its zones itself."""
        return self.settings.get("azrebalancing") == "true" and self.levels[:1] == [ZONE]

    def may_run_on(self, instance):
        """Whatever else is there."""
        fulfils = lambda name, value: instance.attributes.get(name) == value  # noqa: E731
        return all(has >= asks for has, asks in zip(instance.size, self.size)) and all(
            fulfils(*expression) for expression in self.expressions
        )


def read(drawing):
    """The instances and, by name, the services."""
    instances, services = [], {}
    for line in drawing.splitlines():
        first, second, *words = line.split()
        values = dict(word.split("=", 1) for word in words if "=" in word)
        number = lambda name, default: int(values.get(name, default))  # noqa: E731, B023
        if first == "service":
            levels = []
            for entry in values.get("strategy", f"spread:{ZONE},spread:instanceId").split(","):
                kind, _, of = entry.partition(":")
                if kind != "spread":
                    break
                levels.append(of)
            constraints = [it for it in values.get("constraint", "").split(",") if it]
            # The one expression that is drawn: attribute:NAME == VALUE, with _ for a blank.
            members = [it.removeprefix("memberOf:attribute:").split("_==_") for it in constraints if it.startswith("memberOf")]
            services[second] = Service(
                second, number("cpu", 256), number("memory", 512), number("gpus", 0), levels, members,
                "distinctInstance" in constraints, [it for it in values.get("port", "").split(",") if it], values,
            )  # fmt: skip
        else:
            attributes = {name.removeprefix("attr."): value for name, value in values.items() if name.startswith("attr.")}
            tasks = Counter(word for word in words if "=" not in word)
            instances.append(
                Instance(
                    second, first, number("cpu", 4096), number("memory", 8192), attributes, tasks,
                    number("gpus", 0), values.get("provider", ""),
                )  # fmt: skip
            )
    return instances, services


def reserved(instance, services):
    """CPU, memory, GPUs."""
    return tuple(sum(services[name].size[kind] * tasks for name, tasks in instance.tasks.items()) for kind in range(3))


def domains(instances, level):
    """Instances by the value of a level."""
    by_value = defaultdict(list)
    for instance in instances:
        by_value[instance.name if level in ("instanceId", "host") else instance.zone].append(instance)
    return list(by_value.values())


def next_places(service, instances, has_room, free_on):
    """Where ECS may place the service's next task: of the instances that have room for it, those in the domains with the fewest of
    its tasks, level by level. Where the strategy goes on with binpack, those of them that have the least free. What is free is told
    as CPU and memory."""
    eligible = [it for it in instances if service.may_run_on(it)]

    def crowds(instance):
        group, counts = eligible, []
        for level in service.levels:
            group = next(part for part in domains(group, level) if any(it is instance for it in part))
            counts.append(sum(it.tasks[service.name] for it in group))
        return counts

    crowds_at = [(crowds(it), it) for it in eligible if has_room(it)]
    fewest = min((counts for counts, _ in crowds_at), default=None)
    places = [it for counts, it in crowds_at if counts == fewest]
    entries = service.settings.get("strategy", "").split(",")
    packed_by = next((entry.removeprefix("binpack:") for entry in entries if entry.startswith("binpack:")), None)
    if packed_by is None or "instanceId" in service.levels:
        return places
    free = lambda it: free_on(it)[0 if packed_by == "cpu" else 1]  # noqa: E731
    least = min(map(free, places), default=None)
    return [it for it in places if free(it) == least]


def is_spread(service, instances):
    """Whether at each level no two domains differ by more than one task, except where the smaller is full."""

    def holds(instances, levels):
        if not levels:
            return True
        parts = domains(instances, levels[0])
        counts = [sum(it.tasks[service.name] for it in part) for part in parts]
        wanting = [count for count, part in zip(counts, parts) if not (service.one_on_each and count >= len(part))]
        return max(counts) - min(wanting, default=max(counts)) <= 1 and all(holds(part, levels[1:]) for part in parts)

    eligible = [it for it in instances if service.may_run_on(it)]
    return not eligible or holds(eligible, service.levels)


def spread_rules(program, service, instances, tasks, total, integer):
    """The same as rules of a program, for the numbers of tasks by instance's name; whether all tasks are there is not said."""
    binary = dict(lb=0, ub=1, type=integer)

    def arrange(instances, levels):
        inside = sum((tasks[it.name] for it in instances[1:]), tasks[instances[0].name] + 0)
        if not levels:
            return inside
        # Some number has all at most one above it, and all that aren't full not below it.
        floor = program.addVariable(lb=-1, ub=total, type=integer)
        for part in domains(instances, levels[0]):
            of_domain = arrange(part, levels[1:])
            program.addConstr(of_domain <= floor + 1)
            if service.one_on_each:
                is_full = program.addVariable(**binary)
                program.addConstr(of_domain >= len(part) * is_full)
                program.addConstr(of_domain >= floor - (total + 1) * is_full)
            else:
                program.addConstr(of_domain >= floor)
        return inside

    if instances:
        arrange(instances, service.levels)
