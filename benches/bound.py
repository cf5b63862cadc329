"""The shortest time in which ECS would let a rebalancing be done: by how fast tasks start, when they count as healthy, and its
token buckets. All of it as ECS documents it, or as the simulator has it where ECS promises nothing.

A service's moves go in surges of REBALANCER_SURGE percent of its desired count. A surge of k tasks is over no sooner than

    launches   ⌊(k - 1) ÷ 83⌋ × 10 s   ECS launches at most 500 tasks a minute for a service: 83 each 10 s
    first look 8 s                     the scheduler looks 4 to 12 s after the desired count was changed, evenly drawn
    start-up   4 + 21 × k ÷ (k + 1) s  each takes 4 to 25 s, evenly drawn; so long is the slowest of k, on average
    health     40 s                    where nothing checks a task; else what the check takes:
                                       of a container 10 + 10 × k ÷ (k + 1) s, drawn from 10 to 20 s;
                                       of a target 15.75 s, a look and a half, until it is registered, then 5 checks, 30 s apart,
                                       of which the first comes within 30 s: 120 + 30 × k ÷ (k + 1) s

    lowering   10 s                    what safety asks: the scheduler looks at a service once before the count goes down, so that it
                                       knows which tasks are protected
    last look  8 s                     the scheduler looks 4 to 12 s after the count went down, and takes the victims. No round begins
                                       before: the count raised again, nobody would go. No run ends before: who went is compared with
                                       who was meant to

Services go side by side, so the longest one counts. Safety also asks for a second look at the container instances, 30 s after
the reading. Before and after, the cluster is read: no sooner than its pages of tasks
come one after another, 30 ms each, with a describe, and the metrics after them; nor than the bucket gives: 100 requests at
once, 20 a second. What is asked meanwhile (protection: 200 at once and 80 a second; changes of services: 50 and 5) is fewer
than these buckets hold, and costs nothing. That the victims have stopped is not waited for.
"""

import math

LAUNCHES, LOOK_SECONDS = 83, 10
LATENCY_SECONDS = 0.030
NEXT_LOOK_SECONDS, UNTIL_REGISTERED_SECONDS = 8, 15.75
SETTLING_SECONDS = 40
PROTECTION_IS_KNOWN_SECONDS, SECOND_LOOK_SECONDS = 10, 30
BURST, REFILL_A_SECOND = 100, 20


def slowest(number, shortest, longest):
    """Of so many, evenly drawn."""
    return shortest + (longest - shortest) * number / (number + 1)


def health(tasks, check):
    """Until all of so many are healthy; what checks them is "targets", "containers" or nothing."""
    if check == "targets":
        return UNTIL_REGISTERED_SECONDS + slowest(tasks, 120, 150)
    return slowest(tasks, 10, 20) if check == "containers" else SETTLING_SECONDS


def surge(tasks, check):
    launches = (tasks - 1) // LAUNCHES * LOOK_SECONDS
    starts = NEXT_LOOK_SECONDS + launches + slowest(tasks, 4, 25) + health(tasks, check)
    return starts + PROTECTION_IS_KNOWN_SECONDS + NEXT_LOOK_SECONDS


def service_seconds(moves, desired, check, surge_percent):
    most = max(1, desired * surge_percent // 100)
    full, rest = divmod(moves, most)
    return full * surge(most, check) + (surge(rest, check) if rest else 0)


def reading_seconds(instances, tasks):
    chain = (math.ceil(tasks / 100) + 3) * LATENCY_SECONDS
    requests = 2 * math.ceil(instances / 100) + 2 * math.ceil(tasks / 100)
    return max(chain, (requests - BURST) / REFILL_A_SECOND)


def rebalancing_seconds(snapshot, report, surge_percent=25):
    """Of the rebalancing that a rehearsal's report tells of."""
    definitions = {it["taskDefinitionArn"]: it for it in snapshot["taskDefinitions"]}
    desired = {it["serviceName"]: it for it in snapshot["services"]}
    seconds = []
    for moved in (it for it in report["services"] if it["moved"]):
        service = desired[moved["name"]]
        containers = definitions[service["taskDefinition"]]["containerDefinitions"]
        has_checks = any(it.get("healthCheck") for it in containers)
        check = "targets" if service.get("loadBalancers") else "containers" if has_checks else None
        seconds.append(service_seconds(moved["moved"], service["desiredCount"], check, surge_percent))
    reading = reading_seconds(len(snapshot["containerInstances"]), len(snapshot["tasks"]))
    return max(seconds, default=0) + SECOND_LOOK_SECONDS + 2 * reading
