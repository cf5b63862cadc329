# A cluster for `cargo conformance` to probe, and for nothing else: a network, a load balancer with target groups, four instances in two
# zones and a group that has a fifth while a probe asks for it, a queue of their events, and the task definitions that probes start tasks
# from. README.md has the walk. Probes make their services themselves.
# It is for an afternoon, so it does without what a real one has: HTTPS, logs of the network, private subnets.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

variable "name" {
  description = "The cluster's name, and what the names of everything else begin with."
  type        = string
  default     = "conformance"
  nullable    = false
}

variable "drain_seconds" {
  description = "How long targets drain: long enough for ECS's scheduler to look several times."
  type        = number
  default     = 60
  nullable    = false
  validation {
    condition     = var.drain_seconds >= 30 && var.drain_seconds <= 300
    error_message = "drain_seconds must be from 30 to 300: probes look at what ECS does while targets drain, and wait for no longer."
  }
}

locals {
  # Two of each zone: each provider has one of either.
  instances = 4
  image     = "public.ecr.aws/docker/library/busybox:1.37"
  # Hundredths of a cent an hour, at us-east-1's list prices of 2025.
  prices = {
    "4 instances, t3.micro"          = 416
    "4 volumes of 30 GiB, gp3"       = 132
    "1 Application Load Balancer"    = 225
    "4 public IPv4 addresses"        = 200
    "less than 1 unit of a balancer" = 80
    "1 instance more for 20 minutes" = 16
  }
}

data "aws_region" "this" {}

data "aws_partition" "this" {}

# ------------------------------------------------------------------------------------------------------------------ network

data "aws_availability_zones" "this" {
  # checkov:skip=CKV_AWS_394: for an afternoon any two zones will do
  state = "available"
  # No Local Zones, which have neither such load balancers nor such instances.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11: nobody would read an example's flow logs
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# Allows nothing, so that nothing is in it by mistake.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "this" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = data.aws_availability_zones.this.names[count.index]
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, count.index)
  tags              = { Name = var.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.this.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "this" {
  count          = 2
  subnet_id      = aws_subnet.this[count.index].id
  route_table_id = aws_route_table.this.id
}

# Nobody visits: the load balancer is there for its target groups.
resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "The load balancer to tasks"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_egress_rule" "to_tasks" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Health checks, each on a port that its instance chose"
  referenced_security_group_id = aws_security_group.instances.id
  ip_protocol                  = "tcp"
  from_port                    = 32768
  to_port                      = 65535
}

resource "aws_security_group" "instances" {
  name        = "${var.name}-instances"
  description = "The load balancer to tasks, and instances to AWS"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "from_balancer" {
  security_group_id            = aws_security_group.instances.id
  description                  = "Health checks, each on a port that its instance chose"
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 32768
  to_port                      = 65535
}

resource "aws_vpc_security_group_egress_rule" "to_aws" {
  security_group_id = aws_security_group.instances.id
  description       = "ECS and the image's registry"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

# ------------------------------------------------------------------------------------------------------------ load balancer

resource "aws_lb" "this" {
  # checkov:skip=CKV_AWS_91: nobody would read an example's access logs
  # checkov:skip=CKV_AWS_150: an example is to be deleted
  # checkov:skip=CKV2_AWS_20: nobody visits it
  # checkov:skip=CKV2_AWS_28: nobody visits it
  name               = var.name
  load_balancer_type = "application"
  # Without public addresses, which cost something.
  internal                   = true
  subnets                    = aws_subnet.this[*].id
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378: within the network, to tasks that serve nothing
  count    = 2
  name     = "${var.name}-${count.index + 1}"
  vpc_id   = aws_vpc.this.id
  protocol = "HTTP"
  port     = 80
  # The second's is what Elastic Load Balancing has by default.
  deregistration_delay = count.index == 0 ? var.drain_seconds : 300
  # A task is healthy soon, and serves no page.
  health_check {
    path              = "/"
    interval          = 10
    healthy_threshold = 2
    matcher           = "200-499"
  }
}

resource "aws_lb_listener" "this" {
  # checkov:skip=CKV_AWS_2: nobody visits it
  # checkov:skip=CKV_AWS_103: nobody visits it
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"
  # Only the targets of a group that is in use are checked.
  default_action {
    type = "forward"
    forward {
      dynamic "target_group" {
        for_each = aws_lb_target_group.this
        content {
          arn    = target_group.value.arn
          weight = 1
        }
      }
    }
  }
}

# The pair between which blue/green, linear and canary deployments shift traffic, and the rule by which they do.
resource "aws_lb_target_group" "swap" {
  # checkov:skip=CKV_AWS_378: within the network, to tasks that serve nothing
  count                = 2
  name                 = "${var.name}-swap-${count.index + 1}"
  vpc_id               = aws_vpc.this.id
  protocol             = "HTTP"
  port                 = 80
  deregistration_delay = var.drain_seconds
  health_check {
    path              = "/"
    interval          = 10
    healthy_threshold = 2
    matcher           = "200-499"
  }
}

resource "aws_lb_listener_rule" "swap" {
  listener_arn = aws_lb_listener.this.arn
  priority     = 1
  condition {
    path_pattern {
      values = ["/swap"]
    }
  }
  action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.swap[0].arn
        weight = 100
      }
      target_group {
        arn    = aws_lb_target_group.swap[1].arn
        weight = 0
      }
    }
  }
  # ECS sets the weights from the first deployment on.
  lifecycle {
    ignore_changes = [action]
  }
}

