"""Each option's policy, as Terraform renders it, against what the job asks AWS for on the simulator: every request is
allowed, and every action that is allowed is needed. Principal Mapper evaluates; parliament's tables say which resources and
condition keys an action knows, so that a condition on any other key allows nothing here, as in AWS.

    iam.py JOB SIMULATOR STATES

STATES is what `terraform test -json -verbose` printed. The CloudFormation template is tried in the same way, by the policy and the
environment that it has with each choice of its parameters.
"""

import collections
import collections.abc
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import sys
import tempfile

# Principal Mapper is from the time when these were there.
collections.Mapping = collections.abc.Mapping
collections.MutableMapping = collections.abc.MutableMapping

import parliament
import yaml
from principalmapper.querying.local_policy_simulation import policy_has_matching_statement
from principalmapper.util.case_insensitive_dict import CaseInsensitiveDict

import rendered
import snapshots
from recorder import recorder
from socket_and_signals import RUN_SECONDS, SPEED, ecs, finish, simulator, start

ECS = "arn:aws:ecs:us-east-1:111122223333"
# What parliament finds in each policy of the job, and why it stands: (statement, finding, detail).
EXCUSED = {
    # IAM's table names container instances for ListTasks, but a list by service or of all tasks has none.
    ("List", "RESOURCE_STAR", "['ecs:ListTasks']"),
}


def privilege(service, operation):
    """AWS's row for an action."""
    for table in parliament.iam_definition:
        if table["prefix"] == service:
            for row in table["privileges"]:
                if row["privilege"] == operation:
                    return row
    sys.exit(f"parliament knows no action {service}:{operation}")


def context_of(row, **values):
    """Those of the condition keys that the action knows."""
    known = {key for resource in row["resource_types"] for key in resource["condition_keys"]}
    return CaseInsensitiveDict({key: value for key, value in values.items() if key in known})


def asked(cluster, service, operation, parameters):
    """What IAM decides for one request: (action, resource, context), one for each resource."""
    arn = f"{ECS}:cluster/{cluster}"

    def arns(kind, names):
        return [name if name.startswith("arn:") else f"{ECS}:{kind}/{cluster}/{name}" for name in names]

    keys = {"ecs:cluster": arn}
    match operation:
        case "ListServices" | "ListTasks" | "DescribeTaskDefinition" | "DescribeTargetHealth" | "DescribeAutoScalingGroups":
            resources = ["*"]
        case "ListContainerInstances" | "DescribeClusters":
            resources = [arn]
        case "DescribeCapacityProviders":
            # They are the account's, not a cluster's.
            resources, keys = [f"{ECS}:capacity-provider/{name}" for name in parameters["capacityProviders"]], {}
        case "DescribeServices":
            resources = arns("service", parameters["services"])
        case "UpdateService":
            resources = arns("service", [parameters["service"]])
        case "DescribeContainerInstances":
            resources = arns("container-instance", parameters["containerInstances"])
        case "DescribeTasks" | "GetTaskProtection" | "UpdateTaskProtection":
            resources = arns("task", parameters["tasks"])
        case "StopTask":
            resources = arns("task", [parameters["task"]])
        case "PutAttributes" | "DeleteAttributes":
            resources = arns("container-instance", [attribute["targetId"] for attribute in parameters["attributes"]])
        case "TagResource":
            resources, keys = [parameters["resourceArn"]], {"aws:TagKeys": [tag["key"] for tag in parameters["tags"]]}
        case "UntagResource":
            resources, keys = [parameters["resourceArn"]], {"aws:TagKeys": parameters["tagKeys"]}
        case "RegisterTaskDefinition":
            resources = [f"{ECS}:task-definition/{parameters['family']}:1"]
        case "PutMetricData":
            resources, keys = ["*"], {"cloudwatch:namespace": parameters["Namespace"]}
        case _:
            sys.exit(f"the job calls {operation}, which this test knows no resource of")
    decisions = [(f"{service}:{operation}", resource, context_of(privilege(service, operation), **keys)) for resource in resources]
    # Whoever registers a task definition passes its roles; the service authorization reference of 2026 asks that of an
    # UpdateService that deploys, too.
    roles = []
    if operation == "RegisterTaskDefinition":
        roles = [parameters[role] for role in ("taskRoleArn", "executionRoleArn") if parameters.get(role)]
    elif operation == "UpdateService" and (parameters.get("forceNewDeployment") or parameters.get("taskDefinition")):
        roles = [snapshots.ROLE]
    passed = context_of(privilege("iam", "PassRole"), **{"iam:PassedToService": "ecs-tasks.amazonaws.com"})
    decisions += [("iam:PassRole", role, passed) for role in roles]
    if operation == "RegisterTaskDefinition" and parameters.get("tags"):
        created = {"ecs:CreateAction": operation, "aws:TagKeys": [tag["key"] for tag in parameters["tags"]]}
        decisions.append(("ecs:TagResource", resources[0], context_of(privilege("ecs", "TagResource"), **created)))
    return decisions


