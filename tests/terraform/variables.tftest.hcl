# What can't be right is refused before anything is made.

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
}

variables {
  clusters = { reference = {} }
  image    = "registry.example/ecs-rebalancer:1"
  subnets  = ["subnet-0a"]
  # Tests have no runs to end.
  end_runs_on_destroy = false
}

run "no_cluster" {
  command = plan
  variables {
    clusters = {}
  }
  expect_failures = [var.clusters]
}

run "cluster_by_arn" {
  command = plan
  variables {
    clusters = { "arn:aws:ecs:us-east-1:111122223333:cluster/prod" = {} }
  }
  expect_failures = [var.clusters]
}

run "unknown_strategy" {
  command = plan
  variables {
    clusters = { prod = { strategy = "surgery" } }
  }
  expect_failures = [var.clusters]
}

run "unknown_tag_strategy" {
  command = plan
  variables {
    clusters = { prod = { tag_strategies = ["surge", "spot"] } }
  }
  expect_failures = [var.clusters]
}

run "unknown_metrics" {
  command = plan
  variables {
    clusters = { prod = { metrics = "some" } }
  }
  expect_failures = [var.clusters]
}

run "metrics_of_aws" {
  command = plan
  variables {
    clusters = { prod = { metric_namespace = "AWS/ECS" } }
  }
  expect_failures = [var.clusters]
}

run "more_than_everything" {
  command = plan
  variables {
    clusters = { prod = { surge = 101 } }
  }
  expect_failures = [var.clusters]
}

run "a_duration_without_unit" {
  command = plan
  variables {
    clusters = { prod = { cooldown = "10" } }
  }
  expect_failures = [var.clusters]
}

run "a_role_by_name" {
  command = plan
  variables {
    clusters = { prod = { strategy = "revision", pass_roles = ["web"] } }
  }
  expect_failures = [var.clusters]
}

run "everything_else_wrong" {
  command = plan
  variables {
    image                   = "ecs-rebalancer"
    architecture            = "arm"
    subnets                 = ["net-1"]
    security_groups         = ["default"]
    schedule_expression     = "hourly"
    schedule_window_minutes = 0
    event_max_version       = 0
    alarm_silence_hours     = 0.5
    role_path               = "platform"
    alarm_imbalance_hours   = 169
    log_retention_days      = 31
    kms_key_arn             = "alias/mine"
    name                    = "with space"
  }
  expect_failures = [
    var.image, var.architecture, var.subnets, var.security_groups, var.schedule_expression, var.schedule_window_minutes,
    var.event_max_version, var.alarm_silence_hours, var.alarm_imbalance_hours, var.log_retention_days, var.kms_key_arn, var.name, var.role_path,
  ]
}

run "no_subnets" {
  command = plan
  variables {
    subnets = []
  }
  expect_failures = [var.clusters]
}

run "no_network_of_its_own_on_fargate" {
  command = plan
  variables {
    clusters = { prod = { network_mode = "host" } }
  }
  expect_failures = [var.clusters]
}

run "a_provider_of_the_other_launch_type" {
  command = plan
  variables {
    clusters = { prod = { launch_type = "EC2", capacity_provider = "FARGATE_SPOT" } }
  }
  expect_failures = [var.clusters]
}

run "a_pointless_brake" {
  command = plan
  variables {
    clusters = { prod = { recover = true } }
  }
  expect_failures = [var.clusters]
}

run "an_alarm_between_two_runs" {
  command = plan
  variables {
    clusters = { prod = { schedule_expression = "rate(6 hours)", alarm_silence_hours = 6 } }
  }
  expect_failures = [aws_scheduler_schedule.this]
}

run "an_expression_of_a_cluster_that_is_none" {
  command = plan
  variables {
    clusters = { prod = { schedule_expression = "rate(soon)" } }
  }
  expect_failures = [var.clusters]
}

# IAM's limit is 10,240 letters, that of SQS 8,192.
run "as_many_clusters_as_a_company_has" {
  command = plan
  variables {
    clusters = { for number in range(60) : "team-${number}-production-of-a-company-in-europe" => {} }
    name     = "platform-team-ecs-rebalancer"
  }
  override_resource {
    target          = aws_sqs_queue.undelivered
    override_during = plan
    values          = { arn = "arn:aws:sqs:us-east-1:111122223333:platform-team-ecs-rebalancer-undelivered" }
  }
  assert {
    condition     = length(aws_iam_role_policy.start.policy) <= 10240 && length(aws_iam_role_policy.execution.policy) <= 10240 && length(aws_sqs_queue_policy.undelivered.policy) <= 8192
    error_message = "What names clusters is no longer than AWS allows."
  }
}

run "more_clusters_than_a_policy_names" {
  command = plan
  variables {
    clusters = { for number in range(40) : "${substr(join("", [for number in range(100) : "long-"]), 0, 200)}${number}" => {} }
  }
  expect_failures = [aws_iam_role_policy.start]
}

run "more_roles_than_a_policy_names" {
  command = plan
  variables {
    clusters = { prod = { strategy = "revision", pass_roles = [for number in range(150) : "arn:aws:iam::111122223333:role/services/team-${number}"] } }
  }
  expect_failures = [aws_iam_role_policy.task]
}

# With the longest name that ECS allows, each permission that there is still fits.
run "the_longest_name" {
  command = plan
  variables {
    clusters = { (substr(join("", [for number in range(100) : "long-"]), 0, 255)) = { strategy = "revision", tag_strategies = ["auto"], steer = true, pass_roles = ["arn:aws:iam::111122223333:role/services/*"] } }
  }
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.task : length(policy.policy) <= 10240])
    error_message = "The job's policy is no longer than IAM allows."
  }
}
