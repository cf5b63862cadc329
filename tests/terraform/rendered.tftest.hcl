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
  # Tests have no runs to end.
  end_runs_on_destroy = false
}

# As somebody has it who sets only what must be set.
run "defaults" {
  variables {
    clusters = { reference = {} }
  }
  assert {
    condition = jsondecode(aws_ecs_task_definition.this["reference"].container_definitions)[0].environment == [
      { name = "AWS_EC2_METADATA_DISABLED", value = "true" },
      { name = "AWS_REGION", value = "us-east-1" },
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
    condition     = aws_iam_role.task["reference"].name == "ecs-rebalancer-reference-us-east-1" && aws_iam_role.execution.name == "ecs-rebalancer-execution-us-east-1"
    error_message = "Without a path of their own, roles have the Region alone at the end of their names."
  }
  assert {
    condition     = aws_scheduler_schedule.this["reference"].target[0].arn == "arn:aws:ecs:us-east-1:111122223333:cluster/reference"
    error_message = "A run is a task of the cluster that it rebalances."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.silent["reference"].evaluation_periods == 3
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
      settled  = { dry_run = true, load_threshold = 100 }
      pack     = { dry_run = true, mode = "consolidate", steer = true }
      braked   = { strategy = "surge", steer = true, dry_run = true, recover = true }
    }
  }
  assert {
    condition = { for cluster, statements in local.statements : cluster => join(" ", [for statement in statements : statement.Sid]) } == {
      dry-run  = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease"
      quiet    = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups ReadLease"
      auto     = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      surge    = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets"
      stop     = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      redeploy = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets PassRoles"
      revision = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Revise TagRevision PassRoles"
      steer    = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Steer"
      tagged   = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Stop"
      settled  = "List ListInstances Describe DescribeTaskDefinitions SeeProtection Publish"
      pack     = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish"
      braked   = "List ListInstances Describe DescribeTaskDefinitions SeeProtection DescribeProviders DescribeGroups Publish ReadLease NoteLease NoteSteps Update Protect SeeTargets Steer"
    }
    error_message = "Each option brings its own permissions, and no others."
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.silent), "quiet")
    error_message = "Where nothing is published there is nothing to watch."
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.imbalanced), "pack") && !contains(keys(aws_cloudwatch_event_rule.joined), "pack")
    error_message = "Where tasks are packed, misplaced ones are no alarm, and an instance that joins came because there was no room."
  }
}

