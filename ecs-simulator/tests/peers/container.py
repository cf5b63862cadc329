"""The simulator's image, run as a service container of CI is: reached by localhost and by its name, set by its environment.

    container.py IMAGE PODMAN...

PODMAN is the command, with its options, in whose store the image is.
"""

import http.client
import json
import socket
import subprocess
import sys
import time

import boto3
import botocore.config

ONCE = botocore.config.Config(retries={"total_max_attempts": 1})
SECONDS = 60


def check(what, found, expected):
    if found != expected:
        sys.exit(f"FAILED: {what}: {found!r}, expected {expected!r}")
    print(f"ok: {what}: {found!r}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, method, path, body="", host="localhost"):
    """Status and text of the answer; none while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body, {"Host": f"{host}:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return None, ""
    finally:
        connection.close()


def main(image, *podman):
    port = free_port()
    settings = {"ECS_SIMULATOR_LISTEN": f"0.0.0.0:{port}", "ECS_SIMULATOR_SPEED": "60", "ECS_SIMULATOR_FAULT": "throttle=1"}
    variables = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
    command = [*podman, "run", "--rm", "--name", "simulator-to-be-ended", "--network", "host", "--read-only", "--cap-drop", "all",
               "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", *variables, image]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        ends = time.monotonic() + SECONDS
        while ask(port, "GET", "/_simulator/ready")[0] is None:
            if process.poll() is not None or time.monotonic() > ends:
                sys.exit("FAILED: the container is not ready")
            time.sleep(0.2)
        for host, expected in [("localhost", 200), ("ecs-simulator", 200), ("attacker.example", 403)]:
            check(f"status for Host {host}", ask(port, "GET", "/_simulator/ready", host=host)[0], expected)
        ecs = boto3.client(
            "ecs", endpoint_url=f"http://localhost:{port}", region_name="us-east-1", config=ONCE,
            aws_access_key_id="simulated", aws_secret_access_key="simulated",
        )  # fmt: skip
        try:
            ecs.list_clusters()
            sys.exit("FAILED: the environment's fault is not at work")
        except ecs.exceptions.ClientError as error:
            check("the environment's fault", error.response["Error"]["Code"], "ThrottlingException")
        check("status of no more faults", ask(port, "PUT", "/_simulator/faults", "[]")[0], 200)
        check("clusters", ecs.list_clusters()["clusterArns"], ["arn:aws:ecs:us-east-1:111122223333:cluster/reference"])
        logged = [json.loads(line) for line in ask(port, "GET", "/_simulator/requests")[1].splitlines()]
        check("logged", [(it["operation"], it["error"]) for it in logged], [("ListClusters", "ThrottlingException"), ("ListClusters", None)])
        subprocess.run([*podman, "kill", "--signal", "TERM", "simulator-to-be-ended"], check=True, stdout=subprocess.DEVNULL)
        check("exit status after SIGTERM", process.wait(SECONDS), 0)
    finally:
        process.kill()
    size = json.loads(subprocess.run([*podman, "image", "inspect", image], check=True, capture_output=True, text=True).stdout)[0]["Size"]
    print(f"{size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
