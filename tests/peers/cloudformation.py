"""The CloudFormation template and the policies as JSON, for those without Terraform: made of what Terraform renders, so that they
are the same job, and nothing that is granted there is missing or added here.

    cloudformation.py STATES [--write]

STATES is what `terraform test -json -verbose` printed. Without --write the files must be what would be written. cfn-lint, which
nobody here wrote, looks at the template.
"""

import json
import pathlib
import re
import subprocess
import sys

import yaml

import rendered
from taskdef import as_cloudformation

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
# Of the rendered run `options`: what a dry run may, what a real one may, what that may with steering, and what the brake leaves.
DRY, LIVE, STEERING, BRAKED = "dry-run", "auto", "steer", "braked"
CLUSTER = "reference"
PARAMETERS = {
    "Cluster": {"Type": "String", "Description": "The cluster's name.", "AllowedPattern": "^[A-Za-z0-9_-]{1,40}$", "ConstraintDescription": "up to 40 letters, digits, - and _"},
    "Image": {"Type": "String", "Description": "The job's image, with its tag or digest."},
    "Repository": {"Type": "String", "Default": "", "Description": "The ARN of the ECR repository that the image is in; nothing if it is elsewhere."},
    "Architecture": {"Type": "String", "Default": "ARM64", "AllowedValues": ["ARM64", "X86_64"], "Description": "The processor that the image was built for."},
    "Subnets": {"Type": "List<AWS::EC2::Subnet::Id>", "Description": "Subnets from which AWS's APIs are reached."},
    "SecurityGroups": {"Type": "List<AWS::EC2::SecurityGroup::Id>", "Description": "Security groups that let the job out to port 443."},
    "AssignPublicIp": {"Type": "String", "Default": "DISABLED", "AllowedValues": ["ENABLED", "DISABLED"], "Description": "ENABLED in public subnets."},
    "DryRun": {"Type": "String", "Default": "true", "AllowedValues": ["true", "false"], "Description": "Measure, publish and plan, change nothing."},
    "Recover": {"Type": "String", "Default": "false", "AllowedValues": ["true", "false"], "Description": "With DryRun=true where runs were real before: a run that is under way may still finish or undo its step."},
    "Steer": {"Type": "String", "Default": "false", "AllowedValues": ["true", "false"], "Description": "Allow a temporary placement constraint on a service while its replacements start."},
    "Threshold": {"Type": "Number", "Default": 10, "MinValue": 0, "MaxValue": 100, "Description": "Percent of misplaced tasks at which a service is rebalanced."},
    "MaxMoves": {"Type": "Number", "Default": 50, "MinValue": 1, "MaxValue": 10000, "Description": "Task starts in one run."},
    "ScheduleExpression": {"Type": "String", "Default": "rate(1 hour)", "Description": "When: rate(...) or cron(...). The alarms are for an hourly one."},
    "ScheduleTimezone": {"Type": "String", "Default": "UTC", "Description": "The time zone of a cron(...)."},
    "AlarmTopic": {"Type": "String", "Default": "", "Description": "The ARN of an SNS topic that alarms tell; nothing if they are only shown."},
    "Dashboard": {"Type": "String", "Default": "true", "AllowedValues": ["true", "false"], "Description": "Whether there is a CloudWatch dashboard. An account's first three are free."},
}
# The job's variables that are parameters.
SETTINGS = {"REBALANCER_DRY_RUN": "DryRun", "REBALANCER_STEER": "Steer", "REBALANCER_THRESHOLD": "Threshold", "REBALANCER_MAX_MOVES": "MaxMoves"}


def general(value, cluster=CLUSTER):
    """With CloudFormation's own names in the place of the account, the Region and the cluster."""
    if isinstance(value, dict):
        return {key: general(of, cluster) for key, of in value.items()}
    if isinstance(value, list):
        return [general(of, cluster) for of in value]
    if not isinstance(value, str):
        return value
    text = value.replace("arn:aws:", "arn:${AWS::Partition}:").replace("111122223333", "${AWS::AccountId}").replace("us-east-1", "${AWS::Region}")
    text = re.sub(rf"(?<![\w-])((?:ecs-rebalancer-|[\w-]+/)?){re.escape(cluster)}(?![\w])", r"\1${Cluster}", text)
    return {"Fn::Sub": text} if "${" in text else text