# The job on Fargate or on the cluster's own instances, in each network mode, by a launch type or a capacity provider.
run "launched" {
  variables {
    tags = { team = "platform" }
    clusters = {
      fargate  = {}
      spot     = { capacity_provider = "FARGATE_SPOT" }
      ec2      = { launch_type = "EC2", architecture = "X86_64", assign_public_ip = true }
      bridge   = { launch_type = "EC2", network_mode = "bridge" }
      host     = { launch_type = "EC2", network_mode = "host", capacity_provider = "own" }
      with-vpc = { subnets = ["subnet-0b"], security_groups = ["sg-0b"], assign_public_ip = true }
    }
  }
  assert {
    condition = { for cluster, schedule in aws_scheduler_schedule.this : cluster => join(" ", concat(
      [coalesce(schedule.target[0].ecs_parameters[0].launch_type, "-"), coalesce(schedule.target[0].ecs_parameters[0].platform_version, "-")],
      [for strategy in schedule.target[0].ecs_parameters[0].capacity_provider_strategy : strategy.capacity_provider],
      flatten([for network in schedule.target[0].ecs_parameters[0].network_configuration : [network.assign_public_ip, network.subnets]]),
      )) } == {
      fargate  = "FARGATE LATEST false subnet-0a"
      spot     = "- LATEST FARGATE_SPOT false subnet-0a"
      ec2      = "EC2 - false subnet-0a"
      bridge   = "EC2 -"
      host     = "- - own"
      with-vpc = "FARGATE LATEST true subnet-0b"
    }
    error_message = "By the clock, each is launched as its cluster has it."
  }
  assert {
    condition = { for cluster, target in aws_cloudwatch_event_target.joined : cluster => join(" ", concat(
      [coalesce(target.ecs_target[0].launch_type, "-"), coalesce(target.ecs_target[0].platform_version, "-")],
      [for strategy in target.ecs_target[0].capacity_provider_strategy : strategy.capacity_provider],
      flatten([for network in target.ecs_target[0].network_configuration : [network.assign_public_ip, network.subnets]]),
      )) } == {
      fargate  = "FARGATE LATEST false subnet-0a"
      spot     = "- LATEST FARGATE_SPOT false subnet-0a"
      ec2      = "EC2 - false subnet-0a"
      bridge   = "EC2 -"
      host     = "- - own"
      with-vpc = "FARGATE LATEST true subnet-0b"
    }
    error_message = "By the event, each is launched as by the clock."
  }
  assert {
    condition = { for cluster, definition in aws_ecs_task_definition.this : cluster => join(" ", concat(
      tolist(definition.requires_compatibilities), [definition.network_mode, definition.runtime_platform[0].cpu_architecture], [for constraint in definition.placement_constraints : constraint.expression],
      )) } == {
      fargate  = "FARGATE awsvpc ARM64"
      spot     = "FARGATE awsvpc ARM64"
      ec2      = "EC2 awsvpc X86_64 attribute:ecs.cpu-architecture == x86_64"
      bridge   = "EC2 bridge ARM64 attribute:ecs.cpu-architecture == arm64"
      host     = "EC2 host ARM64 attribute:ecs.cpu-architecture == arm64"
      with-vpc = "FARGATE awsvpc ARM64"
    }
    error_message = "Each task definition goes with where it is launched, and on a cluster of both processors the job lands on its own."
  }
  assert {
    condition     = alltrue([for cluster, schedule in aws_scheduler_schedule.this : schedule.target[0].ecs_parameters[0].propagate_tags == "TASK_DEFINITION" && aws_ecs_task_definition.this[cluster].tags.team == "platform"])
    error_message = "Tasks have the tags."
  }
}

# Names: each cluster has its own, none is too long, and a second stack in another Region has others where AWS knows no Regions.
run "names" {
  variables {
    name      = "platform-ecs-rebalancer"
    role_path = "/platform/"
    clusters = {
      a-b  = {}
      a_b  = {}
      Prod = {}
      prod = {}
      # As the stack's own roles are called.
      start     = {}
      Execution = {}
      # 255 letters, and 254 of them the same.
      "${substr(join("", [for number in range(100) : "long-"]), 0, 254)}1" = {}
      "${substr(join("", [for number in range(100) : "long-"]), 0, 254)}2" = {}
    }
  }
  assert {
    condition     = length(distinct([for role in concat(values(aws_iam_role.task), [aws_iam_role.execution, aws_iam_role.start]) : lower(role.name)])) == 10 && alltrue([for role in aws_iam_role.task : length(role.name) <= 64 && endswith(role.name, "-us-east-1-${substr(sha256("/platform/"), 0, 6)}") && role.path == "/platform/"])
    error_message = "Roles have names of their own, with the Region and what tells their path."
  }
  assert {
    condition     = length(distinct([for schedule in aws_scheduler_schedule.this : schedule.name])) == 8 && alltrue([for schedule in aws_scheduler_schedule.this : length(schedule.name) <= 64])
    error_message = "Schedules have names of their own."
  }
  assert {
    condition     = length(distinct([for rule in aws_cloudwatch_event_rule.joined : rule.name])) == 8 && alltrue([for rule in aws_cloudwatch_event_rule.joined : length(rule.name) <= 64])
    error_message = "Rules have names of their own."
  }
  assert {
    condition     = length(jsondecode(aws_sqs_queue_policy.undelivered.policy).Statement) == 2
    error_message = "The queue's policy has each Sid once, however alike the clusters' names are."
  }
  assert {
    condition     = aws_iam_role.task["a-b"].name == "platform-ecs-rebalancer-a-b-us-east-1-${substr(sha256("/platform/"), 0, 6)}" && endswith(aws_cloudwatch_dashboard.this[0].dashboard_name, "-us-east-1")
    error_message = "A short name stays as it is."
  }
}

