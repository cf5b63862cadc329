"""Clients that nobody here wrote hold the simulator to what they know of AWS: boto3 with its models, paginators, waiters and
error classes, in every protocol; and the AWS CLI.

    pip install boto3 awscli
    python ecs-simulator/tests/peers/peers.py target/debug/ecs-simulator
"""

import contextlib
import datetime
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.args
import botocore.config
import botocore.exceptions
import botocore.model
import botocore.utils

SIMULATOR = sys.argv[1]
CLUSTER = "reference"
# Standard retries: the simulator throttles as ECS does. Validation stays on: what comes back is parsed by AWS's own models.
CONFIG = botocore.config.Config(retries={"mode": "standard", "max_attempts": 5})


@contextlib.contextmanager
def simulator(*arguments):
    """The server on a free port, its settings in the environment as it prints them; ended by SIGTERM, with status 0."""
    process = subprocess.Popen([SIMULATOR, "--listen", "127.0.0.1:0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        while "DISABLED" not in (line := process.stdout.readline()):
            assert line, "the simulator ended before it was ready"
            if line.startswith("export "):
                os.environ.update(word.split("=", 1) for word in line.split()[1:])
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0, "SIGTERM is no failure"
    finally:
        process.kill()


def client(service):
    return boto3.client(service, config=CONFIG)


def refused(error, call, **arguments):
    """The call is refused with this class of error."""
    try:
        call(**arguments)
    except error:
        return
    raise AssertionError(f"{call.__name__}({arguments}) was not refused")


def snapshot_of_many(services, instances):
    """A cluster that needs pages: every service has one task on each of the first instances."""
    arn = "arn:aws:ecs:us-east-1:111122223333"
    return {
        "cluster": {"clusterName": CLUSTER},
        "containerInstances": [
            {
                "containerInstanceArn": f"{arn}:container-instance/{CLUSTER}/{number:03}",
                "ec2InstanceId": f"i-{number:03}",
                "registeredResources": [
                    {"name": "CPU", "type": "INTEGER", "integerValue": 65536},
                    {"name": "MEMORY", "type": "INTEGER", "integerValue": 262144},
                ],
                "attributes": [{"name": "ecs.availability-zone", "value": "us-east-1" + "ab"[number % 2]}],
            }
            for number in range(instances)
        ],
        "services": [
            {"serviceName": f"s{number:03}", "taskDefinition": f"{arn}:task-definition/app:1", "desiredCount": 2}
            for number in range(services)
        ],
        "tasks": [
            {
                "taskArn": f"{arn}:task/{CLUSTER}/{service:03}-{instance}",
                "group": f"service:s{service:03}",
                "containerInstanceArn": f"{arn}:container-instance/{CLUSTER}/{instance:03}",
                "startedAt": "2026-01-01T00:00:00Z",
            }
            for service in range(services)
            for instance in range(2)
        ],
        "taskDefinitions": [
            {
                "taskDefinitionArn": f"{arn}:task-definition/app:1",
                "family": "app",
                "revision": 1,
                "containerDefinitions": [{"name": "app", "image": "app", "cpu": 64, "memory": 64}],
            }
        ],
    }


def paginators_find_everything_once():
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(snapshot_of_many(services=123, instances=205), file)
        file.flush()
        with simulator(file.name):
            ecs = client("ecs")
            for operation, key, expected in [
                ("list_services", "serviceArns", 123),
                ("list_tasks", "taskArns", 246),
                ("list_container_instances", "containerInstanceArns", 205),
                ("list_attributes", "attributes", 205),
            ]:
                extra = {"targetType": "container-instance"} if operation == "list_attributes" else {}
                pages = ecs.get_paginator(operation).paginate(cluster=CLUSTER, **extra)
                found = [json.dumps(item, sort_keys=True) for page in pages for item in page[key]]
                assert len(found) == len(set(found)) == expected, (operation, len(found))
            for page in ecs.get_paginator("list_services").paginate(cluster=CLUSTER):
                answer = ecs.describe_services(cluster=CLUSTER, services=page["serviceArns"], include=["TAGS"])
                assert len(answer["services"]) == len(page["serviceArns"]) and not answer["failures"]
                assert all(service["runningCount"] == 2 for service in answer["services"])


def errors_have_their_classes():
    with simulator():
        ecs = client("ecs")
        ex = ecs.exceptions
        refused(ex.ClusterNotFoundException, ecs.list_tasks, cluster="no")
        refused(ex.ServiceNotFoundException, ecs.list_tasks, cluster=CLUSTER, serviceName="no")
        refused(ex.ServiceNotFoundException, ecs.update_service, cluster=CLUSTER, service="no")
        refused(ex.ClientException, ecs.describe_task_definition, taskDefinition="no")
        refused(ex.InvalidParameterException, ecs.list_tasks, cluster=CLUSTER, nextToken="no")
        refused(ex.InvalidParameterException, ecs.describe_services, cluster=CLUSTER, services=list("abcdefghijk"))
        refused(ex.TargetNotFoundException, ecs.put_attributes, cluster=CLUSTER, attributes=[{"name": "a", "targetId": "no"}])
        instance = ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"][0]
        own = [[{"name": f"own-{number}", "targetId": instance}] for number in range(11)]
        for attribute in own[:10]:
            ecs.put_attributes(cluster=CLUSTER, attributes=attribute)
        refused(ex.AttributeLimitExceededException, ecs.put_attributes, cluster=CLUSTER, attributes=own[10])
        assert ecs.describe_services(cluster=CLUSTER, services=["no"])["failures"][0]["reason"] == "MISSING"
        cloudwatch = client("cloudwatch")
        datum = {"MetricName": "m", "Value": 1.0}
        wrong = cloudwatch.exceptions.InvalidParameterValueException
        refused(wrong, cloudwatch.put_metric_data, Namespace="AWS/ECS", MetricData=[datum])
        refused(wrong, cloudwatch.put_metric_data, Namespace="N", MetricData=[datum] * 1001)
        balancing = client("elbv2")
        missing = "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/no/0"
        refused(balancing.exceptions.TargetGroupNotFoundException, balancing.describe_target_health, TargetGroupArn=missing)


def waiters_see_a_service_scale_deploy_and_lose_a_task():
    with simulator("--speed", "60"):
        ecs = client("ecs")
        wait = {"Delay": 1, "MaxAttempts": 60}

        def stable(count):
            ecs.get_waiter("services_stable").wait(cluster=CLUSTER, services=["web"], WaiterConfig=wait)
            service = ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]
            tasks = ecs.list_tasks(cluster=CLUSTER, serviceName="web")["taskArns"]
            assert service["runningCount"] == len(tasks) == count, service
            return set(tasks)

        before = stable(2)
        ecs.update_service(cluster=CLUSTER, service="web", desiredCount=4)
        four = stable(4)
        assert before < four, "scaling out stops nothing"
        where = {task["containerInstanceArn"] for task in ecs.describe_tasks(cluster=CLUSTER, tasks=list(four))["tasks"]}
        assert len(where) == 2, "new tasks go to the empty instance"

        victim = sorted(four)[0]
        ecs.update_task_protection(cluster=CLUSTER, tasks=[victim], protectionEnabled=True, expiresInMinutes=60)
        protected = ecs.get_task_protection(cluster=CLUSTER, tasks=[victim])["protectedTasks"]
        assert protected[0]["protectionEnabled"] and protected[0]["expirationDate"].year >= 2025
        ecs.update_service(cluster=CLUSTER, service="web", desiredCount=1)
        assert stable(1) == {victim}, "the protected task is the one that stays"
        ecs.update_task_protection(cluster=CLUSTER, tasks=[victim], protectionEnabled=False)

        ecs.update_service(cluster=CLUSTER, service="web", forceNewDeployment=True)
        new = stable(1)
        assert victim not in new, "a deployment replaces what it finds"
        ecs.stop_task(cluster=CLUSTER, task=new.pop(), reason="a test")
        ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=[victim], WaiterConfig=wait)
        ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=list(stable(1)), WaiterConfig=wait)

        group = ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]["loadBalancers"][0]
        health = client("elbv2").describe_target_health(TargetGroupArn=group["targetGroupArn"])
        assert {target["TargetHealth"]["State"] for target in health["TargetHealthDescriptions"]} <= {
            "healthy",
            "initial",
            "draining",
        }


