"""Every operation that the simulator's page lists, called by boto3 and by the AWS CLI, each on a simulator of its own: what is sent
is checked by AWS's models, what comes back is read by them.

    python ecs-simulator/tests/peers/operations.py target/debug/ecs-simulator docs/src/simulator.md
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import boto3
import botocore

SERVICES = {
    "Amazon ECS": "ecs", "Amazon SQS": "sqs", "Application Auto Scaling": "application-autoscaling", "Auto Scaling": "autoscaling",
    "CloudWatch": "cloudwatch", "Elastic Load Balancing v2": "elbv2",
}  # fmt: skip
CLUSTER = {"cluster": "prod"}
QUEUE = {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/events"}
BOUNDS = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount", "ResourceId": "service/prod/web"}
CONTAINER = {"name": "app", "image": "app", "cpu": 64, "memory": 64}
SIZES = [{"name": "CPU", "type": "INTEGER", "integerValue": 2048}, {"name": "MEMORY", "type": "INTEGER", "integerValue": 4096}]
RACK = {"name": "rack", "value": "1", "targetType": "container-instance"}
SPAN = {"StartTime": "2020-01-01T00:00:00Z", "EndTime": "2100-01-01T00:00:00Z"}
METRIC = {"Namespace": "N", "MetricName": "m"}

# A cluster with a load balancer, a capacity provider and its group.
SNAPSHOT = {
    "cluster": {"clusterName": "prod", "capacityProviders": ["od"]},
    "containerInstances": [
        {"containerInstanceArn": f"arn:aws:ecs:us-east-1:111122223333:container-instance/prod/{number}", "ec2InstanceId": f"i-{number}",
         "capacityProviderName": "od", "registeredResources": [{"name": "CPU", "integerValue": 2048}, {"name": "MEMORY", "integerValue": 4096}],
         "attributes": [{"name": "ecs.availability-zone", "value": "us-east-1a"}]}
        for number in (1, 2)
    ],
    "services": [
        {"serviceName": "web", "desiredCount": 2, "taskDefinition": "arn:aws:ecs:us-east-1:111122223333:task-definition/web:1",
         "loadBalancers": [{"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/web/1", "containerName": "web", "containerPort": 80}]}
    ],
    "tasks": [
        {"taskArn": f"arn:aws:ecs:us-east-1:111122223333:task/prod/{number}", "group": "service:web",
         "containerInstanceArn": f"arn:aws:ecs:us-east-1:111122223333:container-instance/prod/{number}"}
        for number in (1, 2)
    ],
}  # fmt: skip


def calls(answers):
    """The operations in an order in which each can be made; what an earlier one answered is in `answers` by its name."""
    yield "ecs", "CreateCluster", {"clusterName": "prod"}
    yield "ecs", "ListClusters", {}
    yield "ecs", "DescribeClusters", {"clusters": ["prod"]}
    yield "ecs", "ListContainerInstances", CLUSTER
    instances = answers["ListContainerInstances"]["containerInstanceArns"]
    yield "ecs", "DescribeContainerInstances", CLUSTER | {"containerInstances": instances}
    yield "ecs", "ListServices", CLUSTER
    yield "ecs", "DescribeServices", CLUSTER | {"services": ["web"]}
    (service,) = answers["DescribeServices"]["services"]
    yield "ecs", "ListTasks", CLUSTER
    tasks = answers["ListTasks"]["taskArns"]
    yield "ecs", "DescribeTasks", CLUSTER | {"tasks": tasks}
    yield "ecs", "UpdateTaskProtection", CLUSTER | {"tasks": tasks, "protectionEnabled": True}
    yield "ecs", "GetTaskProtection", CLUSTER | {"tasks": tasks}
    yield "ecs", "DescribeTaskDefinition", {"taskDefinition": service["taskDefinition"]}
    yield "ecs", "RegisterTaskDefinition", {"family": "app", "containerDefinitions": [CONTAINER]}
    yield "ecs", "ListTaskDefinitions", {}
    yield "ecs", "ListTaskDefinitionFamilies", {}
    yield "ecs", "CreateService", CLUSTER | {"serviceName": "app", "taskDefinition": "app", "desiredCount": 1}
    yield "ecs", "UpdateService", CLUSTER | {"service": "app", "desiredCount": 0}
    yield "ecs", "ListServiceDeployments", CLUSTER | {"service": "app"}
    deployments = [it["serviceDeploymentArn"] for it in answers["ListServiceDeployments"]["serviceDeployments"]]
    yield "ecs", "DescribeServiceDeployments", {"serviceDeploymentArns": deployments}
    yield "ecs", "TagResource", {"resourceArn": service["serviceArn"], "tags": [{"key": "team", "value": "a"}]}
    yield "ecs", "ListTagsForResource", {"resourceArn": service["serviceArn"]}
    yield "ecs", "UntagResource", {"resourceArn": service["serviceArn"], "tagKeys": ["team"]}
    yield "ecs", "PutAttributes", CLUSTER | {"attributes": [RACK | {"targetId": instances[0]}]}
    yield "ecs", "ListAttributes", CLUSTER | {"targetType": "container-instance", "attributeName": "rack"}
    yield "ecs", "DeleteAttributes", CLUSTER | {"attributes": [RACK | {"targetId": instances[0]}]}
    yield "ecs", "RunTask", CLUSTER | {"taskDefinition": "app"}
    (run,) = answers["RunTask"]["tasks"]
    yield "ecs", "StartTask", CLUSTER | {"taskDefinition": "app", "containerInstances": instances[:1]}
    yield "ecs", "StopTask", CLUSTER | {"task": run["taskArn"]}
    yield "ecs", "DeleteService", CLUSTER | {"service": "app", "force": True}
    yield "ecs", "DeregisterTaskDefinition", {"taskDefinition": "app:1"}
    yield "ecs", "RegisterContainerInstance", CLUSTER | {"instanceIdentityDocument": '{"instanceId": "i-3"}', "totalResources": SIZES}
    joined = answers["RegisterContainerInstance"]["containerInstance"]["containerInstanceArn"]
    yield "ecs", "UpdateContainerInstancesState", CLUSTER | {"containerInstances": [joined], "status": "DRAINING"}
    yield "ecs", "DeregisterContainerInstance", CLUSTER | {"containerInstance": joined, "force": True}
    yield "ecs", "DescribeCapacityProviders", {"capacityProviders": ["od"]}
    yield "autoscaling", "DescribeAutoScalingGroups", {}
    (group,) = answers["DescribeAutoScalingGroups"]["AutoScalingGroups"]
    yield "autoscaling", "SetDesiredCapacity", {"AutoScalingGroupName": group["AutoScalingGroupName"], "DesiredCapacity": 2}
    yield "application-autoscaling", "RegisterScalableTarget", BOUNDS | {"MinCapacity": 1, "MaxCapacity": 4}
    yield "application-autoscaling", "DescribeScalableTargets", {"ServiceNamespace": "ecs"}
    yield "application-autoscaling", "DeregisterScalableTarget", BOUNDS
    target_group = service["loadBalancers"][0]["targetGroupArn"]
    yield "elbv2", "DescribeTargetGroups", {"TargetGroupArns": [target_group]}
    yield "elbv2", "DescribeTargetHealth", {"TargetGroupArn": target_group}
    yield "cloudwatch", "PutMetricData", {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 3, "Unit": "Count"}]}
    yield "cloudwatch", "ListMetrics", {"Namespace": "N"}
    yield "cloudwatch", "GetMetricStatistics", METRIC | SPAN | {"Period": 86400, "Statistics": ["Sum"]}
    query = {"Id": "q", "MetricStat": {"Metric": METRIC, "Period": 86400, "Stat": "Sum"}}
    yield "cloudwatch", "GetMetricData", SPAN | {"MetricDataQueries": [query]}
    yield "sqs", "ReceiveMessage", QUEUE
    # One came of the instance that joined, if the queue has told it by now; a receipt is only told, not known.
    receipt = answers["ReceiveMessage"].get("Messages", [{"ReceiptHandle": "made-up"}])[0]["ReceiptHandle"]
    yield "sqs", "DeleteMessage", QUEUE | {"ReceiptHandle": receipt}
    yield "sqs", "PurgeQueue", QUEUE


def by_boto3(service, operation, parameters):
    return getattr(boto3.client(service), botocore.xform_name(operation))(**parameters)


def by_cli(service, operation, parameters):
    aws = str(pathlib.Path(sys.executable).with_name("aws"))
    name = botocore.xform_name(operation, "-")
    # For queues the CLI's version 1 has an endpoint of its own, which no variable changes.
    command = [aws, service, name, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--output", "json", "--cli-input-json", json.dumps(parameters)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"FAILED: aws {service} {name} {json.dumps(parameters)}: {done.stderr}")
    return json.loads(done.stdout or "{}")


def called(simulator, call):
    """All operations in their order, on a simulator of their own; by service and name."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as snapshot:
        json.dump(SNAPSHOT, snapshot)
        snapshot.flush()
        server = subprocess.Popen([simulator, snapshot.name, "--listen", "127.0.0.1:0", "--speed", "60"], stdout=subprocess.PIPE, text=True)
        try:
            while "DISABLED" not in (line := server.stdout.readline()):
                assert line, "the simulator ended before it was ready"
                if line.startswith("export "):
                    os.environ.update(word.split("=", 1) for word in line.split()[1:])
            os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]
            answers, names = {}, set()
            for service, operation, parameters in calls(answers):
                answers[operation] = call(service, operation, parameters)
                assert not answers[operation].get("failures"), (operation, answers[operation])
                names.add((service, operation))
            return names
        finally:
            server.kill()
            server.wait()


def main(simulator, page):
    rows = re.findall(r"^\| ([^|]+) \| (\w+) \| [^|]+ \|$", pathlib.Path(page).read_text(), re.MULTILINE)
    listed = {(SERVICES[service], operation) for service, operation in rows if service in SERVICES}
    assert len(listed) > 40, f"{page} lists {len(listed)} operations"
    for call in (by_boto3, by_cli):
        names = called(simulator, call)
        if names != listed:
            sys.exit(f"FAILED: {call.__name__}: not called: {sorted(listed - names)}; not listed: {sorted(names - listed)}")
        print(f"ok: {call.__name__}: each of the {len(names)} listed operations", flush=True)


main(*sys.argv[1:])
