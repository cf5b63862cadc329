"""What a user would write instead: boto3's paginators, full batches, the same counts, the same metrics published.

    CLUSTER=production python read_and_count.py

It prints what it found. It knows services that spread over zones, then instances, without constraints, and no others.
"""

import collections
import json
import os

import boto3
import botocore.config

CLUSTER = os.environ["CLUSTER"]
# boto3's own default is to try five times in its old way; this is what its documentation recommends.
CONFIG = botocore.config.Config(retries={"mode": "standard", "max_attempts": 10})
requests = collections.Counter()


def client(service):
    client = boto3.client(service, config=CONFIG)
    client.meta.events.register("before-send", lambda event_name, **_: requests.update([event_name.split(".")[-1]]))
    return client


def listed(ecs, operation, key):
    pages = ecs.get_paginator(operation).paginate(cluster=CLUSTER, PaginationConfig={"PageSize": 100})
    return [arn for page in pages for arn in page[key]]


def described(describe, argument, key, arns, size, **more):
    batches = (arns[at : at + size] for at in range(0, len(arns), size))
    return [it for batch in batches for it in describe(cluster=CLUSTER, **{argument: batch}, **more)[key]]


def quotas(total, have):
    """`total` shared out evenly; one more goes to those that have the most already."""
    each, more = divmod(total, len(have))
    ranked = sorted(have, key=lambda domain: -have[domain])
    return {domain: each + (rank < more) for rank, domain in enumerate(ranked)}


def misplaced(tasks, zone_of):
    """The tasks of one service that are more than their instance's share of their zone's share."""
    on = collections.Counter({instance: 0 for instance in zone_of})
    on.update(task["containerInstanceArn"] for task in tasks)
    zones = collections.defaultdict(dict)
    for instance, count in on.items():
        zones[zone_of[instance]][instance] = count
    of_zone = quotas(len(tasks), {zone: sum(counts.values()) for zone, counts in zones.items()})
    kept = 0
    for zone, counts in zones.items():
        wanted = quotas(of_zone[zone], counts)
        kept += min(of_zone[zone], sum(min(counts[instance], wanted[instance]) for instance in counts))
    return len(tasks) - kept


def amount(instance, key, name):
    return next(it["integerValue"] for it in instance[key] if it["name"] == name)


def load_imbalance(instances, name):
    """The share of what is reserved that would have to move until all are reserved in proportion to their size."""
    registered = [amount(it, "registeredResources", name) for it in instances]
    reserved = [all_ - amount(it, "remainingResources", name) for all_, it in zip(registered, instances)]
    share = sum(reserved) / sum(registered)
    return 100 * sum(max(0, has - share * size) for has, size in zip(reserved, registered)) / max(1, sum(reserved))


def main():
    ecs, cloudwatch = client("ecs"), client("cloudwatch")
    services = described(
        ecs.describe_services, "services", "services", listed(ecs, "list_services", "serviceArns"), 10, include=["TAGS"]
    )
    instances = described(
        ecs.describe_container_instances, "containerInstances", "containerInstances",
        listed(ecs, "list_container_instances", "containerInstanceArns"), 100,
    )  # fmt: skip
    tasks = described(ecs.describe_tasks, "tasks", "tasks", listed(ecs, "list_tasks", "taskArns"), 100)
    zone_of = {
        it["containerInstanceArn"]: next(a["value"] for a in it["attributes"] if a["name"] == "ecs.availability-zone")
        for it in instances
        if it["status"] == "ACTIVE" and it["agentConnected"]
    }
    by_service = collections.defaultdict(list)
    for task in tasks:
        by_service[task["group"].removeprefix("service:")].append(task)
    found = {
        "MisplacedTasks": sum(misplaced(by_service[it["serviceName"]], zone_of) for it in services),
        "LoadImbalance": max(load_imbalance(instances, name) for name in ("CPU", "MEMORY")),
        "RunningTasks": len(tasks),
        "ContainerInstances": len(instances),
    }
    dimensions = [{"Name": "ClusterName", "Value": CLUSTER}]
    cloudwatch.put_metric_data(
        Namespace="ReadAndCount",
        MetricData=[{"MetricName": name, "Dimensions": dimensions, "Value": value} for name, value in found.items()],
    )
    print(json.dumps({**found, "requests": sum(requests.values())}))


if __name__ == "__main__":
    main()
