"""The task definition, filled in as README does by hand, against AWS's own model of RegisterTaskDefinition (misspelt names,
missing members, wrong types) and against CloudFormation's rules (values, sizes that Fargate has).

    taskdef.py taskdef.json
"""

import json
import os
import re
import subprocess
import sys
import tempfile

import botocore.session
import botocore.validate

VALUES = {
    "family": "ecs-rebalancer-prod",
    "architecture": "ARM64",
    "image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/ecs-rebalancer:0.1.0",
    "task_role_arn": "arn:aws:iam::111122223333:role/ecs-rebalancer-prod",
    "execution_role_arn": "arn:aws:iam::111122223333:role/ecs-rebalancer-execution",
    "environment": '[{"name": "REBALANCER_DRY_RUN", "value": "true"}]',
    "log_group": "/ecs/ecs-rebalancer-prod",
    "region": "us-east-1",
    "launch_type": "FARGATE",
    "network_mode": "awsvpc",
}
# On the cluster's own container instances.
ON_EC2 = {"launch_type": "EC2", "network_mode": "bridge"}


def filled_in(path, more):
    """As `envsubst` gives it, and every placeholder known."""
    with open(path, encoding="utf-8") as file:
        named = set(re.findall(r"\$\{(\w+)\}", file.read()))
    if named != set(VALUES):
        sys.exit(f"FAILED: {path} has the placeholders {sorted(named)}, and this test {sorted(VALUES)}")
    with open(path, encoding="utf-8") as file:
        text = subprocess.run(["envsubst"], stdin=file, env={**os.environ, **VALUES, **more}, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(text)


def as_cloudformation(value, key=""):
    """CloudFormation's names begin with a capital; what is no name stays."""
    if isinstance(value, dict):
        return {name if key == "Options" else name[0].upper() + name[1:]: as_cloudformation(v, name[0].upper() + name[1:]) for name, v in value.items()}
    return [as_cloudformation(item) for item in value] if isinstance(value, list) else value


def check_by_model(definition):
    model = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    return botocore.validate.ParamValidator().validate(definition, model.input_shape).generate_report()


def check_by_rules(definition):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        resource = {"Type": "AWS::ECS::TaskDefinition", "Properties": as_cloudformation(definition)}
        json.dump({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"Job": resource}}, file)
        file.flush()
        return subprocess.run(["cfn-lint", "--", file.name], stdout=subprocess.PIPE, text=True, check=False).stdout


def main():
    path = sys.argv[1]
    for more in ({}, ON_EC2, {**ON_EC2, "network_mode": "host"}, {**ON_EC2, "network_mode": "awsvpc"}):
        definition = filled_in(path, more)
        found = check_by_model(definition) + check_by_rules(definition)
        if found:
            sys.exit(f"FAILED: {more}: {found}")
    definition = filled_in(path, {})
    wrong = [{**definition, "memory": "300"}, {**definition, "networkMode": "bridge"}]
    if not check_by_model({**definition, "memory": 512}) or not all(map(check_by_rules, wrong)):
        sys.exit("FAILED: a number for text, a size or a network mode that Fargate hasn't, is not found")
    print(f"ok: {path} is a task definition, on Fargate and on EC2")


if __name__ == "__main__":
    main()
