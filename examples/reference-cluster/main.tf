# A cluster to try the job on: a network, a load balancer, two instances and a service of two tasks, and, once an image is named,
# the job itself. README.md has the walk. All of it is in a state of its own, whatever else is deployed from this repository.
# It is for an hour and serves one page, so it does without what a real one has: HTTPS, logs of the network, private subnets.

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
  default     = "reference"
  nullable    = false
}

variable "visitors" {
  description = "The addresses that may see the page, such as your own: [\"203.0.113.7/32\"]."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "image" {
  description = "The job's image, with its tag or digest. Without one there is the cluster alone, which shows the fault."
  type        = string
  default     = null
}

variable "architecture" {
  description = "The processor that the image was built for: ARM64 or X86_64."
  type        = string
  default     = "ARM64"
  nullable    = false
}

# ------------------------------------------------------------------------------------------------------------------ network

data "aws_availability_zones" "this" {
  # checkov:skip=CKV_AWS_394: for an hour any two zones will do
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

  # Who needs the way out needs this.
  depends_on = [aws_route.out]
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-balancer"
  description = "Visitors to the load balancer, and that to the instances"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "visitors" {
  # checkov:skip=CKV_AWS_260: open to the addresses that var.visitors names
  for_each          = toset(var.visitors)
  security_group_id = aws_security_group.balancer.id
  description       = "The page"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "to_tasks" {
  security_group_id            = aws_security_group.balancer.id
  description                  = "Tasks, each on a port that its instance chose"
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
  description                  = "Tasks, each on a port that its instance chose"
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
  # checkov:skip=CKV2_AWS_20: HTTPS needs a domain of one's own
  # checkov:skip=CKV2_AWS_28: a page for the addresses of var.visitors needs no firewall
  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = aws_subnet.this[*].id
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378: within the network, to a page that everybody may read
  name                 = var.name
  vpc_id               = aws_vpc.this.id
  protocol             = "HTTP"
  port                 = 80
  deregistration_delay = 30
  health_check {
    path     = "/"
    interval = 10
  }
}

resource "aws_lb_listener" "this" {
  # checkov:skip=CKV_AWS_2: HTTPS needs a domain of one's own
  # checkov:skip=CKV_AWS_103: HTTPS needs a domain of one's own
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

# ---------------------------------------------------------------------------------------------------------------- instances

data "aws_ssm_parameter" "image" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

data "aws_partition" "this" {}

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
  instance_type          = "t3.small"
  update_default_version = true
  # Of the cluster, so that this is there before an instance and goes after it.
  user_data = base64encode("#!/bin/sh\necho ECS_CLUSTER=${aws_ecs_cluster.this.name} >>/etc/ecs/ecs.config\n")

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
  name                = var.name
  min_size            = 1
  max_size            = 2
  desired_capacity    = 2
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

  # The walk scales it by hand.
  lifecycle {
    ignore_changes = [desired_capacity]
  }

  # Instances need all of this to the end: without a way out an agent tells nobody that its tasks have stopped, and ECS waits for it.
  depends_on = [
    aws_route.out, aws_route_table_association.this, aws_vpc_security_group_egress_rule.to_aws, aws_iam_role_policy_attachment.instance,
  ]
}

# ------------------------------------------------------------------------------------------------------ cluster and service

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65: Container Insights cost more than the instances, and the job publishes what the walk looks at
  name = var.name
}

resource "aws_ecs_capacity_provider" "this" {
  name = "${var.name}-instances"
  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.this.arn
    # Else it would undo what the walk does by hand.
    managed_scaling {
      status = "DISABLED"
    }
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = [aws_ecs_capacity_provider.this.name]
  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.this.name
    weight            = 1
  }
}

resource "aws_ecs_task_definition" "web" {
  # checkov:skip=CKV_AWS_336: the page's server writes below its own folder
  family                   = "${var.name}-web"
  requires_compatibilities = ["EC2"]
  network_mode             = "bridge"
  container_definitions = jsonencode([{
    name         = "web"
    image        = "public.ecr.aws/docker/library/httpd:2.4"
    cpu          = 256
    memory       = 512
    essential    = true
    portMappings = [{ containerPort = 80, hostPort = 0 }]
  }])
}

resource "aws_ecs_service" "web" {
  name            = "web"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.web.arn
  desired_count   = 2

  # Else ECS evens out its zones by itself, where it may, and there is less to see.
  availability_zone_rebalancing = "DISABLED"

  ordered_placement_strategy {
    type  = "spread"
    field = "attribute:ecs.availability-zone"
  }
  ordered_placement_strategy {
    type  = "spread"
    field = "instanceId"
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "web"
    container_port   = 80
  }
  capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.this.name
    weight            = 1
  }

  depends_on = [aws_lb_listener.this, aws_ecs_cluster_capacity_providers.this, aws_route_table_association.this]
}

# ------------------------------------------------------------------------------------------------------------------ the job

module "ecs_rebalancer" {
  source       = "../.."
  count        = var.image == null ? 0 : 1
  name         = "${var.name}-rebalancer"
  image        = var.image
  architecture = var.architecture
  # Of what leads out, so that this goes after the job. A depends_on of the module would have each change of these make the job anew.
  subnets          = aws_route_table_association.this[*].subnet_id
  security_groups  = [aws_vpc_security_group_egress_rule.to_aws.security_group_id]
  assign_public_ip = true
  # Without a cooldown, so that nobody has to wait for ten minutes after each step of the walk.
  clusters = { (aws_ecs_cluster.this.name) = { cooldown = "0s" } }
}

# ------------------------------------------------------------------------------------------------------------------ outputs

output "page" {
  description = "The service's page, for var.visitors."
  value       = "http://${aws_lb.this.dns_name}/"
}

output "run" {
  description = "A run now."
  value       = one(module.ecs_rebalancer[*].run)
}

output "dry_run" {
  description = "A run now that changes nothing."
  value       = one(module.ecs_rebalancer[*].dry_run)
}

output "log_group" {
  description = "Where runs log."
  value       = try(values(module.ecs_rebalancer[0].log_groups)[0], null)
}
