"""Terraform applies what the simulator models of examples/reference-cluster: its cluster, its task definition and its service, by
AWS's true provider. A second plan has nothing to change; a changed count and a new image arrive; then service and definition go.

    python ecs-simulator/tests/peers/applies.py target/debug/ecs-simulator examples/reference-cluster/main.tf

The environment names the provider.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HEAD = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}
variable "name" {
  default = "reference"
}
"""
MODELLED = ("aws_ecs_cluster", "aws_ecs_task_definition", "aws_ecs_service")
# What belongs to resources beside ECS.
LEFT_OUT = [r"\n  load_balancer \{.*?\n  \}", r"\n  capacity_provider_strategy \{.*?\n  \}", r"\n  depends_on = \[.*?\]"]
SNAPSHOT = {
    "cluster": {"clusterName": "reference"},
    "containerInstances": [
        {"containerInstanceArn": f"arn:aws:ecs:us-east-1:111122223333:container-instance/reference/{number}", "ec2InstanceId": f"i-{number}",
         "attributes": [{"name": "ecs.availability-zone", "value": f"us-east-1{zone}"}],
         "registeredResources": [{"name": "CPU", "integerValue": 2048}, {"name": "MEMORY", "integerValue": 4096}]}
        for number, zone in enumerate("ab")
    ],
}  # fmt: skip


def modelled(example):
    """The example's resources of ECS, without what they take from others."""
    blocks = re.findall(r'^resource "(\w+)" "\w+" \{.*?^\}\n', example, re.DOTALL | re.MULTILINE)
    assert set(MODELLED) <= set(blocks), blocks
    text = "\n".join(it[0] for it in re.findall(r'(^resource "(\w+)" "\w+" \{.*?^\}\n)', example, re.DOTALL | re.MULTILINE) if it[1] in MODELLED)
    for pattern in LEFT_OUT:
        text, number = re.subn(pattern, "", text, flags=re.DOTALL)
        assert number == 1, f"{pattern} is {number} times in the example"
    return HEAD + text


def terraform(folder, *arguments, status=0):
    done = subprocess.run(["terraform", *arguments, "-no-color"], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != status:
        sys.exit(f"FAILED: terraform {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main(simulator, example):
    text = modelled(pathlib.Path(example).read_text())
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "snapshot.json").write_text(json.dumps(SNAPSHOT))
        server = subprocess.Popen([simulator, folder / "snapshot.json", "--listen", "127.0.0.1:0", "--speed", "60"], stdout=subprocess.PIPE, text=True)
        try:
            while "DISABLED" not in (line := server.stdout.readline()):
                assert line, "the simulator ended before it was ready"
                if line.startswith("export "):
                    os.environ.update(word.split("=", 1) for word in line.split()[1:])
            (folder / "main.tf").write_text(text)
            terraform(folder, "apply", "-auto-approve")
            terraform(folder, "plan", "-detailed-exitcode")
            print("ok: the example's cluster, task definition and service are applied, and a plan has nothing to change", flush=True)
            (folder / "main.tf").write_text(text.replace("desired_count   = 2", "desired_count   = 3").replace("httpd:2.4", "httpd:2.5"))
            told = terraform(folder, "apply", "-auto-approve")
            assert "1 added, 1 changed, 1 destroyed" in told, told
            terraform(folder, "plan", "-detailed-exitcode")
            print("ok: another count and another image are applied", flush=True)
            terraform(folder, "destroy", "-auto-approve", "-target=aws_ecs_service.web", "-target=aws_ecs_task_definition.web")
            print("ok: service and task definition are destroyed; the cluster, which is the simulator's only one, stays", flush=True)
        finally:
            server.kill()
            server.wait()


main(*sys.argv[1:])