def allows(statement, decision):
    return policy_has_matching_statement({"Statement": [statement]}, "Allow", *decision)


@contextlib.contextmanager
def simulated(simulator_command, cluster, speed=SPEED, **tags):
    """The built-in cluster under this name, its services tagged."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        with simulator(simulator_command, SPEED) as environment:
            tags = {f"ecs-rebalancer:{name}": value for name, value in tags.items()}
            file.write(snapshots.take(ecs(environment), "reference", cluster, tags))
            file.flush()
        with simulator(simulator_command, speed, file.name) as environment:
            yield environment


def run(job, environment, settings):
    """One run through the recorder: its requests, which the report must have counted alike."""
    with tempfile.NamedTemporaryFile(suffix=".json") as written, recorder(environment["AWS_ENDPOINT_URL"]) as (address, requests):
        file = {"REBALANCER_REPORT": written.name}
        status, summary, log = finish(start(job, {**environment, **settings, **file, "AWS_ENDPOINT_URL": address}))
        report = json.load(written)
    if status or summary["errors"]:
        sys.exit(f"FAILED: a run with {settings} ended with status {status}: {summary['errors']}\n{log}")
    counted = dict(collections.Counter(operation for _, operation, _ in requests))
    if counted != report["api_calls"]:
        sys.exit(f"FAILED: the report counts {report['api_calls']}, where these passed: {counted}")
    return requests


def break_off(job, environment, settings):
    """A run that is killed as soon as it has raised a service's count."""
    with recorder(environment["AWS_ENDPOINT_URL"]) as (address, requests):
        process = start(job, {**environment, **settings, "AWS_ENDPOINT_URL": address})
        while not any(operation == "UpdateService" for _, operation, _ in requests):
            if process.poll() is not None:
                sys.exit(f"FAILED: the run ended before it could be killed: {finish(process)}")
        process.kill()
        process.wait(RUN_SECONDS)


def requests_of(job, simulator_command, cluster, settings, allowed):
    """What is asked for in a plain run, in one that finds what another left half-way, and in one on services whose tags choose
    another strategy."""

    def plain(settings=settings, **tags):
        with simulated(simulator_command, cluster, **tags) as environment:
            return run(job, environment, settings)

    def after_another(settings):
        # The simulator's clock runs away from the job's: so slow that the tasks which the run starts are of the time that it notes.
        with simulated(simulator_command, cluster, speed=20) as environment:
            break_off(job, environment, {**settings, "REBALANCER_STRATEGY": "surge"})
            # As somebody would who doesn't want to wait until it lapses.
            client = ecs(environment)
            (found,) = client.describe_clusters(clusters=[cluster], include=["TAGS"])["clusters"]
            leases = [tag["key"] for tag in found["tags"] if tag["key"].startswith("ecs-rebalancer:lease")]
            client.untag_resource(resourceArn=found["clusterArn"], tagKeys=leases)
            return run(job, environment, {**settings, "REBALANCER_COOLDOWN": "0s"})

    def with_a_snapshot():
        # Which tasks are protected it asks of all of them, whether it would move any or not.
        with tempfile.NamedTemporaryFile(suffix=".json") as written:
            return plain({**settings, "REBALANCER_DRY_RUN": "true", "REBALANCER_SNAPSHOT": written.name})

    runs = [plain, with_a_snapshot]
    is_dry = settings["REBALANCER_DRY_RUN"] == "true"
    if not is_dry or "ecs:UpdateService" in allowed:
        # The brake, where runs were real before: one that is under way goes on with this policy.
        real = {**settings, "REBALANCER_DRY_RUN": "false"}
        if is_dry:
            runs.append(lambda: plain(real))
        runs.append(lambda: after_another(real))
        if "ecs:StopTask" in allowed and settings["REBALANCER_STRATEGY"] != "stop":
            runs.append(lambda: plain(real, strategy="stop"))
    # Each on a cluster of its own, and most of the time it waits.
    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        return [request for requests in pool.map(lambda play: play(), runs) for request in requests]


