"""schedule.tf put into an account, found unchanged, changed setting by setting, and taken away again while a run is under way:
AWS's true provider on moto, an AWS that nobody here wrote.

    account.py MOTO_SERVER [--old]

The environment names the provider. With --old it is that of May 2021, so what AWS has had only since then is left out of the
copy that it works on.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from emulators import AWS, REGION, client, free_port, server

# What there wasn't in May 2021.
RESOURCES = ["aws_scheduler_schedule"]
BLOCKS = ["runtime_platform"]
ARGUMENTS = ["sqs_managed_sse_enabled"]
SERVICES = ["cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ecs", "iam", "scheduler", "sqs", "sts"]
CLUSTER = "reference"
VARIABLES = {
    "clusters": {CLUSTER: {"include": ["web-*"], "steer": True}, "other": {"dry_run": True}},
    "image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/ecs-rebalancer:0.1.0",
    "subnets": ["subnet-0a"],
    "security_groups": ["sg-0a"],
}
# What a user may come to change, each from VARIABLES.
CHANGES = [
    ("a setting of the job", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"max_moves": 5}}}),
    ("the brake", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"dry_run": True, "recover": True}}}),
    ("packing", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"mode": "consolidate", "steer": True}}}),
    ("on the cluster's own instances", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"launch_type": "EC2", "network_mode": "bridge"}}}),
    ("on spot capacity", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"capacity_provider": "FARGATE_SPOT"}}}),
    ("no metrics", {"clusters": {**VARIABLES["clusters"], CLUSTER: {"metrics": "off"}}}),
    ("another image, elsewhere", {"image": "registry.example/ecs-rebalancer:2", "architecture": "X86_64"}),
]


def as_of_2021(text):
    """The configuration without what was not there, each of which must be."""
    patterns = [rf'^resource "{name}" .*?^}}\n' for name in RESOURCES]
    patterns += [rf"^  {name} {{.*?^  }}\n" for name in BLOCKS] + [rf"^ +{name} +=.*?\n" for name in ARGUMENTS]
    for pattern in patterns:
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE | re.DOTALL)
        if not count:
            sys.exit(f"FAILED: {pattern} is not in schedule.tf: nothing to leave out")
    return text


def terraform(folder, environment, *arguments):
    outcome = subprocess.run(
        ["terraform", *arguments, "-no-color"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        sys.exit(f"FAILED: terraform {' '.join(arguments)}\n{outcome.stdout}\n{outcome.stderr}")
    return outcome.stdout


def check(what, is_so, found=""):
    if not is_so:
        sys.exit(f"FAILED: {what}: {found}")
    print(f"ok: {what}", flush=True)


def left(endpoint, old):
    """What of ours is in the account."""
    schedules = {} if old else {"schedules": [it["Name"] for it in client("scheduler", endpoint).list_schedules()["Schedules"]]}
    return {
        **schedules,
        "roles": [r["RoleName"] for r in client("iam", endpoint).list_roles()["Roles"] if "rebalancer" in r["RoleName"]],
        "rules": [rule["Name"] for rule in client("events", endpoint).list_rules()["Rules"]],
        "queues": client("sqs", endpoint).list_queues().get("QueueUrls", []),
        "logs": [group["logGroupName"] for group in client("logs", endpoint).describe_log_groups()["logGroups"]],
        "alarms": [a["AlarmName"] for a in client("cloudwatch", endpoint).describe_alarms()["MetricAlarms"]],
        "definitions": client("ecs", endpoint).list_task_definitions(status="ACTIVE")["taskDefinitionArns"],
    }


def write(folder, **variables):
    (folder / "terraform.tfvars.json").write_text(json.dumps({**VARIABLES, **variables}))


def check_changes(folder, environment):
    """Each setting is applied, and then there is nothing to do; a run always finds a task definition to start."""
    for what, variables in CHANGES:
        write(folder, **variables)
        told = terraform(folder, environment, "apply", "-auto-approve")
        for place in re.findall(r"(aws_ecs_task_definition\.this\[\S+\]) \(deposed object \w+\): Destroying", told):
            made, gone = told.find(f"{place}: Creation complete"), told.find(f"{place} (deposed")
            check(f"{what}: the task definition's successor is there before it goes", 0 <= made < gone, told)
        check(f"{what}: no task definition goes without a successor", "one cluster fewer" in what or not re.search(r"aws_ecs_task_definition\S+: Destroying", told), told)
        plan = terraform(folder, environment, "plan")
        check(f"{what}: changed, and a second plan finds nothing to do", "No changes." in plan, plan)
    write(folder)
    terraform(folder, environment, "apply", "-auto-approve")


def instance(endpoint):
    """Something for moto to place a run on."""
    ecs = client("ecs", endpoint)
    for cluster in VARIABLES["clusters"]:
        ecs.create_cluster(clusterName=cluster)
    image = client("ec2", endpoint).describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    machine = client("ec2", endpoint).run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ecs.register_container_instance(cluster=CLUSTER, instanceIdentityDocument=json.dumps({"instanceId": machine}))


def check_destroying(folder, environment, endpoint, old):
    """A run is under way. Nothing starts another first, then it is ended, then its permissions go."""
    instance(endpoint)
    ecs = client("ecs", endpoint)
    (run,) = ecs.run_task(cluster=CLUSTER, taskDefinition=f"ecs-rebalancer-{CLUSTER}", launchType="EC2")["tasks"]
    # The AWS CLI's own name for where to ask.
    told = terraform(folder, {**environment, "AWS_ENDPOINT_URL": endpoint}, "destroy", "-auto-approve")
    (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[run["taskArn"]])["tasks"]
    check("the run was ended", task["desiredStatus"] == "STOPPED" and run["taskArn"] in told, told)
    steps = [f'aws_cloudwatch_event_target.joined["{CLUSTER}"]: Destruction complete', f'terraform_data.end["{CLUSTER}"]: Destroying']
    if not old:
        steps = [f'aws_scheduler_schedule.this["{CLUSTER}"]: Destruction complete', *steps]
    steps += [f'terraform_data.end["{CLUSTER}"]: Destruction complete', f'aws_iam_role_policy.task["{CLUSTER}"]: Destroying']
    places = [told.find(step) for step in steps]
    check("what starts runs went first, then the run, then its permissions", -1 not in places and max(places[:-3]) < places[-3] < places[-2] < places[-1], told)
    gone = left(endpoint, old)
    check("nothing is left", not any(gone.values()), gone)


def main():
    moto, *old = sys.argv[1:]
    project = pathlib.Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as name, server([moto, "-H", "127.0.0.1", "-p", str(port := free_port())], port) as endpoint:
        folder = pathlib.Path(name)
        text = (project / "schedule.tf").read_text()
        (folder / "schedule.tf").write_text(as_of_2021(text) if old else text)
        shutil.copy(project / "taskdef.json", folder)
        endpoints = "\n".join(f'    {service} = "{endpoint}"' for service in SERVICES if not (old and service == "scheduler"))
        settings = folder / "emulator.tf"
        settings.write_text(
            f'provider "aws" {{\n  region = "{REGION}"\n  skip_credentials_validation = true\n'
            f"  skip_metadata_api_check = true\n  endpoints {{\n{endpoints}\n  }}\n}}\n"
        )
        environment = {**os.environ, **AWS}
        if old:
            print(f"left out, for the provider is of 2021: {', '.join(RESOURCES + BLOCKS + ARGUMENTS)}")
        write(folder)
        terraform(folder, environment, "validate")
        terraform(folder, environment, "apply", "-auto-approve")
        made = left(endpoint, old)
        check("each kind of resource is there", all(made.values()), made)
        target = client("events", endpoint).list_targets_by_rule(Rule=f"ecs-rebalancer-{CLUSTER}-joined")["Targets"][0]
        check("the event's target runs the task definition", target["EcsParameters"]["TaskDefinitionArn"] in made["definitions"], target)
        (job,) = client("ecs", endpoint).describe_task_definition(taskDefinition="ecs-rebalancer-other")["taskDefinition"]["containerDefinitions"]
        check("the task definition has its settings", {"name": "REBALANCER_DRY_RUN", "value": "true"} in job["environment"], job)
        check("a second plan finds nothing to do", "No changes." in (plan := terraform(folder, environment, "plan")), plan)
        check_changes(folder, environment)
        check_destroying(folder, environment, endpoint, old)


if __name__ == "__main__":
    main()
