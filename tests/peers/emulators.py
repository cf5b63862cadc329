"""The real binary against control planes that nobody here wrote: moto's ECS and ministack's CloudWatch.

Both see it over a real socket, with the SDK's own requests. moto starts no tasks by itself and replaces none, so what is
checked is what comes before any move: reading, measuring, planning, publishing, and how it ends.

    emulators.py JOB MOTO_SERVER HYPERCORN

JOB is the binary; HYPERCORN is that of the environment that ministack is installed in.
"""

import contextlib
import datetime
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3

REGION = "us-east-1"
START_SECONDS = 30
RUN_SECONDS = 60
AWS = {
    "AWS_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Zone, then the services of the tasks on the instance.
DRAWING = [
    ("us-east-1a", ["web", "web", "web", "web", "api"]),
    ("us-east-1a", []),
    ("us-east-1b", ["api"]),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(command, port, environment=None):
    """A server for the time of the block, once it listens."""
    # A file: a pipe that nobody reads is full after a thousand lines of log, and then the server stands still.
    said = tempfile.TemporaryFile()
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=said)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    said.seek(0)
                    sys.exit(f"{command[0]} does not start:\n{said.read().decode()}")
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        said.close()


def post(url, body):
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def client(service, endpoint, region=REGION):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
    )


def build_cluster(endpoint, name):
    """The drawing as a cluster of moto's, whose tasks stay as they are."""
    ecs, ec2 = client("ecs", endpoint), client("ec2", endpoint)
    ecs.create_cluster(clusterName=name)
    container = {"name": "main", "image": "example", "cpu": 64, "memory": 128, "essential": True}
    deployments = {}
    for service in sorted({task for _, tasks in DRAWING for task in tasks}):
        ecs.register_task_definition(family=service, containerDefinitions=[container])
        desired = sum(tasks.count(service) for _, tasks in DRAWING)
        answer = ecs.create_service(
            cluster=name, serviceName=service, taskDefinition=service, desiredCount=desired, launchType="EC2"
        )
        deployments[service] = answer["service"]["deployments"][0]["id"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    instances = []
    for zone, tasks in DRAWING:
        launched = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, Placement={"AvailabilityZone": zone})
        identity = json.dumps({"instanceId": launched["Instances"][0]["InstanceId"]})
        registered = ecs.register_container_instance(cluster=name, instanceIdentityDocument=identity)
        instances.append(registered["containerInstance"]["containerInstanceArn"])
        # moto places on the first instance that is ACTIVE: the newest, since the others are draining. (StartTask would
        # name the instance, but leaves the task's launch type empty.)
        for service in tasks:
            ecs.run_task(
                cluster=name,
                taskDefinition=service,
                launchType="EC2",
                group=f"service:{service}",
                startedBy=deployments[service],
            )
        ecs.update_container_instances_state(cluster=name, containerInstances=instances[-1:], status="DRAINING")
    ecs.update_container_instances_state(cluster=name, containerInstances=instances, status="ACTIVE")