def lint(what, policy, excused):
    found = set()
    for statement in policy["Statement"]:
        alone = json.dumps({"Version": policy["Version"], "Statement": [statement]})
        for finding in parliament.analyze_policy_string(alone).findings:
            found.add((statement["Sid"], finding.issue, str(finding.detail)))
    if found != excused:
        sys.exit(f"FAILED: parliament on {what}: {found ^ excused} (expected: {excused or 'nothing'})")


def of_terraform(state, cluster):
    return cluster, rendered.environment(rendered.container(state, cluster)), rendered.task_policy(state, cluster)


NOTHING = object()


def of_cloudformation(cluster, **chosen):
    """What the template makes of these parameters: the environment and the policy of the job."""
    template = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/cloudformation/template.yaml").read_text())
    parameters = {name: parameter.get("Default", name) for name, parameter in template["Parameters"].items()}
    parameters |= {"Cluster": cluster, "AWS::AccountId": "111122223333", "AWS::Region": "us-east-1", "AWS::Partition": "aws", "AWS::NoValue": NOTHING} | chosen

    def holds(condition):
        match condition:
            case {"Fn::Equals": [left, right]}:
                return resolved(left) == resolved(right)
            case {"Fn::And": conditions}:
                return all(map(holds, conditions))
            case {"Fn::Or": conditions}:
                return any(map(holds, conditions))
            case {"Fn::Not": [denied]}:
                return not holds(denied)
            case {"Condition": name}:
                return holds(template["Conditions"][name])
        sys.exit(f"FAILED: this test knows no condition {condition}")

    def resolved(value):
        match value:
            case {"Fn::If": [name, then, otherwise]}:
                return resolved(then if holds({"Condition": name}) else otherwise)
            case {"Fn::Sub": text}:
                return re.sub(r"\$\{(.+?)\}", lambda found: parameters[found.group(1)], text)
            case {"Ref": name}:
                # A resource's own name does where the job isn't told it.
                return parameters.get(name, name)
            case dict():
                return {key: resolved(of) for key, of in value.items()}
            case list():
                return [it for it in map(resolved, value) if it is not NOTHING]
        return value

    resources = template["Resources"]
    (container,) = resolved(resources["TaskDefinition"]["Properties"]["ContainerDefinitions"])
    (policy,) = resolved(resources["TaskRole"]["Properties"]["Policies"])
    settings = {pair["Name"]: str(pair["Value"]) for pair in container["Environment"]}
    return cluster, settings, policy["PolicyDocument"]


def check(job, simulator_command, cluster, settings, policy):
    lint(cluster, policy, EXCUSED)
    allowed = [action for statement in policy["Statement"] for action in statement["Action"]]
    requests = requests_of(job, simulator_command, cluster, settings, allowed)
    decisions = {
        (action, resource, json.dumps(dict(context.items()), sort_keys=True)): (action, resource, context)
        for request in requests
        for action, resource, context in asked(cluster, *request)
    }.values()
    for decision in decisions:
        if not any(allows(statement, decision) for statement in policy["Statement"]):
            sys.exit(f"FAILED: {cluster}: the job needs {decision}, and the policy doesn't allow it")
    for statement in policy["Statement"]:
        for action in statement["Action"]:
            if not any(decision[0] == action and allows(statement, decision) for decision in decisions):
                sys.exit(f"FAILED: {cluster}: {statement['Sid']} allows {action}, which no run needs")
    return f"ok: {cluster}: {len(requests)} requests, all allowed; {len(allowed)} permissions, all needed"


