# One stack for each Region, from one configuration. Names that belong to the account (roles, the dashboard) have the Region in
# them, so that the stacks don't meet.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  alias  = "ireland"
  region = "eu-west-1"
}

provider "aws" {
  alias  = "virginia"
  region = "us-east-1"
}

variable "images" {
  description = "By Region: the job's image there."
  type        = map(string)
}

variable "subnets" {
  description = "By Region: subnets from which the job reaches AWS's APIs."
  type        = map(list(string))
}

module "ireland" {
  source    = "../.."
  providers = { aws = aws.ireland }
  image     = var.images["eu-west-1"]
  subnets   = var.subnets["eu-west-1"]
  clusters  = { prod = {} }
}

module "virginia" {
  source    = "../.."
  providers = { aws = aws.virginia }
  image     = var.images["us-east-1"]
  subnets   = var.subnets["us-east-1"]
  clusters  = { prod = {} }
}

output "run" {
  description = "A run now, a line for each Region."
  value       = join("", [module.ireland.run, module.virginia.run])
}
