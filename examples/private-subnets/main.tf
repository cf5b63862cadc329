# The job in subnets without a way out: the endpoints that it needs, and nothing else. With a NAT gateway none of them is needed.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

variable "image" {
  description = "The job's image in ECR, in this Region: no other registry is reached from these subnets."
  type        = string
}

variable "vpc" {
  description = "The network's id."
  type        = string
}

variable "subnets" {
  description = "The private subnets' ids."
  type        = list(string)
}

variable "route_tables" {
  description = "The route tables of these subnets: ECR keeps images in S3, which is reached by a gateway."
  type        = list(string)
}

data "aws_region" "this" {}

locals {
  # ECS itself, and for the agent of tasks on Fargate nothing more; the image and the log; what the job publishes and asks.
  # Auto Scaling is asked in mode consolidate, and unless load_threshold is 100.
  services = ["ecs", "ecr.api", "ecr.dkr", "logs", "monitoring", "elasticloadbalancing", "autoscaling"]
}

resource "aws_security_group" "job" {
  name        = "ecs-rebalancer"
  description = "The job to the endpoints"
  vpc_id      = var.vpc
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  security_group_id            = aws_security_group.job.id
  description                  = "AWS's APIs, by the endpoints"
  referenced_security_group_id = aws_security_group.endpoints.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "images" {
  security_group_id = aws_security_group.job.id
  description       = "The image's layers, by the gateway to S3"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_security_group" "endpoints" {
  name        = "ecs-rebalancer-endpoints"
  description = "The job to the endpoints"
  vpc_id      = var.vpc
}

resource "aws_vpc_security_group_ingress_rule" "job" {
  security_group_id            = aws_security_group.endpoints.id
  description                  = "The job"
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_endpoint" "this" {
  for_each            = toset(local.services)
  vpc_id              = var.vpc
  service_name        = "com.amazonaws.${data.aws_region.this.id}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnets
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc
  service_name      = "com.amazonaws.${data.aws_region.this.id}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_tables
}

module "ecs_rebalancer" {
  source = "../.."
  image  = var.image
  # Of the endpoints and the rules, so that these go after the job. A depends_on of the module would have each change of these make
  # the job anew.
  subnets         = distinct(flatten([for endpoint in aws_vpc_endpoint.this : tolist(endpoint.subnet_ids)]))
  security_groups = distinct([aws_vpc_security_group_egress_rule.endpoints.security_group_id, aws_vpc_security_group_egress_rule.images.security_group_id])
  clusters        = { prod = { dry_run = true } }
}