def check_starts(what, state):
    """Who starts runs may start each cluster's job there, with its roles, and no other; the log may be written; and what the rule
    can't deliver the queue takes. The policies tell names by what they begin and end with, and here are the names themselves."""
    of = lambda address: json.loads(state[address]["policy"])["Statement"]  # noqa: E731
    start, execution, queue = of("aws_iam_role_policy.start"), of("aws_iam_role_policy.execution"), of("aws_sqs_queue_policy.undelivered")
    passed = context_of(privilege("iam", "PassRole"), **{"iam:PassedToService": "ecs-tasks.amazonaws.com"})
    created = context_of(privilege("ecs", "TagResource"), **{"ecs:CreateAction": "RunTask"})

    def role(address):
        return f"arn:aws:iam::111122223333:role{state[address]['path']}{state[address]['name']}"

    def on(cluster):
        return context_of(privilege("ecs", "RunTask"), **{"ecs:cluster": f"{ECS}:cluster/{cluster}"})

    expected = []
    clusters = re.findall(r'aws_iam_role_policy\.task\["(.+?)"\]', " ".join(state))
    for cluster in clusters:
        its = f'["{cluster}"]'
        family, group = state[f"aws_ecs_task_definition.this{its}"]["family"], state[f"aws_cloudwatch_log_group.this{its}"]["name"]
        definition = f"{ECS}:task-definition/{family}:7"
        log = f"arn:aws:logs:us-east-1:111122223333:log-group:{group}:log-stream:run/ecs-rebalancer/1"
        expected += [
            (start, ("ecs:RunTask", definition, on(cluster)), True),
            (start, ("ecs:RunTask", definition, on("another")), False),
            (start, ("ecs:RunTask", f"{ECS}:task-definition/web:7", on(cluster)), False),
            (start, ("ecs:TagResource", f"{ECS}:task/{cluster}/1", created), True),
            (start, ("iam:PassRole", role(f"aws_iam_role.task{its}"), passed), True),
            (execution, ("logs:PutLogEvents", log, CaseInsensitiveDict({})), True),
        ]
        if rule := state.get(f"aws_cloudwatch_event_rule.joined{its}"):
            source = CaseInsensitiveDict({"aws:SourceArn": f"arn:aws:events:us-east-1:111122223333:rule/{rule['name']}", "aws:SecureTransport": "true"})
            expected.append((queue, ("sqs:SendMessage", state["aws_sqs_queue.undelivered"]["arn"], source), True))
    expected += [
        (start, ("iam:PassRole", role("aws_iam_role.execution"), passed), True),
        (start, ("iam:PassRole", "arn:aws:iam::111122223333:role/admin", passed), False),
        (start, ("sqs:SendMessage", state["aws_sqs_queue.undelivered"]["arn"], CaseInsensitiveDict({})), True),
        (execution, ("logs:PutLogEvents", "arn:aws:logs:us-east-1:111122223333:log-group:/ecs/web:log-stream:1", CaseInsensitiveDict({})), False),
    ]
    for statements, decision, is_allowed in expected:
        if any(allows(statement, decision) for statement in statements if statement["Effect"] == "Allow") != is_allowed:
            sys.exit(f"FAILED: {what}: {decision} is {'not ' if is_allowed else ''}allowed by {statements}")
    return f"ok: {what}: the jobs of {len(clusters)} clusters can be started and logged, nothing else; {len(expected)} decisions"


def main():
    job, simulator_command, states = map(os.path.abspath, sys.argv[1:])
    runs = rendered.states(states)
    state = runs["options"]
    clusters = re.findall(r'aws_iam_role_policy\.task\["(.+?)"\]', " ".join(state))
    if len(clusters) < 10:
        sys.exit(f"FAILED: only these options are rendered: {clusters}")
    for role in ("execution", "start"):
        lint(role, json.loads(state[f"aws_iam_role_policy.{role}"]["policy"]), set())
    for name in ("defaults", "options", "launched", "names", "schedules"):
        print(check_starts(name, runs[name]), flush=True)
    cases = [of_terraform(state, cluster) for cluster in clusters]
    for name, chosen in {
        "template-dry": {},
        "template-dry-steering": {"Steer": "true"},
        "template-braked": {"Recover": "true"},
        "template-braked-steering": {"Recover": "true", "Steer": "true"},
        "template-live": {"DryRun": "false"},
        "template-live-steering": {"DryRun": "false", "Steer": "true"},
    }.items():
        cases.append(of_cloudformation(name, **chosen))
    # Runs wait, most of the time.
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        for outcome in pool.map(lambda case: check(job, simulator_command, *case), cases):
            print(outcome, flush=True)


if __name__ == "__main__":
    main()
