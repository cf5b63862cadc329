# The stack as it is planned, and what can't be right.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  # What the provider takes for an ARN, or refuses.
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/app/conformance/0123456789abcdef" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/conformance/0123456789abcdef" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::111122223333:instance-profile/conformance" }
  }
  mock_resource "aws_autoscaling_group" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:111122223333:autoScalingGroup:0:autoScalingGroupName/conformance" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:111122223333:cluster/conformance" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/conformance-swap" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener/app/conformance/0123456789abcdef/0123456789abcdef" }
  }
  mock_resource "aws_lb_listener_rule" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener-rule/app/conformance/0123456789abcdef/0123456789abcdef/0123456789abcdef" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-west-1:111122223333:conformance"
      id  = "https://sqs.eu-west-1.amazonaws.com/111122223333/conformance"
      url = "https://sqs.eu-west-1.amazonaws.com/111122223333/conformance"
    }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:111122223333:rule/conformance" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0" }
  }
}

run "four_instances_in_two_zones" {
  command = apply
  assert {
    condition     = sum([for group in aws_autoscaling_group.this : group.min_size]) == 4 && alltrue([for group in aws_autoscaling_group.this : group.min_size == group.max_size])
    error_message = "There are four instances, and nothing scales them."
  }
  assert {
    condition     = length(distinct(aws_subnet.this[*].availability_zone)) == 2
    error_message = "They are in two zones."
  }
  assert {
    condition     = aws_ecs_cluster.this.tags["ecs-rebalancer:conformance"] == "true"
    error_message = "The cluster may be probed."
  }
  assert {
    condition     = alltrue([for provider in aws_ecs_capacity_provider.this : provider.auto_scaling_group_provider[0].managed_scaling[0].status == "DISABLED"])
    error_message = "Idle instances stay."
  }
  assert {
    condition     = aws_autoscaling_group.scaled.min_size == 0 && aws_autoscaling_group.scaled.max_size == 1 && aws_ecs_capacity_provider.scaled.auto_scaling_group_provider[0].managed_scaling[0].status == "ENABLED"
    error_message = "One more comes where a probe asks for it, and no second one."
  }
  assert {
    condition     = aws_lb_target_group.this[1].deregistration_delay == "300" && aws_lb_target_group.this[0].deregistration_delay == "60"
    error_message = "The targets of the second group drain as long as by default."
  }
  assert {
    condition     = jsondecode(aws_sqs_queue_policy.this.policy).Statement[0].Condition.ArnEquals["aws:SourceArn"] == aws_cloudwatch_event_rule.this.arn
    error_message = "Nobody but the rule sends to the queue."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(output.policy).Statement : alltrue([for action in statement.Action : !strcontains(action, "*")])])
    error_message = "Whoever runs the probes is allowed what they call, and no more."
  }
  assert {
    condition     = sort(keys(output.stack)) == tolist(["capacity_providers", "cluster", "hundredths_of_a_cent_an_hour", "queue", "region", "scaled", "swap", "target_groups", "task_definitions"])
    error_message = "The output has what the command takes."
  }
  assert {
    condition     = sort(keys(output.stack.task_definitions)) == tolist(["broken", "deaf", "heavy", "tiny", "web"])
    error_message = "So have the task definitions."
  }
  assert {
    condition     = output.stack.hundredths_of_a_cent_an_hour < 1250
    error_message = "Four hours cost less than half a dollar."
  }
}

run "targets_drain_for_too_long" {
  command = plan
  variables {
    drain_seconds = 600
  }
  expect_failures = [var.drain_seconds]
}
