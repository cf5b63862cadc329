# What an account gets. tests/peers/ reads the states of these runs as well: what it renders is put to work on the simulator.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "us-east-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/made" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:111122223333:task-definition/made:1" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:111122223333:made" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:111122223333:log-group:made" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:us-east-1:111122223333:rule/made" }
  }
}

variables {
  image   = "111122223333.dkr.ecr.us-east-1.amazonaws.com/ecs-rebalancer:0.1.0"
  subnets = ["subnet-0a"]
}

# As somebody has it who sets only what must be set.
run "defaults" {
  variables {
    clusters = { reference = {} }
  }
  assert {
    condition = jsondecode(aws_ecs_task_definition.this["reference"].container_definitions)[0].environment == [
      { name = "AWS_EC2_METADATA_DISABLED", value = "true" },
      { name = "REBALANCER_CLUSTER", value = "reference" },
      { name = "REBALANCER_DRY_RUN", value = "false" },
      { name = "REBALANCER_METRICS", value = "imbalanced" },
      { name = "REBALANCER_METRIC_NAMESPACE", value = "ECSRebalancer" },
      { name = "REBALANCER_STEER", value = "false" },
      { name = "REBALANCER_STRATEGY", value = "auto" },
      { name = "REBALANCER_THRESHOLD", value = "10" },
    ]
    error_message = "The environment has what Terraform itself goes by, and nothing else."
  }
  assert {
    condition     = aws_scheduler_schedule.this["reference"].state == "ENABLED" && length(aws_cloudwatch_event_rule.joined) == 1 && length(terraform_data.run) == 0
    error_message = "The clock and the event start runs, applying does not."
  }
  assert {
    condition     = aws_scheduler_schedule.this["reference"].target[0].arn == "arn:aws:ecs:us-east-1:111122223333:cluster/reference"
    error_message = "A run is a task of the cluster that it rebalances."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.silent["reference"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.silent["reference"].evaluation_periods == 3
    error_message = "Three hours of silence are an alarm."
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.execution.policy, "arn:aws:ecr:us-east-1:111122223333:repository/ecs-rebalancer\"")
    error_message = "The image's own repository may be read, and no other."
  }
}

# Each option by itself: what it needs is what it is permitted.
run "options" {
  variables {
    clusters = {
      dry-run  = { dry_run = true }
      quiet    = { dry_run = true, metrics = "off" }
      auto     = {}
      surge    = { strategy = "surge" }
      stop     = { strategy = "stop" }
      redeploy = { strategy = "redeploy", pass_roles = ["arn:aws:iam::111122223333:role/web"] }
      revision = { strategy = "revision", pass_roles = ["arn:aws:iam::111122223333:role/web"] }
      steer    = { strategy = "surge", steer = true }
      tagged   = { strategy = "surge", tag_strategies = ["stop"] }
      pack     = { dry_run = true, mode = "consolidate", steer = true }
    }
  }
  assert {
    condition = { for cluster, statements in local.statements : cluster => join(" ", [for statement in statements : statement.Sid]) } == {
      dry-run  = "List ListInstances Describe DescribeTaskDefinitions Publish"
      quiet    = "List ListInstances Describe DescribeTaskDefinitions"
      auto     = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      surge    = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets"
      stop     = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      redeploy = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets PassRoles"
      revision = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Revise TagRevision PassRoles"
      steer    = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Steer"
      tagged   = "List ListInstances Describe DescribeTaskDefinitions Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      pack     = "List ListInstances Describe DescribeTaskDefinitions DescribeProviders DescribeGroups Publish"
    }
    error_message = "Each option brings its own permissions, and no others."
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.silent), "quiet")
    error_message = "Where nothing is published there is nothing to watch."
  }
}

# Every switch the other way.
run "switched" {
  variables {
    clusters         = { reference = { include = ["web-*", "api"], max_moves = 5, cooldown = "1h 30m", threshold = 2.5 } }
    image            = "registry.example/ecs-rebalancer:1"
    architecture     = "X86_64"
    assign_public_ip = true
    security_groups  = ["sg-0a"]
    schedule_enabled = false
    event_enabled    = false
    alarm_actions    = ["arn:aws:sns:us-east-1:111122223333:on-call"]
    kms_key_arn      = "arn:aws:kms:us-east-1:111122223333:key/1"
  }
  assert {
    condition = length(setsubtract(
      [["REBALANCER_INCLUDE", "web-*,api"], ["REBALANCER_MAX_MOVES", "5"], ["REBALANCER_COOLDOWN", "1h 30m"], ["REBALANCER_THRESHOLD", "2.5"]],
      [for variable in jsondecode(aws_ecs_task_definition.this["reference"].container_definitions)[0].environment : [variable.name, variable.value]],
    )) == 0
    error_message = "Lists, numbers and durations are written as the job reads them."
  }
  assert {
    condition     = aws_scheduler_schedule.this["reference"].state == "DISABLED" && length(aws_cloudwatch_event_rule.joined) == 0 && length(aws_cloudwatch_metric_alarm.silent) == 0
    error_message = "Switched off, nothing starts runs, and their absence is no alarm."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "ecr:") && strcontains(aws_iam_role_policy.start.policy, "kms:")
    error_message = "An image elsewhere needs nothing of ECR; a key of one's own needs to be used."
  }
  assert {
    condition     = strcontains(output.dry_run, "\"assignPublicIp\":\"ENABLED\"") && endswith(trimspace(output.dry_run), "\"REBALANCER_DRY_RUN\",\"value\":\"true\"}],\"name\":\"ecs-rebalancer\"}]}'")
    error_message = "The command can be pasted."
  }
}

# Planned only: applied, it would run the AWS CLI.
run "on_apply" {
  command = plan
  variables {
    clusters     = { new = { dry_run = true } }
    run_on_apply = true
  }
  assert {
    condition     = keys(terraform_data.run) == ["new"]
    error_message = "A run follows where that is wanted."
  }
}
