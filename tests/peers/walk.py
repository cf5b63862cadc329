"""The three ways in which a run is started, walked through on the simulator: by the clock, by the event of an instance that
joined, and by hand. Each run has exactly the environment that the Terraform renders for it. On EC2 the job is a task of the
cluster itself: it is started there, in each network mode, and tells the job which it is.

    walk.py JOB SIMULATOR STATES

STATES is what `terraform test -json -verbose` printed. moto, which nobody here wrote, decides which events match the rule.
"""

import concurrent.futures
import contextlib
import copy
import http.server
import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time

from moto.events.models import EventPattern

import rendered
import snapshots
from socket_and_signals import RUN_SECONDS, SPEED, TERMINATED, check, ecs, finish, simulator, start

CLUSTER = "reference"
# So slow that a run is still at work when the AWS CLI, twice started on a busy machine, has ended it.
SPEED_TO_END = 4
# ECS's documented example, whole but for the attributes [developer guide, "Amazon ECS container instance state change events"].
DOCUMENTED = {
    "version": "0",
    "id": "8952ba83-7be2-4ab5-9c32-6687532d15a2",
    "detail-type": "ECS Container Instance State Change",
    "source": "aws.ecs",
    "account": "111122223333",
    "time": "2016-12-06T16:41:06Z",
    "region": "us-east-1",
    "resources": ["arn:aws:ecs:us-east-1:111122223333:container-instance/b54a2a04-046f-4331-9d74-3f6d7f6ca315"],
    "detail": {
        "agentConnected": True,
        "attributes": [{"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"}],
        "clusterArn": "arn:aws:ecs:us-east-1:111122223333:cluster/default",
        "containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/b54a2a04-046f-4331-9d74-3f6d7f6ca315",
        "ec2InstanceId": "i-f3a8506b",
        "registeredResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 3767},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2376", "2375", "51678", "51679"]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ],
        "remainingResources": [
            {"name": "CPU", "type": "INTEGER", "integerValue": 1988},
            {"name": "MEMORY", "type": "INTEGER", "integerValue": 767},
            {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22", "2376", "2375", "51678", "51679"]},
            {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
        ],
        "status": "ACTIVE",
        "version": 14801,
        "versionInfo": {"agentHash": "aebcbca", "agentVersion": "1.13.0", "dockerVersion": "DockerVersion: 1.11.2"},
        "updatedAt": "2016-12-06T16:41:06.991Z",
    },
}


def joined(instance, cluster_arn):
    """The documented event, of an instance that has just joined this cluster."""
    event = copy.deepcopy(DOCUMENTED)
    event["resources"] = [instance]
    event["detail"].update(containerInstanceArn=instance, clusterArn=cluster_arn, version=3)
    return event


def transformed(transformer, event):
    """RunTask's overrides, as EventBridge makes them: each placeholder stands for its value as JSON."""
    def value(path):
        found = event
        for step in path.removeprefix("$.").split("."):
            found = found[step]
        return json.dumps(found)

    paths = transformer["input_paths"]
    return json.loads(re.sub(r"<(\w+)>", lambda placeholder: value(paths[placeholder.group(1)]), transformer["input_template"]))


def check_the_pattern(state, event):
    """Which events start a run; `event` does."""
    pattern = EventPattern.load(state[f'aws_cloudwatch_event_rule.joined["{CLUSTER}"]']["event_pattern"])

    def matches(**detail):
        return pattern.matches_event({**event, "detail": {**event["detail"], **detail}})

    check("an instance that joined starts a run", matches(), True)
    check("the documented event, an instance's 14,801st change, doesn't", matches(version=DOCUMENTED["detail"]["version"]), False)
    check("nor one whose agent is not connected", matches(agentConnected=False), False)
    check("nor one that is draining", matches(status="DRAINING"), False)
    check("nor one of another cluster", matches(clusterArn=DOCUMENTED["detail"]["clusterArn"]), False)
    check("nor another kind of event", pattern.matches_event({**event, "detail-type": "ECS Task State Change"}), False)


def run(job, simulator_command, state, overrides):
    """Starts the job as ECS does; gives its summary."""
    with simulator(simulator_command, SPEED) as environment:
        settings = rendered.environment(rendered.container(state, CLUSTER), overrides)
        status, report, log = finish(start(job, {**environment, **settings}))
        check("exit status", (status, report["errors"]), (0, ""))
        return report


def by_the_clock(job, simulator_command, state):
    target = state[f'aws_scheduler_schedule.this["{CLUSTER}"]']["target"][0]
    report = run(job, simulator_command, state, json.loads(target["input"]))
    check("by the clock: outcome and trigger", (report["outcome"], report["trigger"]), ("rebalanced", None))