# A dashboard holds thirty clusters. Planned only: there is nothing new to put to work.
run "many_clusters" {
  command = plan
  variables {
    clusters = { for number in range(31) : "cluster-${number}" => {} }
  }
  assert {
    condition     = [for dashboard in aws_cloudwatch_dashboard.this : dashboard.dashboard_name] == ["ecs-rebalancer-us-east-1", "ecs-rebalancer-us-east-1-2"] && length(output.dashboards) == 2
    error_message = "The thirty-first cluster is on a dashboard of its own."
  }
}

# What an image in ECR may be called.
run "ecr_dual_stack" {
  command = plan
  variables {
    clusters = { reference = {} }
    image    = "111122223333.dkr-ecr.us-west-2.on.aws/team/ecs-rebalancer:1"
  }
  assert {
    condition     = local.ecr.repository == "team/ecs-rebalancer" && local.ecr.region == "us-west-2"
    error_message = "ECR's name for IPv4 and IPv6 is known."
  }
}

run "ecr_fips" {
  command = plan
  variables {
    clusters = { reference = {} }
    image    = "111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com/ecs-rebalancer:1"
  }
  assert {
    condition     = local.ecr.repository == "ecs-rebalancer" && local.ecr.region == "us-gov-west-1"
    error_message = "ECR's FIPS name is known."
  }
}

run "ecr_fips_dual_stack" {
  command = plan
  variables {
    clusters = { reference = {} }
    image    = "111122223333.dkr-ecr-fips.us-east-1.on.aws/ecs-rebalancer:1"
  }
  assert {
    condition     = local.ecr.account == "111122223333" && local.ecr.region == "us-east-1"
    error_message = "ECR's FIPS name for IPv4 and IPv6 is known."
  }
}

# Settings of a cluster stand over those of all; what alarms wait for follows from the schedule.
run "schedules" {
  variables {
    schedule_expression = "rate(10 minutes)"
    clusters = {
      often    = {}
      hourly   = { schedule_expression = "rate(1 hour)" }
      daily    = { schedule_expression = "cron(0 3 * * ? *)", schedule_timezone = "Europe/Vienna" }
      twice    = { schedule_expression = "cron(0 */12 * * ? *)", event_max_version = 9 }
      weekdays = { schedule_expression = "cron(0 3 ? * MON-FRI *)" }
      weekly   = { schedule_expression = "cron(0 3 ? * SUN *)" }
      never    = { schedule_enabled = false }
      quiet    = { event_enabled = false, alarm_silence_hours = 5 }
      packed   = { mode = "consolidate", steer = true, event_enabled = true }
      looks    = { dry_run = true }
      asks     = { dry_run = true, event_enabled = true }
      known    = { schedule_expression = "cron(0 0,12 * * ? *)", alarm_silence_hours = 13 }
      longest  = { schedule_expression = "rate(5 hours)", alarm_imbalance_hours = 168 }
    }
  }
  assert {
    condition = { for cluster, alarm in aws_cloudwatch_metric_alarm.silent : cluster => alarm.evaluation_periods } == {
      often = 3, hourly = 3, daily = 49, twice = 25, weekdays = 145, quiet = 5, packed = 3, looks = 3, asks = 3, known = 13, longest = 11
    }
    error_message = "Silence is twice the schedule's longest pause and an hour; what runs once a week, or never, can't be watched so."
  }
  assert {
    condition = { for cluster, alarm in aws_cloudwatch_metric_alarm.imbalanced : cluster => "${alarm.evaluation_periods} of ${alarm.period / 3600} h" } == {
      often = "6 of 1 h", hourly = "6 of 1 h", daily = "2 of 24 h", twice = "2 of 12 h", weekdays = "1 of 24 h", weekly = "1 of 24 h", never = "6 of 1 h", quiet = "6 of 1 h", looks = "6 of 1 h", asks = "6 of 1 h", known = "2 of 24 h", longest = "33 of 5 h"
    }
    error_message = "Each period has a run in it, and all together are no longer than the week that CloudWatch allows."
  }
  assert {
    condition     = keys(aws_cloudwatch_event_rule.joined) == ["asks", "daily", "hourly", "known", "longest", "never", "often", "packed", "twice", "weekdays", "weekly"]
    error_message = "The event is each cluster's own choice; by itself a dry run has none."
  }
  assert {
    condition     = aws_scheduler_schedule.this["never"].state == "DISABLED" && aws_scheduler_schedule.this["often"].state == "ENABLED" && aws_scheduler_schedule.this["daily"].schedule_expression_timezone == "Europe/Vienna"
    error_message = "So is the schedule."
  }
  assert {
    condition     = join(" ", [for cluster in ["twice", "daily"] : jsondecode(aws_cloudwatch_event_rule.joined[cluster].event_pattern).detail.version[0].numeric[1]]) == "9 6"
    error_message = "And how many changes count as joining."
  }
}