def statements(state, cluster):
    return {statement["Sid"]: general(statement, cluster) for statement in rendered.task_policy(state, cluster)["Statement"]}


def task_policy(options):
    """What a dry run may, and under a condition what more one may that finishes what was begun, a real one, and each with steering."""
    dry, live, steering, braked = (statements(options, cluster) for cluster in (DRY, LIVE, STEERING, BRAKED))
    all_of_them = {**dry, **live, **steering}
    for of_one in (dry, live, steering, braked):
        for sid, statement in of_one.items():
            if all_of_them[sid] != statement:
                sys.exit(f"FAILED: {sid} is another statement with other options")

    def condition(sid):
        # Steering is the one option that a statement may need beside.
        acts = "Acts" if sid in braked else "Live"
        return acts if sid in live else f"{acts}Steering"

    more = [{"Fn::If": [condition(sid), statement, {"Ref": "AWS::NoValue"}]} for sid, statement in all_of_them.items() if sid not in dry]
    return {"Version": "2012-10-17", "Statement": [*dry.values(), *more]}


def of_policy(state, address, replaced):
    """A rendered policy, with references in the place of what Terraform made."""
    found = {}
    for statement in json.loads(state[address]["policy"])["Statement"]:
        found[statement["Sid"]] = {**general(statement), **replaced.get(statement["Sid"], {})}
    return found


def alarm(values):
    """An alarm's properties in CloudFormation's names."""
    properties = {
        "AlarmName": general(values["alarm_name"]),
        "AlarmDescription": general(values["alarm_description"]),
        "ComparisonOperator": values["comparison_operator"],
        "EvaluationPeriods": int(values["evaluation_periods"]),
        "Threshold": values["threshold"],
        "TreatMissingData": values["treat_missing_data"],
        "AlarmActions": {"Fn::If": ["Told", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]},
        "OKActions": {"Fn::If": ["Told", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]},
    }
    if values.get("metric_query"):
        queries = []
        for query in values["metric_query"]:
            it = {"Id": query["id"]}
            if query["expression"]:
                it |= {"Expression": query["expression"], "Label": query["label"], "ReturnData": True}
            for metric in query["metric"]:
                it |= {
                    "MetricStat": {
                        "Metric": {"Namespace": metric["namespace"], "MetricName": metric["metric_name"], "Dimensions": dimensions(metric)},
                        "Period": int(metric["period"]),
                        "Stat": metric["stat"],
                    },
                    "ReturnData": False,
                }
            queries.append(it)
        return {"Type": "AWS::CloudWatch::Alarm", "Properties": {**properties, "Metrics": queries}}
    properties |= {
        "Namespace": values["namespace"],
        "MetricName": values["metric_name"],
        "Dimensions": dimensions(values),
        "Statistic": values["statistic"],
        "Period": int(values["period"]),
    }
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}


def dimensions(metric):
    return [{"Name": name, "Value": {"Fn::GetAtt": ["Undelivered", "QueueName"]} if name == "QueueName" else general(value)} for name, value in metric["dimensions"].items()]


