"""The probes' command over a real socket: killed and interrupted at random moments on the simulator, and on moto, which lacks much.

    conformance.py kills COMMAND SIMULATOR
    conformance.py moto COMMAND MOTO_SERVER [PROBE...]
    conformance.py stack COMMAND MOTO_SERVER
    conformance.py behaviours COMMAND SIMULATOR REHEARSE

COMMAND is the binary behind `cargo conformance`. Whatever happens to it, a second start leaves the cluster as it was.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from account import terraform
from emulators import AWS, REGION, client, free_port, server

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "conformance/examples/conformance"
STACK = FOLDER / "stack.json"
TAG = "ecs-rebalancer:conformance"
# What the stack is made of.
SERVICES = ["autoscaling", "ec2", "ecs", "elbv2", "events", "iam", "sqs", "ssm", "sts"]
# AWS's own policies, one of which the stack attaches, are there for the asking.
POLICIES = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
# Side by side, each on a simulator of its own.
LANES = 5
KILLS = 4
SPEED = 60
# One of the stack's capacity providers scales by itself.
SCALING = "managed-scaling=900"
# Within these seconds a probe makes its services and changes them.
LATEST = 25
PATIENCE = 240
# How long it has run, what that has cost, and what it waits for.
PROGRESS = re.compile(r"^0:00 h, \d\.\d cents, \d+ calls: 1 of 1: tag-characters, about \d+ min$", re.MULTILINE)
# All probes on moto, where most wait a few seconds for what never comes.
PATIENCE_FOR_ALL = 600
# What moto has all operations for: it refuses no tag.
ON_MOTO = {"tag-characters": "any", "short-arns": "refused"}


def fail(what):
    sys.exit(f"FAILED: {what}")


def environment():
    return {**os.environ, **AWS}


def run(command, endpoint, *arguments, account=STACK, patience=PATIENCE):
    """One start to its end: its exit status and what it printed."""
    try:
        outcome = subprocess.run(
            [command, "--account", account, "--endpoint", endpoint, *arguments],
            env=environment(), capture_output=True, text=True, check=False, timeout=patience,
        )
    except subprocess.TimeoutExpired as expired:
        told = b"".join(text for text in (expired.stdout, expired.stderr) if text).decode()
        fail(f"{' '.join(map(str, arguments))}: {patience} s were not enough; it told\n{told}")
    return outcome.returncode, outcome.stdout + outcome.stderr


def looked_at(endpoint):
    """The cluster as anybody sees it; what has stopped or was deleted is gone."""
    ecs, cluster = client("ecs", endpoint), json.loads(STACK.read_text())["cluster"]
    arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    instances = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    running = ecs.list_tasks(cluster=cluster)["taskArns"]
    stopping = ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
    known = ecs.describe_tasks(cluster=cluster, tasks=stopping)["tasks"] if stopping else []
    described = ecs.describe_clusters(clusters=[cluster], include=["TAGS"])["clusters"][0]
    names = ["containerInstanceArn", "status", "runningTasksCount", "pendingTasksCount", "remainingResources", "attributes"]
    return {
        "services": ecs.list_services(cluster=cluster)["serviceArns"],
        "tasks": running + [task["taskArn"] for task in known if task["lastStatus"] != "STOPPED"],
        "instances": [{name: instance[name] for name in names} for instance in instances],
        "tags": described["tags"],
        "bounds": client("application-autoscaling", endpoint).describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"],
        "groups": {
            group["AutoScalingGroupName"]: (group["DesiredCapacity"], len(group["Instances"]))
            for group in client("autoscaling", endpoint).describe_auto_scaling_groups()["AutoScalingGroups"]
        },
    }


def probes(command):
    listed = subprocess.run([command, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split(":")[0] for line in listed.splitlines() if not line.startswith(" ")]


@contextlib.contextmanager
def simulated(simulator, *arguments):
    """The stack's cluster, simulated: the endpoint that answers for it."""
    process = subprocess.Popen([simulator, FOLDER / "cluster.json", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield next(line for line in process.stdout if "AWS_ENDPOINT_URL" in line).strip().split("=", 1)[1]
    finally:
        process.kill()
        process.wait()


def lane(command, simulator, seed):
    """One simulator, and what is done to the command on it, one after the other."""
    chance, names = random.Random(seed), probes(command)
    told = []
    with simulated(simulator, "--speed", str(SPEED), "--seed", str(seed), "--fault", SCALING) as endpoint:
        before = looked_at(endpoint)
        ends = [signal.SIGKILL] * KILLS + [signal.SIGINT]
        for end in ends:
            probe, seconds = chance.choice(names), chance.uniform(0.2, LATEST)
            what = f"seed {seed}: {probe}, {end.name} after {seconds:.1f} s"
            first = subprocess.Popen(
                [command, "--account", STACK, "--endpoint", endpoint, "--probe", probe],
                env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            time.sleep(seconds)
            made = len(looked_at(endpoint)["services"])
            first.send_signal(end)
            status = first.wait(timeout=PATIENCE)
            if end == signal.SIGINT:
                if status != 130 or looked_at(endpoint) != before:
                    fail(f"{what}: exit status {status}, and it left {looked_at(endpoint)}")
            else:
                status, printed = run(command, endpoint, "--clean")
                if status or looked_at(endpoint) != before:
                    fail(f"{what}: the second start left {looked_at(endpoint)}\n{printed}")
            told.append(f"{what}: services before: {made}, after: 0")
        # After all that, one probe from beginning to end: one that waits for nothing, for in its minute an hour passes in the cluster.
        with tempfile.TemporaryDirectory() as folder:
            found = pathlib.Path(folder) / "found.json"
            status, printed = run(command, endpoint, "--probe", "tag-characters", "--output", found)
            if status or json.loads(found.read_text())["behaviours"] != {"tag-characters": "listed"}:
                fail(f"seed {seed}: {printed}")
            if not PROGRESS.search(printed):
                fail(f"seed {seed}: it doesn't tell how far it is and what that costs: {printed}")
        if looked_at(endpoint) != before:
            fail(f"seed {seed}: a probe left {looked_at(endpoint)}")
    return told


def behaviours(command, simulator, rehearse):
    """What probes find is a file that the simulator and rehearsals take, and behave by."""
    settings = {"tag-characters": "any", "ties": "last"}
    given = [word for name, value in settings.items() for word in ("--behaviour", f"{name}={value}")]
    chosen = [word for name in settings for word in ("--probe", name)]
    with tempfile.TemporaryDirectory() as folder:
        found = pathlib.Path(folder) / "found.json"
        subprocess.run([command, *chosen, *given, "--output", found], check=True, capture_output=True)
        if json.loads(found.read_text())["behaviours"] != settings:
            fail(f"the file doesn't have what the simulator was set to: {found.read_text()}")
        shown = [
            subprocess.run([rehearse, *arguments], check=True, capture_output=True, text=True).stdout
            for arguments in ([], ["--behaviours", found], given)
        ]
        if shown[0] == shown[1] or shown[1] != shown[2]:
            fail(f"a rehearsal doesn't behave by the file:\n{shown[1]}")
        for arguments, is_taken in ([], False), (["--behaviours", found], True):
            with simulated(simulator, *arguments) as endpoint:
                ecs, cluster = client("ecs", endpoint), json.loads(STACK.read_text())["cluster"]
                service = ecs.create_service(cluster=cluster, serviceName="web", taskDefinition="conformance-tiny", desiredCount=0)
                try:
                    ecs.tag_resource(resourceArn=service["service"]["serviceArn"], tags=[{"key": "letters", "value": "a,b"}])
                    was_taken = True
                except ecs.exceptions.InvalidParameterException:
                    was_taken = False
                if was_taken != is_taken:
                    fail(f"the simulator with {arguments} takes the tag: {was_taken}")
    print("ok: the file of findings sets the simulator and a rehearsal", flush=True)


def kills(command, simulator):
    first = random.SystemRandom().randrange(1 << 30)
    print(f"seeds from {first} on", flush=True)
    made = 0
    with concurrent.futures.ThreadPoolExecutor(LANES) as lanes:
        for told in lanes.map(lambda number: lane(command, simulator, first + number), range(LANES)):
            print("\n".join(told), flush=True)
            made += sum("before: 0" not in line for line in told)
    if made < LANES:
        fail("the kills came when there was nothing to take away")
    print(f"ok: {LANES * KILLS} kills and {LANES} interruptions; in {made} cases services had been there", flush=True)


def moto(command, moto_server, *names):
    port = free_port()
    with server([moto_server, "-H", "127.0.0.1", "-p", str(port)], port) as endpoint, tempfile.TemporaryDirectory() as folder:
        ecs, ec2 = client("ecs", endpoint), client("ec2", endpoint)
        stack = json.loads(STACK.read_text())
        for name in stack["task_definitions"]:
            ecs.register_task_definition(family=f"conformance-{name}", containerDefinitions=[{"name": "app", "image": "busybox", "memory": 16}])
        account, found = pathlib.Path(folder) / "stack.json", pathlib.Path(folder) / "found.json"
        account.write_text(json.dumps(stack))
        ecs.create_cluster(clusterName=stack["cluster"])
        status, printed = run(command, endpoint, account=account)
        if status != 2 or f"it has no tag {TAG}" not in printed:
            fail(f"a cluster without the tag is probed: exit status {status}\n{printed}")
        print("ok: a cluster without the tag is refused", flush=True)
        arn = ecs.describe_clusters(clusters=[stack["cluster"]])["clusters"][0]["clusterArn"]
        ecs.tag_resource(resourceArn=arn, tags=[{"key": TAG, "value": "true"}])
        image = ec2.describe_images()["Images"][0]["ImageId"]
        for zone in ["a", "b", "a", "b"]:
            launched = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, Placement={"AvailabilityZone": REGION + zone})
            identity = json.dumps({"instanceId": launched["Instances"][0]["InstanceId"]})
            ecs.register_container_instance(cluster=stack["cluster"], instanceIdentityDocument=identity)
        chosen = [f"--probe={name}" for name in names]
        status, printed = run(
            command, endpoint, "--patience", "1", "--output", found, *chosen, account=account,
            patience=PATIENCE if names else PATIENCE_FOR_ALL,
        )
        if status:
            fail(f"exit status {status}\n{printed}")
        probes = {probe["probe"]: probe for probe in json.loads(found.read_text())["probes"]}
        for name, probe in probes.items():
            if name in ON_MOTO and probe.get("value") == ON_MOTO[name]:
                print(f"ok: {name}: {probe['value']}, in {probe['seconds']} s", flush=True)
            elif probe["outcome"] != "not settled" or not re.search(r"\b(Get|Create|Update|Describe|List|Receive)[A-Z]\w+", probe["why"]):
                fail(f"{name} on moto: {probe}")
            else:
                print(f"ok: {name}, in {probe['seconds']} s: {probe['why'].splitlines()[0][:160]}", flush=True)
        if "GetTaskProtection" not in probes["stop-of-protected"]["why"]:
            fail("moto has GetTaskProtection by now: another operation shows what is missing")


def stack(command, moto_server):
    """The stack is made in an account that is moto's, its output is what the command takes, and all of it goes again."""
    port = free_port()
    with server([moto_server, "-H", "127.0.0.1", "-p", str(port)], port, POLICIES) as endpoint, tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copy(ROOT / "examples/conformance/main.tf", folder)
        endpoints = "\n".join(f'    {service} = "{endpoint}"' for service in SERVICES)
        (folder / "emulator.tf").write_text(
            f'provider "aws" {{\n  region = "{REGION}"\n  skip_credentials_validation = true\n'
            f"  skip_metadata_api_check = true\n  endpoints {{\n{endpoints}\n  }}\n}}\n"
        )
        terraform(folder, environment(), "apply", "-auto-approve")
        plan = terraform(folder, environment(), "plan")
        # moto forgets the descriptions of a security group's rules.
        if [change for change in re.findall(r"# (\S+) (?:will|must) be", plan) if not re.match(r"aws_vpc_security_group_\w+_rule\.", change)]:
            fail(f"a second plan finds something to do\n{plan}")
        made = subprocess.run(["terraform", "output", "-json", "stack"], cwd=folder, env=environment(), capture_output=True, text=True, check=True)
        account = folder / "stack.json"
        account.write_text(made.stdout)
        status, printed = run(command, endpoint, "--patience", "1", "--probe", "scale-in", account=account)
        if status or "not settled" not in printed:
            fail(f"the command doesn't take the stack's output {made.stdout}: exit status {status}\n{printed}")
        print(f"ok: the command takes {made.stdout.strip()}", flush=True)
        terraform(folder, environment(), "destroy", "-auto-approve")
        if client("ecs", endpoint).list_task_definitions(status="ACTIVE")["taskDefinitionArns"]:
            fail("task definitions are left")
        print("ok: the stack was made, found unchanged, and taken away", flush=True)


def main():
    what, *arguments = sys.argv[1:]
    {"behaviours": behaviours, "kills": kills, "moto": moto, "stack": stack}[what](*arguments)


if __name__ == "__main__":
    main()
