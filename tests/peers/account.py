"""schedule.tf put into an account, found unchanged, and taken away again: the true AWS provider on moto, an AWS that nobody here
wrote.

    account.py MOTO_SERVER

The environment names the provider. It is of May 2021, so what AWS has had only since then is left out of the copy that it
works on; today's schema has that, and the tests of .ci/run's step `deployment` cover it.
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
SERVICES = ["cloudwatch", "cloudwatchevents", "cloudwatchlogs", "ecs", "iam", "sqs", "sts"]
VARIABLES = {
    "clusters": {"reference": {"include": ["web-*"], "steer": True}, "other": {"dry_run": True}},
    "image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/ecs-rebalancer:0.1.0",
    "subnets": ["subnet-0a"],
    "security_groups": ["sg-0a"],
}


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


def left(endpoint):
    """What of ours is in the account."""
    return {
        "roles": [r["RoleName"] for r in client("iam", endpoint).list_roles()["Roles"] if "rebalancer" in r["RoleName"]],
        "rules": [rule["Name"] for rule in client("events", endpoint).list_rules()["Rules"]],
        "queues": client("sqs", endpoint).list_queues().get("QueueUrls", []),
        "logs": [group["logGroupName"] for group in client("logs", endpoint).describe_log_groups()["logGroups"]],
        "alarms": [a["AlarmName"] for a in client("cloudwatch", endpoint).describe_alarms()["MetricAlarms"]],
        "definitions": client("ecs", endpoint).list_task_definitions(status="ACTIVE")["taskDefinitionArns"],
    }


def main():
    (moto,) = sys.argv[1:]
    project = pathlib.Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as name, server([moto, "-H", "127.0.0.1", "-p", str(port := free_port())], port) as endpoint:
        folder = pathlib.Path(name)
        (folder / "schedule.tf").write_text(as_of_2021((project / "schedule.tf").read_text()))
        shutil.copy(project / "taskdef.json", folder)
        endpoints = "\n".join(f'    {service} = "{endpoint}"' for service in SERVICES)
        (folder / "emulator.tf").write_text(
            f'provider "aws" {{\n  region = "{REGION}"\n  skip_credentials_validation = true\n'
            f"  skip_metadata_api_check = true\n  endpoints {{\n{endpoints}\n  }}\n}}\n"
        )
        (folder / "terraform.tfvars.json").write_text(json.dumps(VARIABLES))
        environment = {**os.environ, **AWS}
        print(f"left out, for the provider is of 2021: {', '.join(RESOURCES + BLOCKS + ARGUMENTS)}")
        terraform(folder, environment, "validate")
        terraform(folder, environment, "apply", "-auto-approve")
        made = left(endpoint)
        check("each kind of resource is there", all(made.values()), made)
        target = client("events", endpoint).list_targets_by_rule(Rule="ecs-rebalancer-reference-joined")["Targets"][0]
        check("the event's target runs the task definition", target["EcsParameters"]["TaskDefinitionArn"] in made["definitions"], target)
        (job,) = client("ecs", endpoint).describe_task_definition(taskDefinition="ecs-rebalancer-other")["taskDefinition"]["containerDefinitions"]
        check("the task definition has its settings", {"name": "REBALANCER_DRY_RUN", "value": "true"} in job["environment"], job)
        check("a second plan finds nothing to do", "No changes." in (plan := terraform(folder, environment, "plan")), plan)
        terraform(folder, environment, "destroy", "-auto-approve")
        gone = left(endpoint)
        check("nothing is left", not any(gone.values()), gone)


if __name__ == "__main__":
    main()