def by_the_event(job, simulator_command, state):
    with simulator(simulator_command, SPEED) as environment:
        client = ecs(environment)
        arns = client.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]
        instances = client.describe_container_instances(cluster=CLUSTER, containerInstances=arns)["containerInstances"]
        cluster_arn = client.describe_clusters(clusters=[CLUSTER])["clusters"][0]["clusterArn"]
    target = state[f'aws_cloudwatch_event_target.joined["{CLUSTER}"]']
    check_the_pattern(state, joined(arns[0], cluster_arn))
    # The empty one is the one that has just joined; on the other an application runs.
    for instance in instances:
        event = joined(instance["containerInstanceArn"], cluster_arn)
        report = run(job, simulator_command, state, transformed(target["input_transformer"][0], event))
        expected = "skipped" if instance["runningTasksCount"] else "rebalanced"
        found = (report["outcome"], report["trigger"])
        check("by the event: outcome and trigger", found, (expected, instance["containerInstanceArn"]))


def by_hand(job, simulator_command, state):
    for output, outcome in (("run", "rebalanced"), ("dry_run", "planned")):
        words = shlex.split(state["outputs"][output])
        options = dict(zip(words[3::2], words[4::2], strict=True))
        check("the command", (words[:3], options["--cluster"].split("/")), (["aws", "ecs", "run-task"], ["arn:aws:ecs:us-east-1:111122223333:cluster", CLUSTER]))
        # With this option the AWS CLI checks what it is given against its model, and calls nobody.
        taken = subprocess.run([*words, "--generate-cli-skeleton", "output"], capture_output=True, text=True, check=False)
        check("which the AWS CLI takes", (taken.returncode, taken.stderr), (0, ""))
        report = run(job, simulator_command, state, json.loads(options.get("--overrides", "{}")))
        check("by hand: outcome", report["outcome"], outcome)