resource "aws_iam_role" "swap" {
  name = "${var.name}-swap"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy_attachment" "swap" {
  role       = aws_iam_role.swap.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
}

# ---------------------------------------------------------------------------------------------------------------- instances

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_iam_role" "instance" {
  name = "${var.name}-instance"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

resource "aws_launch_template" "this" {
  # checkov:skip=CKV_AWS_88: without a public address an instance would need a NAT gateway, the dearest part of it all
  name                   = var.name
  image_id               = data.aws_ssm_parameter.image.value
  instance_type          = "t3.micro"
  update_default_version = true
  user_data              = base64encode("#!/bin/sh\necho ECS_CLUSTER=${var.name} >>/etc/ecs/ecs.config\n")

  iam_instance_profile {
    arn = aws_iam_instance_profile.instance.arn
  }
  network_interfaces {
    associate_public_ip_address = true
    security_groups             = [aws_security_group.instances.id]
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

resource "aws_autoscaling_group" "this" {
  count               = 2
  name                = "${var.name}-${count.index + 1}"
  min_size            = local.instances / 2
  max_size            = local.instances / 2
  vpc_zone_identifier = aws_subnet.this[*].id

  launch_template {
    id      = aws_launch_template.this.id
    version = "$Latest"
  }
  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  # Instances need all of this to the end: without a way out an agent tells nobody that its tasks have stopped, and ECS waits for it.
  depends_on = [
    aws_route.out, aws_route_table_association.this, aws_vpc_security_group_egress_rule.to_aws, aws_iam_role_policy_attachment.instance,
  ]
}

# Has no instance while nobody asks for one.
resource "aws_autoscaling_group" "scaled" {
  name                = "${var.name}-3"
  min_size            = 0
  max_size            = 1
  vpc_zone_identifier = aws_subnet.this[*].id

  launch_template {
    id      = aws_launch_template.this.id
    version = "$Latest"
  }
  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }

  depends_on = [
    aws_route.out, aws_route_table_association.this, aws_vpc_security_group_egress_rule.to_aws, aws_iam_role_policy_attachment.instance,
  ]
}

# -------------------------------------------------------------------------------------------------- cluster and definitions

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65: nobody would look at Container Insights, which cost more than the instances
  name = var.name
  # Without it no probe starts.
  tags = { "ecs-rebalancer:conformance" = "true" }
}

resource "aws_ecs_capacity_provider" "this" {
  count = 2
  name  = "${var.name}-${count.index + 1}"
  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.this[count.index].arn
    # Else it would take idle instances away.
    managed_scaling {
      status = "DISABLED"
    }
  }
}

resource "aws_ecs_capacity_provider" "scaled" {
  name = "${var.name}-3"
  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.scaled.arn
    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = concat(aws_ecs_capacity_provider.this[*].name, [aws_ecs_capacity_provider.scaled.name])
}

locals {
  wait = ["sh", "-c", "trap exit TERM; while :; do sleep 1; done"]
  containers = {
    tiny  = { command = local.wait, memory = 16, ports = [] }
    heavy = { command = local.wait, memory = 300, ports = [] }
    web   = { command = ["httpd", "-f", "-p", "80"], memory = 16, ports = [{ containerPort = 80, hostPort = 0 }] }
    # Nobody answers on its port.
    deaf = { command = local.wait, memory = 16, ports = [{ containerPort = 80, hostPort = 0 }] }
    # It can't start.
    broken = { command = ["/no-such-program"], memory = 16, ports = [] }
  }
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = local.containers
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  container_definitions = jsonencode([{
    name                   = "app"
    image                  = local.image
    command                = each.value.command
    cpu                    = 16
    memory                 = each.value.memory
    essential              = true
    readonlyRootFilesystem = true
    portMappings           = each.value.ports
  }])
}

# ------------------------------------------------------------------------------------------------------------------- events

