"""schedule.tf put into an account, found unchanged, changed setting by setting, and taken away again while a run is under way;
the walk of the reference cluster and a second stack in another Region beside it; each of the other examples; and what a plan of
services shows of the job's work: AWS's true provider on moto, an AWS that nobody here wrote.

    account.py MOTO_SERVER

The environment names the provider.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from emulators import AWS, client, free_port, server

# What the walk's instances take is one of AWS's own policies.
POLICIES = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"}
CLUSTER = "prod"
PROJECT = pathlib.Path(__file__).parents[2]
VARIABLES = {
    "clusters": {CLUSTER: {"include": ["web-*"], "steer": True}, "other": {"dry_run": True}},
    "image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/ecs-rebalancer:0.1.0",
}


def of_cluster(**settings):
    """The settings of one cluster."""
    return {"clusters": {**VARIABLES["clusters"], CLUSTER: settings}}


# What a user may come to change, each from VARIABLES: together, all that there is to set.
CHANGES = [
    ("settings of the job", of_cluster(
        threshold=20, load_threshold=30, headroom=15, strategy="surge", exclude=["web-1"], max_moves=5, max_services=3, parallel=2, surge=50,
        cooldown="5m", task_timeout="4m", deadline="20m", metrics="all", metric_namespace="Own", log="debug", log_format="json",
    )),
    ("whom it may start as", of_cluster(strategy="revision", tag_strategies=["stop"], pass_roles=["arn:aws:iam::111122223333:role/web"])),
    ("when", of_cluster(
        schedule_expression="cron(0 3 * * ? *)", schedule_timezone="Europe/Vienna", event_max_version=9, alarm_silence_hours=60, alarm_imbalance_hours=48,
    ) | {"schedule_window_minutes": 30}),
    ("never", {"schedule_enabled": False, "event_enabled": False}),
    ("the brake", of_cluster(dry_run=True, recover=True)),
    ("the brake at once", of_cluster(dry_run=True)),
    ("packing", of_cluster(mode="consolidate", steer=True)),
    ("on the cluster's own instances", of_cluster(launch_type="EC2", network_mode="bridge")),
    ("on spot capacity", of_cluster(capacity_provider="FARGATE_SPOT")),
    ("no metrics", of_cluster(metrics="off")),
    ("another image, elsewhere", {"image": "registry.example/ecs-rebalancer:2", "architecture": "X86_64", "assign_public_ip": True}),
    ("what the account demands", {
        "role_path": "/platform/", "permissions_boundary": "arn:aws:iam::111122223333:policy/boundary", "tags": {"team": "platform"},
        "log_retention_days": 365, "alarm_actions": ["arn:aws:sns:us-east-1:111122223333:alarms"],
    }),
    ("one cluster fewer", {"clusters": {CLUSTER: {}}}),
    # A log group's key is only given to a new one: on moto's answer to AssociateKmsKey, a 500, the provider tries again for an hour.
    ("another name, and a key", {"name": "balance", "kms_key_arn": "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"}),
]


def without(text, patterns):
    """A configuration without what the patterns match, each of which must be there."""
    for pattern in patterns:
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE | re.DOTALL)
        if not count:
            sys.exit(f"FAILED: {pattern} is nowhere: nothing to leave out")
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


def left(endpoint, region="us-east-1"):
    """What of ours is in the account; roles are of all Regions."""
    of = lambda service: client(service, endpoint, region)  # noqa: E731
    return {
        "schedules": [it["Name"] for it in of("scheduler").list_schedules()["Schedules"]],
        "roles": [r["RoleName"] for r in of("iam").list_roles()["Roles"] if "rebalancer" in r["RoleName"]],
        "rules": [rule["Name"] for rule in of("events").list_rules()["Rules"]],
        "queues": of("sqs").list_queues().get("QueueUrls", []),
        "logs": [group["logGroupName"] for group in of("logs").describe_log_groups()["logGroups"]],
        "alarms": [a["AlarmName"] for a in of("cloudwatch").describe_alarms()["MetricAlarms"]],
        "definitions": of("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"],
    }


def write(folder, endpoint, **variables):
    (folder / "terraform.tfvars.json").write_text(json.dumps({**VARIABLES, **network(endpoint), **variables}))


def network(endpoint):
    """Where the job runs: the account's own network."""
    ec2 = client("ec2", endpoint)
    subnet = ec2.describe_subnets()["Subnets"][0]
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])["SecurityGroups"]
    return {"subnets": [subnet["SubnetId"]], "security_groups": [groups[0]["GroupId"]]}


