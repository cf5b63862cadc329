# Every choice that schedule.tf offers, on clusters that are there already.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

# Where the same configuration also manages the clusters' services, its provider ignores the job's notes: `ignore_tags`, as
# docs/src/deploy.md shows.
provider "aws" {}

variable "image" {
  description = "The job's image, with its tag or digest."
  type        = string
}

variable "subnets" {
  description = "Subnets from which the job reaches AWS's APIs."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups that let the job out to port 443."
  type        = list(string)
}

resource "aws_sns_topic" "alarms" {
  name              = "ecs-rebalancer-alarms"
  kms_master_key_id = "alias/aws/sns"
}

module "ecs_rebalancer" {
  source = "../.."

  image           = var.image
  architecture    = "ARM64"
  subnets         = var.subnets
  security_groups = var.security_groups

  clusters = {
    # Evens out, moves with a temporary placement constraint where that helps, and restarts at most 20 tasks a run.
    prod = {
      steer          = true
      max_moves      = 20
      exclude        = ["legacy-*"]
      tag_strategies = ["stop"]
    }
    # Packs tasks at night, so that managed scaling can take instances away, on the cluster's own instances.
    batch = {
      mode                = "consolidate"
      steer               = true
      headroom            = 15
      deadline            = "1h"
      schedule_expression = "cron(0 2 * * ? *)"
      schedule_timezone   = "Europe/Vienna"
      launch_type         = "EC2"
      network_mode        = "bridge"
    }
    # On spare capacity, and only by the clock.
    staging = {
      capacity_provider = "FARGATE_SPOT"
      event_enabled     = false
      metrics           = "cluster"
    }
    # Measured only; it was live before, so a run that is under way may finish its step.
    frozen = {
      dry_run = true
      recover = true
    }
  }

  schedule_expression     = "rate(30 minutes)"
  schedule_window_minutes = 10
  event_max_version       = 8
  alarm_actions           = [aws_sns_topic.alarms.arn]
  alarm_imbalance_hours   = 4
  log_retention_days      = 90
  role_path               = "/platform/"
  tags                    = { team = "platform" }
}

output "run" {
  description = "A run now, a line for each cluster."
  value       = module.ecs_rebalancer.run
}