def a_revision_carries_everything_over():
    with simulator():
        ecs = client("ecs")
        definition = {
            "family": "full",
            "networkMode": "bridge",
            "taskRoleArn": "arn:aws:iam::111122223333:role/r",
            "volumes": [{"name": "v", "host": {"sourcePath": "/v"}}],
            "containerDefinitions": [{"name": "c", "image": "i", "memory": 64, "environment": [{"name": "A", "value": "B"}]}],
            "tags": [{"key": "k", "value": "v"}],
        }
        for revision in (1, 2):
            answer = ecs.register_task_definition(**definition)
            assert answer["taskDefinition"]["revision"] == revision
        answer = ecs.describe_task_definition(taskDefinition="full:2", include=["TAGS"])
        assert answer["tags"] == definition["tags"]
        for key in ("networkMode", "taskRoleArn", "volumes"):
            assert answer["taskDefinition"][key] == definition[key], key
        assert answer["taskDefinition"]["containerDefinitions"][0]["environment"] == [{"name": "A", "value": "B"}]
        service = ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]["serviceArn"]
        ecs.tag_resource(resourceArn=service, tags=[{"key": "ecs-rebalancer:enabled", "value": "false"}])
        assert ecs.list_tags_for_resource(resourceArn=service)["tags"][0]["value"] == "false"
        ecs.untag_resource(resourceArn=service, tagKeys=["ecs-rebalancer:enabled"])
        assert ecs.list_tags_for_resource(resourceArn=service)["tags"] == []