def changes(plan, to=""):
    """What a plan has, by its address. moto forgets the descriptions of a security group's rules."""
    found = re.findall(rf"# (\S+) (?:will|must) be {to}", plan)
    return [address for address in found if not re.match(r"aws_vpc_security_group_\w+_rule\.", address)]


def check_alone(walk, environment, what, *settings):
    """Nothing that is there is in the walk's plan, which only makes things."""
    plan = terraform(walk, environment, "plan", *settings)
    check(f"the walk, {what}: nothing that is there is in its plan", "Plan:" in plan and not changes(plan, "(?!created)"), plan)


def check_the_walk(folder, environment, endpoint):
    """The example with a cluster of its own, in the same clone and account as what is deployed already, which it leaves alone."""
    walk = folder / "examples" / "reference-cluster"
    walk.mkdir(parents=True)
    text = (PROJECT / "examples/reference-cluster/main.tf").read_text()
    (walk / "main.tf").write_text(text)
    terraform(walk, environment, "get")
    check_alone(walk, environment, "the whole")
    # moto gives a service without a network of its own an empty one, on which the provider dies.
    (walk / "main.tf").write_text(without(text, [r'^resource "aws_ecs_service" "web" .*?^}\n']))
    before = left(endpoint)
    for what, settings in (("the cluster alone", []), ("with the job", ["-var", f"image={VARIABLES['image']}"])):
        check_alone(walk, environment, what, *settings)
        terraform(walk, environment, "apply", "-auto-approve", *settings)
        plan = terraform(walk, environment, "plan", *settings)
        check(f"the walk, {what}: a second plan finds nothing to do", not changes(plan), plan)
        plan = terraform(folder, environment, "plan")
        check(f"the walk, {what}: nor does production's", "No changes." in plan, plan)
    terraform(walk, environment, "destroy", "-auto-approve", *settings)
    after = left(endpoint)
    check("the walk is over, and all of production is there", after == before, (before, after))


def check_changes(folder, environment, endpoint, changes):
    """Each setting is applied, and then there is nothing to do; a run always finds a task definition to start."""
    for what, variables in changes:
        write(folder, endpoint, **variables)
        told = terraform(folder, environment, "apply", "-auto-approve")
        ended, changed = (told.find(f'{place}["{CLUSTER}"]: {step}') for place, step in (("terraform_data.end", "Destruction complete"), ("aws_iam_role_policy.task", "Modifying")))
        if what in ("the brake at once", "what the account demands", "another name, and a key") or -1 < ended:
            gone = told.find(f'aws_iam_role_policy.task["{CLUSTER}"] (deposed')
            loses = min((place for place in (changed, gone, told.find(f'aws_iam_role_policy.task["{CLUSTER}"]: Destroying')) if place >= 0), default=-1)
            check(f"{what}: runs are ended before they lose what they need", 0 <= ended < loses, told)
        for place in re.findall(r"(aws_ecs_task_definition\.this\[\S+\]) \(deposed object \w+\): Destroying", told):
            made, gone = told.find(f"{place}: Creation complete"), told.find(f"{place} (deposed")
            check(f"{what}: the task definition's successor is there before it goes", 0 <= made < gone, told)
        check(f"{what}: no task definition goes without a successor", "one cluster fewer" in what or not re.search(r"aws_ecs_task_definition\S+: Destroying", told), told)
        plan = terraform(folder, environment, "plan")
        check(f"{what}: changed, and a second plan finds nothing to do", "No changes." in plan, plan)
    write(folder, endpoint)
    terraform(folder, environment, "apply", "-auto-approve")