# What is set for all clusters is for those whose schedule pauses less.
run "silence_of_all" {
  command = plan
  variables {
    alarm_silence_hours = 26
    clusters = {
      hourly = {}
      daily  = { schedule_expression = "rate(1 day)" }
      slow   = { schedule_expression = "rate(2 days)" }
      weekly = { schedule_expression = "cron(0 3 ? * SUN *)" }
    }
  }
  assert {
    condition     = { for cluster, alarm in aws_cloudwatch_metric_alarm.silent : cluster => alarm.evaluation_periods } == { hourly = 26, daily = 26, slow = 97 }
    error_message = "No alarm waits for less than its schedule's pause."
  }
}

# What a plan shows of a misspelt setting, which Terraform itself drops.
run "misspelt" {
  command = plan
  variables {
    clusters = {
      meant    = { dry_run = true }
      misspelt = { dryrun = true }
      packed   = { mode = "consolidate", steer = true }
    }
  }
  assert {
    condition = output.effects == {
      meant = "change nothing", misspelt = "spread tasks by strategy auto without steering", packed = "pack tasks by strategy auto with steering"
    }
    error_message = "The outputs tell which clusters' tasks move."
  }
}

# Every switch the other way.
run "switched" {
  variables {
    clusters          = { reference = { include = ["web-*", "api"], max_moves = 5, cooldown = "1h 30m", threshold = 2.5 } }
    image             = "registry.example/ecs-rebalancer:1"
    architecture      = "X86_64"
    assign_public_ip  = true
    security_groups   = ["sg-0a"]
    schedule_enabled  = false
    event_enabled     = false
    dashboard_enabled = false
    alarm_actions     = ["arn:aws:sns:us-east-1:111122223333:on-call"]
    kms_key_arn       = "arn:aws:kms:us-east-1:111122223333:key/1"
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
    condition     = length(aws_cloudwatch_dashboard.this) == 0 && output.dashboards == []
    error_message = "Switched off, there is no dashboard."
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

# Runs are ended before what they need goes. Planned only, for the same reason.
run "ended" {
  command = plan
  variables {
    clusters            = { one = {}, two = {} }
    end_runs_on_destroy = true
  }
  assert {
    condition     = keys(terraform_data.end) == ["one", "two"] && strcontains(terraform_data.end["one"].input.command, "aws ecs wait tasks-stopped --region us-east-1 --cluster arn:aws:ecs:us-east-1:111122223333:cluster/one --tasks")
    error_message = "Each cluster's runs are ended and waited for."
  }
}
