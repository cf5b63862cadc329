"""The real binary and the simulator as two processes: a rebalancing over a real socket, and one that is ended half-way.

    socket_and_signals.py JOB SIMULATOR
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import boto3

CLUSTER = "reference"
# Simulated seconds in one of ours.
SPEED = 60
RUN_SECONDS = 120
TERMINATED = 143


@contextlib.contextmanager
def simulator(command, speed, *more):
    """The simulator on a free port: the environment that it asks its clients to have."""
    process = subprocess.Popen(
        [command, "--listen", "127.0.0.1:0", "--speed", str(speed), *more], stdout=subprocess.PIPE, text=True
    )
    try:
        environment = {}
        while "AWS_EC2_METADATA_DISABLED" not in environment:
            line = process.stdout.readline()
            if not line:
                sys.exit("the simulator ended before it was ready")
            if line.startswith("export "):
                environment.update(word.split("=", 1) for word in line.split()[1:])
        yield environment
    finally:
        process.kill()
        process.wait()


def start(job, environment, **settings):
    variables = {f"REBALANCER_{name.upper()}": value for name, value in settings.items()}
    return subprocess.Popen(
        [job], env={**environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """The exit status, the summary (the last line) and the log."""
    stdout, stderr = process.communicate(timeout=RUN_SECONDS)
    try:
        return process.returncode, json.loads(stdout.splitlines()[-1]), stderr
    except (IndexError, ValueError):
        sys.exit(f"no report (exit status {process.returncode}):\n{stdout}\n{stderr}")


def ecs(environment):
    return boto3.client(
        "ecs",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
    )


def services(client):
    names = client.list_services(cluster=CLUSTER, maxResults=100)["serviceArns"]
    answer = client.describe_services(cluster=CLUSTER, services=names, include=["TAGS"])
    return {service["serviceName"]: service for service in answer["services"]}


def check(what, found, expected):
    if found != expected:
        sys.exit(f"FAILED: {what}: {found!r}, expected {expected!r}")
    print(f"ok: {what}: {found!r}", flush=True)


def check_whole(client, before):
    """Every service is as many as its owner wants, with no mark of an unfinished step and no task protected."""
    for name, service in services(client).items():
        check(f"{name}'s desired count", service["desiredCount"], before[name]["desiredCount"])
        check(f"{name}'s unfinished step", [t for t in service.get("tags", []) if t["key"] == "ecs-rebalancer:surge"], [])
        tasks = client.list_tasks(cluster=CLUSTER, serviceName=name)["taskArns"]
        protection = client.get_task_protection(cluster=CLUSTER, tasks=tasks)["protectedTasks"]
        check(f"{name}'s protected tasks", [task for task in protection if task["protectionEnabled"]], [])


def check_a_rebalancing(job, simulator_command):
    with simulator(simulator_command, SPEED) as environment:
        client = ecs(environment)
        before = services(client)
        status, report, log = finish(start(job, environment, cluster=CLUSTER, log_format="json"))
        check("errors", report["errors"], "")
        check("exit status", status, 0)
        check("outcome", report["outcome"], "rebalanced")
        check("misplaced tasks after it", report["after"]["misplaced_tasks"], 0)
        check("the log is JSON, an event a line", all(json.loads(line) for line in log.splitlines()), True)
        check_whole(client, before)


def check_an_end_half_way(job, simulator_command):
    """SIGTERM while the replacement starts: the step in hand is ended, no other begun, and nothing is left behind."""
    with simulator(simulator_command, SPEED) as environment:
        client = ecs(environment)
        before = services(client)
        process = start(job, environment, cluster=CLUSTER, log_format="json")
        deadline = time.monotonic() + RUN_SECONDS
        while {name: s["desiredCount"] for name, s in services(client).items()} == {
            name: s["desiredCount"] for name, s in before.items()
        }:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("the job ended before it had begun a step")
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status, report, _ = finish(process)
        check("errors of the run that was ended", report["errors"], "")
        check("its exit status", status, TERMINATED)
        check_whole(client, before)


def main():
    job, simulator_command = map(os.path.abspath, sys.argv[1:])
    check_a_rebalancing(job, simulator_command)
    check_an_end_half_way(job, simulator_command)


if __name__ == "__main__":
    main()