def dashboard(values):
    """The one cluster's dashboard. What is a parameter here is one there, and the queue's address can't be written into a link."""
    body = json.loads(values["dashboard_body"])
    for widget in body["widgets"]:
        properties = widget["properties"]
        if "markdown" in properties:
            properties["markdown"] = re.sub(r"(#/queues)/[^)]*", r"\1", properties["markdown"]).replace("Runs move tasks.", "Dry run: ${DryRun}. Steering: ${Steer}.")
        for line in properties.get("annotations", {}).get("horizontal", []):
            line["value"] = "${Threshold}" if line["label"] == "REBALANCER_THRESHOLD" else line["value"]
        if "alarms" in properties:
            properties["alarms"] = [arn.replace("ecs-rebalancer-undelivered", "ecs-rebalancer-${Cluster}-undelivered") for arn in properties["alarms"]]
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).replace('"${Threshold}"', "${Threshold}")
    text = text.replace("arn:aws:", "arn:${AWS::Partition}:").replace("111122223333", "${AWS::AccountId}").replace("us-east-1", "${AWS::Region}")
    text = re.sub(rf"\b{CLUSTER}\b", "${Cluster}", text)
    for parameter in ("Cluster", "DryRun", "Steer", "Threshold"):
        if f"${{{parameter}}}" not in text:
            sys.exit(f"FAILED: the dashboard doesn't show {parameter}")
    return {
        "Type": "AWS::CloudWatch::Dashboard",
        "Condition": "Shown",
        "Properties": {"DashboardName": {"Fn::Sub": "ecs-rebalancer-${Cluster}-${AWS::Region}"}, "DashboardBody": {"Fn::Sub": text}},
    }