def run(job, ecs, cloudwatch, **settings):
    """The job with these settings: its exit status, the lines that it prints and the events of its log."""
    variables = {f"REBALANCER_{name.upper()}": value for name, value in settings.items()}
    environment = {**AWS, **variables, "AWS_ENDPOINT_URL_ECS": ecs, "AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch}
    done = subprocess.run([job], env=environment, capture_output=True, timeout=RUN_SECONDS, check=False)
    try:
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        events = [json.loads(line) for line in done.stderr.splitlines()]
    except ValueError as error:
        sys.exit(f"not JSON ({error}):\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return done.returncode, lines, events


def of_message(lines, message):
    return [line for line in lines if line["message"] == message]


def published(cloudwatch, namespace, **dimensions):
    """What ministack has of each metric with just these dimensions."""
    reader = client("cloudwatch", cloudwatch)
    wanted = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    now = datetime.datetime.now(datetime.timezone.utc)
    values = {}
    for metric in reader.list_metrics(Namespace=namespace)["Metrics"]:
        if sorted(d["Name"] for d in metric["Dimensions"]) != sorted(dimensions):
            continue
        points = reader.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric["MetricName"],
            Dimensions=wanted,
            StartTime=now - datetime.timedelta(hours=1),
            EndTime=now + datetime.timedelta(hours=1),
            Period=7200,
            Statistics=["Maximum", "SampleCount"],
        )["Datapoints"]
        values[metric["MetricName"]] = (points[0]["Maximum"], points[0]["SampleCount"], points[0]["Unit"])
    return values


def check(what, found, expected):
    if found != expected:
        sys.exit(f"FAILED: {what}: {found!r}, expected {expected!r}")
    print(f"ok: {what}: {found!r}", flush=True)


def check_a_dry_run(job, ecs, cloudwatch, namespace="ECSRebalancer"):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        told = {"cluster": "prod", "dry_run": "true", "metrics": "all", "report": file.name, "metric_namespace": namespace}
        status, lines, events = run(job, ecs, cloudwatch, **told)
        requests = json.load(file)["api_calls"]["PutMetricData"]
    # On a busy machine an answer may be late: it is asked for again, and the values count twice. It is not late each time.
    if requests > 1 and namespace == "ECSRebalancer":
        print("PutMetricData was sent again: once more, in a namespace of its own", flush=True)
        return check_a_dry_run(job, ecs, cloudwatch, "Again")
    check("requests to publish", requests, 1)
    check("exit status", status, 0)
    check("summaries, one a cluster", len(of_message(lines, "summary")), 1)
    report = lines[-1]
    check("errors", report["errors"], "")
    check("cluster", report["cluster"], "prod")
    before = report["before"]
    check("running tasks", before["running_tasks"], 6)
    check("container instances", before["container_instances"], 3)
    check("empty instances", before["empty_instances"], 1)
    # Zone, then instance, as ECS does by default: of web's four on one instance two belong into the other zone and one onto
    # the other instance; api has one in each zone.
    check("misplaced tasks", before["misplaced_tasks"], 3)
    told = {line["name"]: line["misplaced_tasks"] for line in of_message(lines, "service")}
    check("of each service that is moved or left alone", told, {"api": 0, "web": 3})
    check("levels of the log", {event["level"] for event in events} <= {"INFO", "WARN"}, True)
    metrics = published(cloudwatch, namespace, ClusterName="prod")
    check("TaskImbalance", metrics["TaskImbalance"], (before["task_imbalance_percent"], 1, "Percent"))
    check("MisplacedTasks", metrics["MisplacedTasks"], (3, 1, "Count"))
    check("RunningTasks", metrics["RunningTasks"], (6, 1, "Count"))
    check("ContainerInstances", metrics["ContainerInstances"], (3, 1, "Count"))
    check("EmptyInstances", metrics["EmptyInstances"], (1, 1, "Count"))
    check("TasksMoved", metrics["TasksMoved"], (0, 1, "Count"))
    web = published(cloudwatch, namespace, ClusterName="prod", ServiceName="web")
    check("web's MisplacedTasks", web["MisplacedTasks"], (3, 1, "Count"))
    check("web's TaskImbalance", web["TaskImbalance"], (75, 1, "Percent"))


def check_a_cluster_that_is_not_there(job, ecs, cloudwatch):
    status, lines, _ = run(job, ecs, cloudwatch, cluster="nowhere", metrics="off")
    check("exit status where the cluster is not there", status, 1)
    check("outcome", lines[-1]["outcome"], "failed")
    check("it is named", "ClusterNotFoundException" in lines[-1]["errors"], True)


def check_several_clusters(job, ecs, cloudwatch):
    status, lines, _ = run(job, ecs, cloudwatch, cluster="prod,nowhere", dry_run="true", metrics="off")
    check("exit status where one of two fails", status, 1)
    # Each is printed as soon as it is there, so that which comes first is chance.
    reports = sorted(of_message(lines, "summary"), key=lambda report: report["cluster"], reverse=True)
    check("a summary for each", [report["cluster"] for report in reports], ["prod", "nowhere"])
    check("only the first can have been read", reports[0]["requests"] > reports[1]["requests"], True)


def main():
    job, moto_server, hypercorn = map(os.path.abspath, sys.argv[1:])
    ecs_port, cloudwatch_port = free_port(), free_port()
    # By the module, since the command of ministack listens on every address.
    ministack = [hypercorn, "ministack.app:app", "-b", f"127.0.0.1:{cloudwatch_port}"]
    moto = [moto_server, "-H", "127.0.0.1", "-p", str(ecs_port)]
    with server(moto, ecs_port) as ecs, server(ministack, cloudwatch_port, {"AUTH": "false"}) as cloudwatch:
        # Otherwise each look at a task pushes it one state on, until it is STOPPED.
        post(f"{ecs}/moto-api/state-manager/set-transition", {
            "model_name": "ecs::task", "transition": {"progression": "manual", "times": 1_000_000}})
        build_cluster(ecs, "prod")
        check_a_dry_run(job, ecs, cloudwatch)
        check_a_cluster_that_is_not_there(job, ecs, cloudwatch)
        check_several_clusters(job, ecs, cloudwatch)


if __name__ == "__main__":
    main()