# What a container instance tells of itself, for whoever counts it.
resource "aws_sqs_queue" "this" {
  name                      = var.name
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 3600
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.this.arn
      Principal = { Service = "events.amazonaws.com" }
      Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.this.arn } }
    }]
  })
}

resource "aws_cloudwatch_event_rule" "this" {
  name        = var.name
  description = "Each event of a container instance of the cluster that is probed"
  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Container Instance State Change"]
    detail      = { clusterArn = [aws_ecs_cluster.this.arn] }
  })
}

resource "aws_cloudwatch_event_target" "this" {
  rule = aws_cloudwatch_event_rule.this.name
  arn  = aws_sqs_queue.this.arn
}

# -------------------------------------------------------------------------------------------------------------- permissions

locals {
  ecs    = trimsuffix(aws_ecs_cluster.this.arn, ":cluster/${var.name}")
  scaler = replace(local.ecs, ":ecs:", ":application-autoscaling:")
  # What whoever runs the probes has to be allowed.
  statements = [
    {
      actions   = ["ecs:DescribeClusters", "ecs:ListContainerInstances"]
      resources = [aws_ecs_cluster.this.arn]
    },
    {
      actions   = ["ecs:ListServices", "ecs:ListTasks", "ecs:DescribeTaskDefinition"]
      resources = ["*"]
    },
    {
      # One probe names a service without its cluster.
      actions   = ["ecs:CreateService", "ecs:DescribeServices", "ecs:UpdateService", "ecs:DeleteService", "ecs:TagResource"]
      resources = ["${local.ecs}:service/${var.name}/*", "${local.ecs}:service/ecs-rebalancer-conformance-*"]
    },
    {
      actions   = ["ecs:DescribeTasks", "ecs:StopTask", "ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
      resources = ["${local.ecs}:task/${var.name}/*"]
    },
    {
      actions   = ["ecs:DescribeContainerInstances", "ecs:UpdateContainerInstancesState"]
      resources = ["${local.ecs}:container-instance/${var.name}/*"]
    },
    {
      actions = [
        "elasticloadbalancing:DescribeTargetHealth", "autoscaling:DescribeAutoScalingGroups",
        "application-autoscaling:DescribeScalableTargets",
      ]
      resources = ["*"]
    },
    {
      actions   = ["autoscaling:SetDesiredCapacity"]
      resources = [aws_autoscaling_group.scaled.arn]
    },
    {
      actions   = ["application-autoscaling:RegisterScalableTarget", "application-autoscaling:DeregisterScalableTarget"]
      resources = ["${local.scaler}:scalable-target/*"]
    },
    {
      # The first registration in an account makes it.
      actions   = ["iam:CreateServiceLinkedRole"]
      resources = ["arn:${data.aws_partition.this.partition}:iam::*:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/*"]
    },
    {
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
      resources = [aws_sqs_queue.this.arn]
    },
    {
      actions   = ["iam:PassRole"]
      resources = [aws_iam_role.swap.arn]
    },
  ]
}

# ------------------------------------------------------------------------------------------------------------------ outputs

output "stack" {
  description = "What `cargo conformance --account` takes: `terraform output -json stack >stack.json`."
  value = {
    region                       = data.aws_region.this.id
    cluster                      = aws_ecs_cluster.this.name
    hundredths_of_a_cent_an_hour = sum(values(local.prices))
    target_groups                = aws_lb_target_group.this[*].arn
    swap = {
      target_groups = aws_lb_target_group.swap[*].arn
      listener_rule = aws_lb_listener_rule.swap.arn
      role          = aws_iam_role.swap.arn
    }
    capacity_providers = aws_ecs_capacity_provider.this[*].name
    scaled             = { provider = aws_ecs_capacity_provider.scaled.name, group = aws_autoscaling_group.scaled.name }
    queue              = aws_sqs_queue.this.url
    task_definitions   = { for name, definition in aws_ecs_task_definition.this : name => definition.arn }
  }
  # Instances that have come, and a load balancer that checks.
  depends_on = [
    aws_autoscaling_group.this, aws_lb_listener.this, aws_ecs_cluster_capacity_providers.this, aws_iam_role_policy_attachment.swap,
    aws_cloudwatch_event_target.this, aws_sqs_queue_policy.this,
  ]
}

output "policy" {
  description = "What whoever runs `cargo conformance --account` has to be allowed, and no more."
  value = jsonencode({
    Version   = "2012-10-17"
    Statement = [for it in local.statements : { Effect = "Allow", Action = it.actions, Resource = it.resources }]
  })
}

output "cents_an_hour" {
  description = "What the stack costs an hour, by part, at us-east-1's list prices of 2025."
  value       = { for part, hundredths in local.prices : part => hundredths / 100 }
}