def template(runs):
    state, options = runs["defaults"], runs["options"]
    of = f'["{CLUSTER}"]'
    definition = state[f"aws_ecs_task_definition.this{of}"]
    (container,) = json.loads(definition["container_definitions"])
    environment = {pair["name"]: pair["value"] for pair in container["environment"]}
    environment = {name: general(value) for name, value in environment.items()} | {name: {"Ref": parameter} for name, parameter in SETTINGS.items()}
    container = as_cloudformation({key: value for key, value in container.items() if key not in ("environment", "image")})
    container = general(container)
    container |= {"Image": {"Ref": "Image"}, "Environment": [{"Name": name, "Value": value} for name, value in sorted(environment.items())]}
    container["LogConfiguration"]["Options"]["awslogs-group"] = {"Ref": "Log"}
    schedule = state[f"aws_scheduler_schedule.this{of}"]
    scheduled = schedule["target"][0]
    rule, joined = state[f"aws_cloudwatch_event_rule.joined{of}"], state[f"aws_cloudwatch_event_target.joined{of}"]
    network = {"AwsvpcConfiguration": {"Subnets": {"Ref": "Subnets"}, "SecurityGroups": {"Ref": "SecurityGroups"}, "AssignPublicIp": {"Ref": "AssignPublicIp"}}}
    network_of_rule = {"AwsVpcConfiguration": network["AwsvpcConfiguration"]}

    def parameters(given, network):
        return {
            "TaskDefinitionArn": {"Ref": "TaskDefinition"},
            "TaskCount": int(given.get("task_count") or 1),
            "LaunchType": given["launch_type"],
            "PlatformVersion": given["platform_version"],
            "PropagateTags": given["propagate_tags"],
            "NetworkConfiguration": network,
        }

    def retry(given):
        (policy,) = given["retry_policy"]
        return {"MaximumRetryAttempts": int(policy["maximum_retry_attempts"]), "MaximumEventAgeInSeconds": int(policy["maximum_event_age_in_seconds"])}

    def role(address, description, policy_name, policy):
        return {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "Description": {"Fn::Sub": description},
                "AssumeRolePolicyDocument": general(json.loads(state[address]["assume_role_policy"])),
                "Policies": [{"PolicyName": policy_name, "PolicyDocument": policy}],
            },
        }

    arn_of = lambda name: {"Fn::GetAtt": [name, "Arn"]}  # noqa: E731
    family = {"Fn::Sub": "ecs-rebalancer-${Cluster}"}
    execution = of_policy(state, "aws_iam_role_policy.execution", {
        "Log": {"Resource": {"Fn::Sub": "${Log.Arn}:log-stream:*"}}, "PullImage": {"Resource": {"Ref": "Repository"}},
    })  # fmt: skip
    in_ecr = [{"Fn::If": ["InECR", execution[sid], {"Ref": "AWS::NoValue"}]} for sid in ("PullImage", "LogIn")]
    begin = of_policy(state, "aws_iam_role_policy.start", {
        "Run": {"Resource": {"Fn::Sub": "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task-definition/ecs-rebalancer-${Cluster}:*"}},
        "TagRun": {"Resource": {"Fn::Sub": "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task/${Cluster}/*"}},
        "PassRoles": {"Resource": [arn_of("ExecutionRole"), arn_of("TaskRole")]}, "KeepUndelivered": {"Resource": arn_of("Undelivered")},
    })  # fmt: skip
    queue_policy = of_policy_of_queue(state, arn_of)
    resources = {
        "Log": {"Type": "AWS::Logs::LogGroup", "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete", "Properties": {"LogGroupName": {"Fn::Sub": "/ecs/ecs-rebalancer-${Cluster}"}, "RetentionInDays": int(state[f"aws_cloudwatch_log_group.this{of}"]["retention_in_days"])}},
        "TaskRole": role(f"aws_iam_role.task{of}", "What ecs-rebalancer may do in cluster ${Cluster}", "rebalance", task_policy(options)),
        "ExecutionRole": role("aws_iam_role.execution", "What ECS needs to start ecs-rebalancer on ${Cluster}", "start", {"Version": "2012-10-17", "Statement": [execution["Log"], *in_ecr]}),
        "StartRole": role("aws_iam_role.start", "Starts ecs-rebalancer on ${Cluster}", "start", {"Version": "2012-10-17", "Statement": list(begin.values())}),
        "TaskDefinition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": family,
                "RequiresCompatibilities": definition["requires_compatibilities"],
                "NetworkMode": definition["network_mode"],
                "Cpu": definition["cpu"],
                "Memory": definition["memory"],
                "RuntimePlatform": {"CpuArchitecture": {"Ref": "Architecture"}, "OperatingSystemFamily": definition["runtime_platform"][0]["operating_system_family"]},
                "TaskRoleArn": arn_of("TaskRole"),
                "ExecutionRoleArn": arn_of("ExecutionRole"),
                "ContainerDefinitions": [container],
            },
        },
        "Undelivered": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete", "Properties": {"MessageRetentionPeriod": int(state["aws_sqs_queue.undelivered"]["message_retention_seconds"]), "SqsManagedSseEnabled": True}},
        "UndeliveredPolicy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Undelivered"}], "PolicyDocument": queue_policy}},
        "Schedule": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Name": family,
                "Description": general(schedule["description"]),
                "State": schedule["state"],
                "ScheduleExpression": {"Ref": "ScheduleExpression"},
                "ScheduleExpressionTimezone": {"Ref": "ScheduleTimezone"},
                "FlexibleTimeWindow": {"Mode": schedule["flexible_time_window"][0]["mode"], "MaximumWindowInMinutes": int(schedule["flexible_time_window"][0]["maximum_window_in_minutes"])},
                "Target": {
                    "Arn": general(scheduled["arn"]),
                    "RoleArn": arn_of("StartRole"),
                    "Input": scheduled["input"],
                    "EcsParameters": parameters(scheduled["ecs_parameters"][0], network),
                    "RetryPolicy": retry(scheduled),
                    "DeadLetterConfig": {"Arn": arn_of("Undelivered")},
                },
            },
        },
        "Joined": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Description": general(rule["description"]),
                # A dry run has no event, as in Terraform.
                "State": {"Fn::If": ["Live", "ENABLED", "DISABLED"]},
                "EventPattern": general(json.loads(rule["event_pattern"])),
                "Targets": [
                    {
                        "Id": "ecs-rebalancer",
                        "Arn": general(joined["arn"]),
                        "RoleArn": arn_of("StartRole"),
                        "EcsParameters": parameters(joined["ecs_target"][0], network_of_rule),
                        "InputTransformer": {"InputPathsMap": joined["input_transformer"][0]["input_paths"], "InputTemplate": joined["input_transformer"][0]["input_template"]},
                        "RetryPolicy": retry(joined),
                        "DeadLetterConfig": {"Arn": arn_of("Undelivered")},
                    }
                ],
            },
        },
    }
    for name in ("silent", "failing", "imbalanced"):
        resources[f"Alarm{name.title()}"] = alarm(state[f"aws_cloudwatch_metric_alarm.{name}{of}"])
    undelivered = alarm(state["aws_cloudwatch_metric_alarm.undelivered"])
    undelivered["Properties"]["AlarmName"] = {"Fn::Sub": "ecs-rebalancer-${Cluster}-undelivered"}
    undelivered["Properties"]["AlarmDescription"] = {"Fn::Sub": re.sub(r"--queue-url .*", "--queue-url ${Undelivered}", undelivered["Properties"]["AlarmDescription"]["Fn::Sub"])}
    resources["AlarmUndelivered"] = undelivered
    resources["RunsDashboard"] = dashboard(state["aws_cloudwatch_dashboard.this[0]"])
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "ecs-rebalancer on one cluster, by the clock and when a container instance joins",
        "Parameters": PARAMETERS,
        "Conditions": {
            "Live": {"Fn::Equals": [{"Ref": "DryRun"}, "false"]},
            "Acts": {"Fn::Or": [{"Condition": "Live"}, {"Fn::Equals": [{"Ref": "Recover"}, "true"]}]},
            "ActsSteering": {"Fn::And": [{"Condition": "Acts"}, {"Fn::Equals": [{"Ref": "Steer"}, "true"]}]},
            "InECR": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Repository"}, ""]}]},
            "Told": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]},
            "Shown": {"Fn::Equals": [{"Ref": "Dashboard"}, "true"]},
        },
        "Resources": resources,
        "Outputs": {"LogGroup": {"Description": "Where runs log, each with its report in the last lines.", "Value": {"Ref": "Log"}}},
    }


