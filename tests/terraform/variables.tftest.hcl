# What can't be right is refused before anything is made.

mock_provider "aws" {}

variables {
  clusters = { reference = {} }
  image    = "registry.example/ecs-rebalancer:1"
  subnets  = ["subnet-0a"]
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
    subnets                 = []
    security_groups         = ["default"]
    schedule_expression     = "hourly"
    schedule_window_minutes = 0
    event_max_version       = 0
    alarm_silence_hours     = 0.5
    alarm_imbalance_hours   = 169
    log_retention_days      = 31
    kms_key_arn             = "alias/mine"
    name                    = "with space"
  }
  expect_failures = [
    var.image, var.architecture, var.subnets, var.security_groups, var.schedule_expression, var.schedule_window_minutes,
    var.event_max_version, var.alarm_silence_hours, var.alarm_imbalance_hours, var.log_retention_days, var.kms_key_arn, var.name,
  ]
}