def check_destroying(folder, environment, endpoint):
    """A run is under way. Nothing starts another first, then it is ended, then its permissions go."""
    ecs = client("ecs", endpoint)
    for cluster in VARIABLES["clusters"]:
        ecs.create_cluster(clusterName=cluster)
    # moto reckons with the container's own memory, and dies where only the task has any: so a revision that has.
    definition = ecs.describe_task_definition(taskDefinition=f"ecs-rebalancer-{CLUSTER}")["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    revision = ecs.register_task_definition(
        **{key: definition[key] for key in ("family", "networkMode", "requiresCompatibilities", "cpu", "memory", "taskRoleArn", "executionRoleArn")},
        containerDefinitions=[{**container, "memory": int(definition["memory"])}],
    )["taskDefinition"]["taskDefinitionArn"]
    commands = terraform(folder, environment, "output", "-raw", "run").splitlines()
    (command,) = [command for command in commands if f":cluster/{CLUSTER} " in command]
    started = subprocess.run(shlex.split(command), env=environment, capture_output=True, text=True, check=False)
    check("a run is started by the command that Terraform prints", started.returncode == 0, started.stderr)
    (run,) = json.loads(started.stdout)["tasks"]
    told = terraform(folder, environment, "destroy", "-auto-approve")
    (task,) = ecs.describe_tasks(cluster=run["clusterArn"], tasks=[run["taskArn"]])["tasks"]
    check("the run was ended", task["desiredStatus"] == "STOPPED" and run["taskArn"] in told, told)
    steps = [
        f'aws_scheduler_schedule.this["{CLUSTER}"]: Destruction complete', f'aws_cloudwatch_event_target.joined["{CLUSTER}"]: Destruction complete',
        f'terraform_data.end["{CLUSTER}"]: Destroying', f'terraform_data.end["{CLUSTER}"]: Destruction complete',
        f'aws_iam_role_policy.task["{CLUSTER}"]: Destroying',
    ]
    places = [told.find(step) for step in steps]
    check("what starts runs went first, then the run, then its permissions", -1 not in places and max(places[:-3]) < places[-3] < places[-2] < places[-1], told)
    ecs.deregister_task_definition(taskDefinition=revision)
    gone = left(endpoint)
    check("nothing is left", not any(gone.values()), gone)


@contextlib.contextmanager
def deployed(moto):
    """schedule.tf in an account of its own: the folder, how Terraform reaches the account, and where that is."""
    with tempfile.TemporaryDirectory() as name, server([moto, "-H", "127.0.0.1", "-p", str(port := free_port())], port, POLICIES) as endpoint:
        folder = pathlib.Path(name)
        for name in ("schedule.tf", "taskdef.json"):
            shutil.copy(PROJECT / name, folder)
        environment = {**os.environ, **AWS, "AWS_ENDPOINT_URL": endpoint}
        write(folder, endpoint)
        terraform(folder, environment, "validate")
        terraform(folder, environment, "apply", "-auto-approve")
        yield folder, environment, endpoint


def made_changed_and_gone(moto, changes):
    with deployed(moto) as (folder, environment, endpoint):
        made = left(endpoint)
        check("each kind of resource is there", all(made.values()), made)
        target = client("events", endpoint).list_targets_by_rule(Rule=f"ecs-rebalancer-{CLUSTER}-joined")["Targets"][0]
        check("the event's target runs the task definition", target["EcsParameters"]["TaskDefinitionArn"] in made["definitions"], target)
        (job,) = client("ecs", endpoint).describe_task_definition(taskDefinition="ecs-rebalancer-other")["taskDefinition"]["containerDefinitions"]
        check("the task definition has its settings", {"name": "REBALANCER_DRY_RUN", "value": "true"} in job["environment"], job)
        check("a second plan finds nothing to do", "No changes." in (plan := terraform(folder, environment, "plan")), plan)
        check_changes(folder, environment, endpoint, changes)
        check_destroying(folder, environment, endpoint)