def a_cluster_is_made_and_taken_down():
    """What somebody does who tries it out from nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"cluster": {"clusterName": CLUSTER}}, file)
        file.flush()
        with simulator(file.name, "--speed", "60"):
            ecs = client("ecs")
            wait = {"Delay": 1, "MaxAttempts": 60}
            for number in range(2):
                ecs.register_container_instance(
                    cluster=CLUSTER,
                    instanceIdentityDocument=json.dumps({"instanceId": f"i-{number}"}),
                    totalResources=[
                        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                        {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096},
                    ],
                    attributes=[{"name": "ecs.availability-zone", "value": "us-east-1" + "ab"[number]}],
                )
            container = {"name": "app", "image": "app", "cpu": 128, "memory": 256}
            ecs.register_task_definition(family="app", containerDefinitions=[container])
            made = ecs.create_service(cluster=CLUSTER, serviceName="app", taskDefinition="app", desiredCount=4)["service"]
            assert made["deployments"][0]["rolloutState"] == "IN_PROGRESS" and made["runningCount"] == 0
            ecs.get_waiter("services_stable").wait(cluster=CLUSTER, services=["app"], WaiterConfig=wait)
            arns = ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]
            instances = ecs.describe_container_instances(cluster=CLUSTER, containerInstances=arns)["containerInstances"]
            assert [instance["runningTasksCount"] for instance in instances] == [2, 2]
            deployments = ecs.list_service_deployments(cluster=CLUSTER, service="app")["serviceDeployments"]
            arns = [deployment["serviceDeploymentArn"] for deployment in deployments]
            assert len(ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]) == 1
            answer = ecs.run_task(cluster=CLUSTER, taskDefinition="app:1", count=3, startedBy="somebody")
            assert len(answer["tasks"]) == 3 and not answer["failures"], answer
            mine = ecs.list_tasks(cluster=CLUSTER, startedBy="somebody")["taskArns"]
            ecs.get_waiter("tasks_running").wait(cluster=CLUSTER, tasks=mine, WaiterConfig=wait)
            for task in mine:
                ecs.stop_task(cluster=CLUSTER, task=task)
            ecs.get_waiter("tasks_stopped").wait(cluster=CLUSTER, tasks=mine, WaiterConfig=wait)
            refused(ecs.exceptions.InvalidParameterException, ecs.delete_service, cluster=CLUSTER, service="app")
            ecs.delete_service(cluster=CLUSTER, service="app", force=True)
            ecs.get_waiter("services_inactive").wait(cluster=CLUSTER, services=["app"], WaiterConfig=wait)
            ecs.deregister_task_definition(taskDefinition="app:1")
            refused(ecs.exceptions.ClientException, ecs.run_task, cluster=CLUSTER, taskDefinition="app:1")


def metrics_come_back_as_they_were_put():
    """Puts metrics, reads them back, and tells what the requests looked like."""
    with simulator():
        cloudwatch = client("cloudwatch")
        sent = []
        cloudwatch.meta.events.register("before-send.cloudwatch.*", lambda request, **_: sent.append(request))
        now = datetime.datetime.now(datetime.timezone.utc)
        dimensions = [{"Name": "ClusterName", "Value": CLUSTER}]
        metric = {"MetricName": "TaskImbalance", "Dimensions": dimensions}
        data = [{**metric, "Value": value, "Unit": "Percent", "Timestamp": now} for value in (10.5, 29.5)]
        cloudwatch.put_metric_data(Namespace="ECSRebalancer", MetricData=data)
        span = {"StartTime": now - datetime.timedelta(hours=1), "EndTime": now + datetime.timedelta(hours=1)}
        point = cloudwatch.get_metric_statistics(
            Namespace="ECSRebalancer", **metric, **span, Period=60, Statistics=["Average", "Maximum", "SampleCount"]
        )["Datapoints"][0]
        assert (point["Average"], point["Maximum"], point["SampleCount"], point["Unit"]) == (20.0, 29.5, 2.0, "Percent")
        assert abs(point["Timestamp"] - now) < datetime.timedelta(minutes=2), point
        query = {"Id": "q", "MetricStat": {"Metric": {"Namespace": "ECSRebalancer", **metric}, "Period": 60, "Stat": "Sum"}}
        pages = cloudwatch.get_paginator("get_metric_data").paginate(MetricDataQueries=[query], **span)
        assert [value for page in pages for value in page["MetricDataResults"][0]["Values"]] == [40.0]
        # Large enough to be compressed by clients that do.
        names = [f"m{number:04}" for number in range(1000)]
        many = [{"MetricName": name, "Value": 1.0, "Dimensions": dimensions} for name in names]
        cloudwatch.put_metric_data(Namespace="Many", MetricData=many)
        pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace="Many")
        assert sorted(m["MetricName"] for page in pages for m in page["Metrics"]) == names
        assert any(request.headers.get("Content-Encoding") == b"gzip" for request in sent), "nothing was compressed"
        return {request.headers["Content-Type"] for request in sent}


def metrics_come_back_in_every_protocol():
    for protocol, content_type in [
        ("json", b"application/x-amz-json-1.0"),
        ("smithy-rpc-v2-cbor", b"application/cbor"),
        ("query", b"application/x-www-form-urlencoded"),
    ]:
        modules = (botocore.utils, botocore.model, botocore.args)
        before = {module: getattr(module, "PRIORITY_ORDERED_SUPPORTED_PROTOCOLS", None) for module in modules}
        try:
            for module, order in before.items():
                if order is not None:
                    rest = tuple(other for other in order if other != protocol)
                    module.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS = (protocol, *rest)
            seen = {bytes(kind, "ascii") if isinstance(kind, str) else kind for kind in metrics_come_back_as_they_were_put()}
            assert all(kind.startswith(content_type) for kind in seen), (protocol, seen)
        finally:
            for module, order in before.items():
                if order is not None:
                    module.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS = order


def groups_of_capacity_providers_are_described():
    snapshot = snapshot_of_many(services=1, instances=14)
    for number, instance in enumerate(snapshot["containerInstances"]):
        instance["capacityProviderName"] = f"p{number:02}"
    snapshot["autoScalingGroups"] = [{"AutoScalingGroupName": "p00", "MinSize": 3, "MaxSize": 8, "DesiredCapacity": 4}]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(snapshot, file)
        file.flush()
        with simulator(file.name):
            ecs, scaling = client("ecs"), client("autoscaling")
            names = [f"p{number:02}" for number in range(14)]
            first = ecs.describe_capacity_providers(cluster=CLUSTER, capacityProviders=names)
            rest = ecs.describe_capacity_providers(cluster=CLUSTER, capacityProviders=names, nextToken=first["nextToken"])
            providers = first["capacityProviders"] + rest["capacityProviders"]
            assert [provider["name"] for provider in providers] == names and "nextToken" not in rest
            of_group = providers[0]["autoScalingGroupProvider"]
            assert of_group["managedScaling"]["status"] == "ENABLED", of_group
            pages = scaling.get_paginator("describe_auto_scaling_groups").paginate(PaginationConfig={"PageSize": 5})
            groups = [group for page in pages for group in page["AutoScalingGroups"]]
            assert [group["AutoScalingGroupName"] for group in groups] == names
            assert groups[0]["AutoScalingGroupARN"] == of_group["autoScalingGroupArn"]
            assert (groups[0]["MinSize"], groups[0]["MaxSize"], groups[0]["DesiredCapacity"]) == (3, 8, 4)
            assert groups[1]["Instances"][0]["InstanceId"] == "i-001" and groups[1]["CreatedTime"].year >= 1970
            assert scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["no"])["AutoScalingGroups"] == []
            refused(scaling.exceptions.InvalidNextToken, scaling.describe_auto_scaling_groups, NextToken="no")


def bounds_and_events_are_what_clients_know_them_as():
    """A service's bounds come and go; an instance that joins is told of in a queue until the message is deleted."""
    with simulator("--speed", "60", "--fault", "join-instance=1", "--behaviour", "join-events=several"):
        ecs, scaling, queues = client("ecs"), client("application-autoscaling"), client("sqs")
        which = {
            "ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount", "ResourceId": f"service/{CLUSTER}/web",
        }
        scaling.register_scalable_target(**which, MinCapacity=1, MaxCapacity=1)
        assert ecs.describe_services(cluster=CLUSTER, services=["web"])["services"][0]["desiredCount"] == 1
        scaling.deregister_scalable_target(**which)
        assert not scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
        refused(scaling.exceptions.ObjectNotFoundException, scaling.deregister_scalable_target, **which)
        time.sleep(1)
        queue = "https://sqs.us-east-1.amazonaws.com/111122223333/events"
        messages = queues.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        events = [json.loads(message["Body"]) for message in messages]
        known = ecs.list_container_instances(cluster=CLUSTER)["containerInstanceArns"]
        assert [event["detail"]["version"] for event in events] == [1, 2], events
        assert all(event["detail"]["containerInstanceArn"] in known for event in events), events
        for message in messages:
            queues.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        queues.purge_queue(QueueUrl=queue)
        assert "Messages" not in queues.receive_message(QueueUrl=queue)


