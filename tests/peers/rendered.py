"""What Terraform renders from schedule.tf, as `terraform test -json -verbose` tells it of each run's end.

    terraform test -json -verbose ... | rendered.py >STATES

Terraform repeats its provider's whole schema with each run; STATES is what is left without.
"""

import json
import sys


def states(path):
    """By the name of a run in rendered.tftest.hcl: the resources that it left, by address, and "outputs"."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def of_lines(lines):
    found = {}
    for line in lines:
        # Most lines are progress; each with a state is megabytes long.
        if '"test_state"' not in line:
            continue
        message = json.loads(line)
        if message["type"] == "test_state":
            state = message["test_state"]
            found[message["@testrun"]] = {
                "outputs": {name: output["value"] for name, output in state["outputs"].items()},
                **{resource["address"]: resource["values"] for resource in state["root_module"]["resources"]},
            }
    return found


def container(state, cluster):
    """The job's container definition for one cluster."""
    (only,) = json.loads(state[f'aws_ecs_task_definition.this["{cluster}"]']["container_definitions"])
    return only


def environment(container_definition, overrides=None):
    """The environment that ECS gives the container, RunTask's overrides laid over the task definition's own."""
    variables = {pair["name"]: pair["value"] for pair in container_definition["environment"]}
    for override in (overrides or {}).get("containerOverrides", []):
        if override["name"] == container_definition["name"]:
            variables.update({pair["name"]: pair["value"] for pair in override.get("environment", [])})
    return variables


def task_policy(state, cluster):
    return json.loads(state[f'aws_iam_role_policy.task["{cluster}"]']["policy"])


if __name__ == "__main__":
    json.dump(of_lines(sys.stdin), sys.stdout)