def walked(moto):
    with deployed(moto) as (folder, environment, endpoint):
        check_the_walk(folder, environment, endpoint)


def two_regions(moto):
    """The account's roles are of all Regions: a second stack, with clusters of the same names, has its own."""
    with deployed(moto) as (folder, environment, endpoint), tempfile.TemporaryDirectory() as name:
        write(folder, endpoint, clusters={"a-b": {}, "a_b": {}})
        terraform(folder, environment, "apply", "-auto-approve")
        other = pathlib.Path(name)
        for name in ("schedule.tf", "taskdef.json", "terraform.tfvars.json"):
            shutil.copy(folder / name, other)
        elsewhere = {**environment, "AWS_REGION": "eu-west-1"}
        terraform(other, elsewhere, "apply", "-auto-approve")
        for where, stack, of in (("here", folder, environment), ("in the other Region", other, elsewhere)):
            plan = terraform(stack, of, "plan")
            check(f"two clusters that differ in - and _ in two Regions: {where} a second plan finds nothing to do", "No changes." in plan, plan)
        roles = left(endpoint)["roles"]
        check("each stack has its own roles", len(roles) == len({role.lower() for role in roles}) == 8, roles)
        terraform(other, elsewhere, "destroy", "-auto-approve")
        plan = terraform(folder, environment, "plan")
        check("the other stack is gone, and this one is as it was", "No changes." in plan, plan)


IMAGES = {region: f"111122223333.dkr.ecr.{region}.amazonaws.com/ecs-rebalancer:0.1.0" for region in ("eu-west-1", "us-east-1")}


def of_complete(endpoint):
    return {"image": IMAGES["us-east-1"], **network(endpoint)}


def of_private_subnets(endpoint):
    ec2 = client("ec2", endpoint)
    subnet = ec2.describe_subnets()["Subnets"][0]
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])["RouteTables"]
    return {
        "image": IMAGES["us-east-1"], "vpc": subnet["VpcId"], "subnets": [subnet["SubnetId"]], "route_tables": [table["RouteTableId"] for table in tables],
    }  # fmt: skip


def of_several_regions(_):
    return {"images": IMAGES, "subnets": {region: [f"subnet-of-{region}"] for region in IMAGES}}


# The examples that are no walk: what each asks for, and the Regions that it is in.
EXAMPLES = {
    "complete": (of_complete, ["us-east-1"]),
    "private-subnets": (of_private_subnets, ["us-east-1"]),
    "several-regions": (of_several_regions, ["eu-west-1", "us-east-1"]),
}


def example(moto, name):
    """An example as a reader takes it: made, found unchanged, taken away, with nothing left."""
    with tempfile.TemporaryDirectory() as clone, server([moto, "-H", "127.0.0.1", "-p", str(port := free_port())], port, POLICIES) as endpoint:
        folder = pathlib.Path(clone, "examples", name)
        folder.mkdir(parents=True)
        for file in ("schedule.tf", "taskdef.json"):
            shutil.copy(PROJECT / file, clone)
        shutil.copy(PROJECT / "examples" / name / "main.tf", folder)
        environment = {**os.environ, **AWS, "AWS_ENDPOINT_URL": endpoint}
        wanted, regions = EXAMPLES[name]
        (folder / "terraform.tfvars.json").write_text(json.dumps(wanted(endpoint)))
        there = lambda: {region: left(endpoint, region) for region in regions}  # noqa: E731
        before = there()
        terraform(folder, environment, "get")
        terraform(folder, environment, "apply", "-auto-approve")
        made = there()
        # A cluster in a dry run has no rule.
        kinds = [kind for kind in made[regions[0]] if kind != "rules" or name != "private-subnets"]
        check(f"the example {name}: each kind of resource is there", all(of_one[kind] for of_one in made.values() for kind in kinds), made)
        plan = terraform(folder, environment, "plan")
        check(f"the example {name}: a second plan finds nothing to do", not changes(plan), plan)
        terraform(folder, environment, "destroy", "-auto-approve")
        after = there()
        check(f"the example {name}: destroyed, it leaves nothing", after == before, (before, after))