def the_aws_cli_works():
    aws = str(pathlib.Path(sys.executable).with_name("aws"))

    def cli(*arguments):
        answer = subprocess.run([aws, *arguments, "--output", "json"], capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout or "{}")

    with simulator():
        services = cli("ecs", "describe-services", "--cluster", CLUSTER, "--services", "web")
        assert services["services"][0]["runningCount"] == 2
        instances = cli("ecs", "list-container-instances", "--cluster", CLUSTER)["containerInstanceArns"]
        described = cli("ecs", "describe-container-instances", "--cluster", CLUSTER, "--container-instances", *instances)
        tasks = cli("ecs", "list-tasks", "--cluster", CLUSTER)["taskArns"]
        described_tasks = cli("ecs", "describe-tasks", "--cluster", CLUSTER, "--tasks", *tasks)
        definition = cli("ecs", "describe-task-definition", "--task-definition", "web", "--include", "TAGS")
        put = ("--namespace", "N", "--metric-name", "m", "--value", "3", "--unit", "Count")
        cli("cloudwatch", "put-metric-data", *put)
        assert cli("cloudwatch", "list-metrics", "--namespace", "N")["Metrics"][0]["MetricName"] == "m"
        described["containerInstances"][0]["capacityProviderName"] = "od"
        # Pasted together, the answers are a snapshot.
        pasted = {"cluster": {"clusterName": CLUSTER}, "taskDefinitions": [definition]}
        for answer in (services, described, described_tasks):
            pasted |= answer
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(pasted, file)
        file.flush()
        with simulator(file.name):
            again = cli("ecs", "describe-services", "--cluster", CLUSTER, "--services", "web")
            assert again["services"][0]["serviceArn"] == services["services"][0]["serviceArn"]
            assert cli("ecs", "list-tasks", "--cluster", CLUSTER)["taskArns"] == tasks
            named = ("--auto-scaling-group-names", "od")
            (group,) = cli("autoscaling", "describe-auto-scaling-groups", *named)["AutoScalingGroups"]
            assert (group["MinSize"], group["DesiredCapacity"], len(group["Instances"])) == (0, 1, 1)


