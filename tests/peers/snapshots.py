"""Snapshots of a simulated cluster, put together from ECS's own answers as README says it can be done."""

import json

ROLE = "arn:aws:iam::111122223333:role/web"


def take(client, cluster, name, tags):
    """The cluster's snapshot, with `name` in its name's place. Its services have these tags, and may do with half their tasks
    for a while; their task definitions have roles and a tag. Its instances are of a capacity provider."""
    def arns(operation, key):
        return getattr(client, operation)(cluster=cluster, maxResults=100)[key]

    def described(operation, key, **arguments):
        return getattr(client, operation)(**arguments)[key]

    services = described(
        "describe_services", "services", cluster=cluster, services=arns("list_services", "serviceArns"), include=["TAGS"]
    )
    definitions = [
        client.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"] for service in services
    ]
    for definition in definitions:
        definition["taskRoleArn"] = definition["executionRoleArn"] = ROLE
        definition["tags"] = [{"key": "team", "value": "web"}]
    for service in services:
        service["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        service["deploymentConfiguration"]["minimumHealthyPercent"] = 50
    instances = described(
        "describe_container_instances",
        "containerInstances",
        cluster=cluster,
        containerInstances=arns("list_container_instances", "containerInstanceArns"),
    )
    for instance in instances:
        instance["capacityProviderName"] = "on-demand"
    snapshot = {
        "cluster": described("describe_clusters", "clusters", clusters=[cluster])[0],
        "containerInstances": instances,
        "services": services,
        "tasks": described("describe_tasks", "tasks", cluster=cluster, tasks=arns("list_tasks", "taskArns")),
        "taskDefinitions": definitions,
    }
    text = json.dumps(snapshot, default=lambda moment: moment.timestamp())
    return text.replace(f"/{cluster}", f"/{name}").replace(f'"{cluster}"', f'"{name}"')