# A service as a user's own Terraform may have it.
OWN = """
resource "aws_ecs_cluster" "own" {
  name = "own"
}
resource "aws_ecs_task_definition" "web" {
  family                = "web"
  network_mode          = "awsvpc"
  container_definitions = jsonencode([{ name = "web", image = "web", memory = 64, essential = true }])
}
resource "aws_ecs_service" "web" {
  name            = "web"
  cluster         = aws_ecs_cluster.own.id
  task_definition = aws_ecs_task_definition.web.arn
  desired_count   = 4
  tags            = { team = "web" }
  network_configuration {
    subnets = ["SUBNET"]
  }
  lifecycle {
    # moto forgets it.
    ignore_changes = [availability_zone_rebalancing]
  }
}
"""


def drift(moto):
    """What a run does to a service is in a plan, until Terraform is told of it as the page on deploying says."""
    page = (PROJECT / "docs/src/deploy.md").read_text()
    (ignoring,) = [block for block in re.findall(r"```hcl\n(.*?)```", page, re.DOTALL) if "ignore_tags" in block]
    (provider,) = re.findall(r'^provider "aws" \{.*?^\}\n', ignoring, re.DOTALL | re.MULTILINE)
    (attributes,) = re.findall(r"ignore_changes = \[(.*)\]", ignoring)
    with tempfile.TemporaryDirectory() as name, server([moto, "-H", "127.0.0.1", "-p", str(port := free_port())], port, POLICIES) as endpoint:
        folder, environment = pathlib.Path(name), {**os.environ, **AWS, "AWS_ENDPOINT_URL": endpoint}
        own = OWN.replace("SUBNET", network(endpoint)["subnets"][0])
        (folder / "main.tf").write_text(own)
        terraform(folder, environment, "apply", "-auto-approve")
        plan = terraform(folder, environment, "plan")
        check("a service of the user's own: a second plan finds nothing to do", "No changes." in plan, plan)
        ecs = client("ecs", endpoint)
        service = ecs.update_service(cluster="own", service="web", desiredCount=6)["service"]
        ecs.tag_resource(resourceArn=service["serviceArn"], tags=[{"key": "ecs-rebalancer:last", "value": "at=2026-03-01T03:00:41Z"}])
        plan = terraform(folder, environment, "plan")
        shown = re.search(r"desired_count +.*6 -> 4", plan) and re.search(r'- "ecs-rebalancer:last" = "at=2026-03-01T03:00:41Z" -> null', plan)
        check("what a run has done is in its plan, as the page shows it", shown and "6 -> 4" in page, plan)
        (folder / "main.tf").write_text(provider + own.replace("rebalancing]", f"rebalancing, {attributes}]"))
        plan = terraform(folder, environment, "plan")
        check("and no more, once it ignores what the page says", "No changes." in plan, plan)


def main():
    (moto,) = sys.argv[1:]
    # In accounts of their own: the provider waits most of the time, for a queue's policy to be known.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        parts = [pool.submit(made_changed_and_gone, moto, CHANGES[first::2]) for first in range(2)]
        parts += [pool.submit(part, moto) for part in (walked, two_regions, drift)]
        parts += [pool.submit(example, moto, name) for name in EXAMPLES]
        for part in parts:
            part.result()


if __name__ == "__main__":
    main()