def of_policy_of_queue(state, arn_of):
    found = of_policy(state, "aws_sqs_queue_policy.undelivered", {
        "EncryptedOnly": {"Resource": arn_of("Undelivered")},
        "Rules": {"Resource": arn_of("Undelivered"), "Condition": {"ArnEquals": {"aws:SourceArn": arn_of("Joined")}}},
    })  # fmt: skip
    return {"Version": "2012-10-17", "Statement": list(found.values())}


def policies(runs):
    """By file name: a task role's policy for each way of use, with words in capitals for what is the account's."""
    found = {}
    for name, cluster in {"dry-run": DRY, "auto": LIVE, "surge-with-steering": STEERING, "consolidate-dry-run": "pack", "revision": "revision", "dry-run-that-recovers": BRAKED}.items():
        text = json.dumps(rendered.task_policy(runs["options"], cluster), indent=2)
        text = text.replace("111122223333", "ACCOUNT").replace("us-east-1", "REGION").replace("arn:aws:", "arn:PARTITION:")
        found[f"policies/{name}.json"] = re.sub(rf"/{re.escape(cluster)}(?=[/\"])", "/CLUSTER", text) + "\n"
    return found


class Plain(yaml.SafeDumper):
    """CloudFormation takes no aliases."""

    def ignore_aliases(self, data):
        return True


def main():
    runs = rendered.states(sys.argv[1])
    head = "# Made of what Terraform renders; .ci/run templates --write makes it anew.\n"
    files = {"cloudformation/template.yaml": head + yaml.dump(template(runs), Dumper=Plain, sort_keys=False, width=120, allow_unicode=True), **policies(runs)}
    for name, text in files.items():
        path = EXAMPLES / name
        if "--write" in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"FAILED: examples/{name} is not what Terraform renders: .ci/run templates --write")
        for foreign in ("111122223333", "us-east-1"):
            if foreign in text:
                sys.exit(f"FAILED: examples/{name} has {foreign} in it")
    lint = subprocess.run(["cfn-lint", "--", str(EXAMPLES / "cloudformation/template.yaml")], capture_output=True, text=True, check=False)
    if lint.returncode:
        sys.exit(f"FAILED: cfn-lint:\n{lint.stdout}{lint.stderr}")
    print(f"ok: {', '.join(files)}: what Terraform renders, and valid")


if __name__ == "__main__":
    main()