@contextlib.contextmanager
def metadata_endpoint(cluster, task):
    """What ECS's agent tells a task about itself: the address."""
    answer = json.dumps({"Cluster": cluster, "TaskARN": task}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v4/job"
    finally:
        server.shutdown()
        server.server_close()


def registered(client, definition):
    """The rendered task definition, in this cluster's control plane."""
    return client.register_task_definition(
        family=definition["family"],
        networkMode=definition["network_mode"],
        requiresCompatibilities=definition["requires_compatibilities"],
        cpu=definition["cpu"],
        memory=definition["memory"],
        containerDefinitions=json.loads(definition["container_definitions"]),
    )["taskDefinition"]["taskDefinitionArn"]


def on_its_own_cluster(job, simulator_command, state, cluster, way):
    """The job lands on the very instance that joined: that is as good as empty, its own task stays where it is, and each of the
    three ways spreads the service."""
    event_target = state[f'aws_cloudwatch_event_target.joined["{cluster}"]']
    clock_target = state[f'aws_scheduler_schedule.this["{cluster}"]']["target"][0]
    with renamed(simulator_command, cluster) as (environment, client):
        arns = client.list_container_instances(cluster=cluster)["containerInstanceArns"]
        instances = client.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
        (empty,) = [it["containerInstanceArn"] for it in instances if not it["runningTasksCount"]]
        definition = registered(client, state[f'aws_ecs_task_definition.this["{cluster}"]'])
        (own,) = client.start_task(cluster=cluster, containerInstances=[empty], taskDefinition=definition)["tasks"]
        arn = client.describe_clusters(clusters=[cluster])["clusters"][0]["clusterArn"]
        overrides = {
            "clock": lambda: json.loads(clock_target["input"]),
            "event": lambda: transformed(event_target["input_transformer"][0], joined(empty, arn)),
            "hand": lambda: {},
        }[way]()
        settings = rendered.environment(rendered.container(state, cluster), overrides)
        with metadata_endpoint(arn, own["taskArn"]) as address:
            status, report, log = finish(start(job, {**environment, **settings, "ECS_CONTAINER_METADATA_URI_V4": address}))
        check(f"{cluster}, by the {way}: exit status and errors", (status, report["errors"]), (0, ""))
        check(f"{cluster}, by the {way}: outcome", (report["outcome"], report["after"]["misplaced_tasks"]), ("rebalanced", 0))
        (task,) = client.describe_tasks(cluster=cluster, tasks=[own["taskArn"]])["tasks"]
        check(f"{cluster}, by the {way}: and is still there", (task["desiredStatus"], task["containerInstanceArn"]), ("RUNNING", empty))


@contextlib.contextmanager
def renamed(simulator_command, cluster, speed=SPEED):
    """The built-in cluster under this name: how a client reaches it, and one that does."""
    with simulator(simulator_command, SPEED) as environment:
        snapshot = snapshots.take(ecs(environment), CLUSTER, cluster, {})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(snapshot)
        file.flush()
        with simulator(simulator_command, speed, file.name) as environment:
            yield environment, ecs(environment)


def printed(state, cluster):
    """What `terraform destroy` and `terraform output end` have in common."""
    (command,) = [line for line in state["outputs"]["end"].splitlines() if f":cluster/{cluster} " in line]
    return command


def told_by_the_book(state, cluster):
    """The three commands of the page on deploying, as a reader pastes them."""
    page = (pathlib.Path(__file__).parents[2] / "docs/src/deploy.md").read_text()
    (commands,) = [block.strip() for block in page.split("```")[1::2] if "aws ecs wait tasks-stopped" in block]
    check("as many commands as the page says", len(commands.splitlines()), 3)
    return commands.replace("CLUSTER", cluster)


def ended_while_at_work(job, simulator_command, state, cluster, commands):
    """A run is ended: ECS tells its process by SIGTERM, and once the commands are over each service has its own count, and no note
    is left."""
    with renamed(simulator_command, cluster, SPEED_TO_END) as (environment, client):
        before = counts(client, cluster)
        instance, *_ = client.list_container_instances(cluster=cluster)["containerInstanceArns"]
        definition = registered(client, state[f'aws_ecs_task_definition.this["{cluster}"]'])
        (own,) = client.start_task(cluster=cluster, containerInstances=[instance], taskDefinition=definition)["tasks"]
        settings = rendered.environment(rendered.container(state, cluster))
        with metadata_endpoint(own["clusterArn"], own["taskArn"]) as address:
            process = start(job, {**environment, **settings, "ECS_CONTAINER_METADATA_URI_V4": address})
            until(process, "it has raised a count", lambda: counts(client, cluster) != before)
            # The AWS CLI's first version knows its Region by another name.
            reader = {**os.environ, **environment, "AWS_DEFAULT_REGION": environment["AWS_REGION"]}
            command = subprocess.Popen(["sh", "-c", commands(state, cluster)], env=reader, stdout=subprocess.PIPE, text=True)
            # What ECS's agent does.
            until(process, "its task is to stop", lambda: wanted(client, cluster, own) == "STOPPED")
            process.terminate()
            status, report, _ = finish(process)
        told, _ = command.communicate(timeout=RUN_SECONDS)
        what = f"{cluster}, as {commands.__name__}"
        check(f"{what}: the command ends the run, and waits for it", (command.returncode, own["taskArn"] in told), (0, True))
        check(f"{what}: the run's status and errors", (status, report["errors"]), (TERMINATED, ""))
        check(f"{what}: and each service has its own count, without a note", counts(client, cluster), before)


def counts(client, cluster):
    """The desired count and the job's notes of each service."""
    names = client.list_services(cluster=cluster)["serviceArns"]
    found = client.describe_services(cluster=cluster, services=names, include=["TAGS"])["services"]
    notes = lambda it: [tag["key"] for tag in it.get("tags", []) if tag["key"] == "ecs-rebalancer:surge"]  # noqa: E731
    return {it["serviceName"]: (it["desiredCount"], notes(it)) for it in found}


def wanted(client, cluster, task):
    (task,) = client.describe_tasks(cluster=cluster, tasks=[task["taskArn"]])["tasks"]
    return task["desiredStatus"]


def until(process, what, is_so):
    deadline = time.monotonic() + RUN_SECONDS
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"FAILED: the run was over before {what}: {finish(process)}")
        time.sleep(0.05)


def by_hand_on_ec2(state):
    """The commands for each launch type, by the AWS CLI's own model."""
    for line in state["outputs"]["run"].splitlines():
        words = shlex.split(line)
        taken = subprocess.run([*words, "--generate-cli-skeleton", "output"], capture_output=True, text=True, check=False)
        check(f"the AWS CLI takes {' '.join(words[5:9])}", (taken.returncode, taken.stderr), (0, ""))


def main():
    job, simulator_command, states = map(os.path.abspath, sys.argv[1:])
    runs = rendered.states(states)
    state, launched = runs["defaults"], runs["launched"]
    by_hand_on_ec2(launched)
    # Runs wait, most of the time.
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        ways = [pool.submit(way, job, simulator_command, state) for way in (by_the_clock, by_the_event, by_hand)]
        own = itertools.product(("ec2", "bridge", "host"), ("clock", "event", "hand"))
        ways += [pool.submit(on_its_own_cluster, job, simulator_command, launched, cluster, way) for cluster, way in own]
        ended = itertools.product(("bridge", "host"), (printed, told_by_the_book))
        ways += [pool.submit(ended_while_at_work, job, simulator_command, launched, *how) for how in ended]
        for way in ways:
            way.result()


if __name__ == "__main__":
    main()
