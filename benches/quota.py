"""A cluster as large as ECS's quotas allow, as a snapshot: 5,000 container instances, 5,000 services, 100,000 tasks. Of three
instances two came back empty, so that services are uneven in earnest; the same in every run."""

import random

INSTANCES, SERVICES, TASKS_OF_SERVICE = 5_000, 5_000, 20
ACCOUNT = "arn:aws:ecs:us-east-1:111122223333"


def resources(cpu, memory):
    return [
        {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
    ]


def instance(number, tasks):
    cpu, memory = (tasks + 20) * 256, (tasks + 20) * 512
    return {
        "containerInstanceArn": f"{ACCOUNT}:container-instance/quota/{number:032x}",
        "ec2InstanceId": f"i-{number:017x}", "status": "ACTIVE", "agentConnected": True, "runningTasksCount": tasks,
        "registeredAt": 1_760_000_000,
        "registeredResources": resources(cpu, memory),
        "remainingResources": resources(cpu - tasks * 256, memory - tasks * 512),
        "attributes": [{"name": "ecs.availability-zone", "value": f"us-east-1{'abc'[number % 3]}"}],
    }  # fmt: skip


def service(number):
    name = f"service-{number}"
    return {
        "serviceArn": f"{ACCOUNT}:service/quota/{name}", "serviceName": name, "status": "ACTIVE", "launchType": "EC2",
        "desiredCount": TASKS_OF_SERVICE, "runningCount": TASKS_OF_SERVICE, "schedulingStrategy": "REPLICA",
        "taskDefinition": f"{ACCOUNT}:task-definition/{name}:1", "createdAt": 1_760_000_000,
    }  # fmt: skip


def definition(number):
    name = f"service-{number}"
    return {
        "taskDefinitionArn": f"{ACCOUNT}:task-definition/{name}:1", "family": name, "revision": 1, "status": "ACTIVE",
        "containerDefinitions": [{"name": "app", "image": "app", "cpu": 256, "memory": 512, "essential": True}],
    }  # fmt: skip


def task(number, of_service, on_instance):
    return {
        "taskArn": f"{ACCOUNT}:task/quota/{number:032x}", "group": f"service:service-{of_service}", "launchType": "EC2",
        "taskDefinitionArn": f"{ACCOUNT}:task-definition/service-{of_service}:1",
        "containerInstanceArn": f"{ACCOUNT}:container-instance/quota/{on_instance:032x}",
        "startedBy": f"ecs-svc/service-{of_service}", "lastStatus": "RUNNING", "desiredStatus": "RUNNING",
        "cpu": "256", "memory": "512", "createdAt": 1_760_000_000, "startedAt": 1_760_000_020,
    }  # fmt: skip


def snapshot():
    chance = random.Random(0)
    places = [chance.randrange(0, INSTANCES, 3) for _ in range(SERVICES * TASKS_OF_SERVICE)]
    held = [0] * INSTANCES
    for place in places:
        held[place] += 1
    return {
        "cluster": {"clusterArn": f"{ACCOUNT}:cluster/quota", "clusterName": "quota", "status": "ACTIVE"},
        "containerInstances": [instance(number, tasks) for number, tasks in enumerate(held)],
        "services": [service(number) for number in range(SERVICES)],
        "taskDefinitions": [definition(number) for number in range(SERVICES)],
        "tasks": [task(number, number // TASKS_OF_SERVICE, place) for number, place in enumerate(places)],
    }