def faults_are_what_clients_take_for_failures():
    with simulator("--fault", "drop=1"):
        ecs = boto3.client("ecs", config=botocore.config.Config(retries={"total_max_attempts": 1}))
        refused(botocore.exceptions.ConnectionClosedError, ecs.list_clusters)
    with simulator("--fault", "throttle=1"):
        ecs = boto3.client("ecs", config=botocore.config.Config(retries={"total_max_attempts": 1}))
        refused(botocore.exceptions.ClientError, ecs.list_clusters)
    for wrong in (["--listen", "0.0.0.0:0"], ["--speed", "0"], ["--fault", "no=1"], ["/no/such/file"]):
        assert subprocess.run([SIMULATOR, *wrong], capture_output=True, check=False, timeout=10).returncode != 0, wrong


CHECKS = [
    paginators_find_everything_once,
    errors_have_their_classes,
    waiters_see_a_service_scale_deploy_and_lose_a_task,
    a_revision_carries_everything_over,
    a_cluster_is_made_and_taken_down,
    metrics_come_back_in_every_protocol,
    groups_of_capacity_providers_are_described,
    bounds_and_events_are_what_clients_know_them_as,
    the_aws_cli_works,
    faults_are_what_clients_take_for_failures,
]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"ok {check.__name__}", flush=True)
