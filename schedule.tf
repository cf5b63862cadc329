# Everything that runs ecs-rebalancer on a schedule, for one `terraform apply`. README.md, "Deploy", says how to use it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

# ---------------------------------------------------------------------------------------------------------------- variables

variable "clusters" {
  description = "The clusters to rebalance, by name, each with its settings: REBALANCER_MAX_MOVES is max_moves, and so on. What is left out has the default that README.md tells. Not offered are the files (REBALANCER_REPORT, REBALANCER_SNAPSHOT, REBALANCER_PLAN): a task's disk is read-only and gone with it; the report is the last line of its log."
  nullable    = false
  type = map(object({
    mode             = optional(string)
    threshold        = optional(number, 10)
    load_threshold   = optional(number)
    headroom         = optional(number)
    strategy         = optional(string, "auto")
    steer            = optional(bool, false)
    dry_run          = optional(bool, false)
    include          = optional(list(string))
    exclude          = optional(list(string))
    max_moves        = optional(number)
    max_services     = optional(number)
    parallel         = optional(number)
    surge            = optional(number)
    cooldown         = optional(string)
    task_timeout     = optional(string)
    deadline         = optional(string)
    metrics          = optional(string, "imbalanced")
    metric_namespace = optional(string, "ECSRebalancer")
    log              = optional(string)
    log_format       = optional(string)

    # What services may choose by their tag ecs-rebalancer:strategy beside the cluster's own strategy: permits what that needs.
    tag_strategies = optional(set(string), [])
    # The ARNs of the roles that services' task definitions name: needed for redeploy and revision, where they name any.
    pass_roles = optional(set(string), [])
  }))

  validation {
    condition     = length(var.clusters) > 0
    error_message = "Name at least one cluster."
  }
  validation {
    condition     = alltrue([for cluster in keys(var.clusters) : can(regex("^[A-Za-z0-9_-]+$", cluster)) && length("${var.name}-${cluster}") <= 64])
    error_message = "A cluster is given by its name, not its ARN; together with var.name it may be 63 characters long."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : contains(["auto", "surge", "stop", "redeploy", "revision"], settings.strategy)])
    error_message = "strategy is auto, surge, stop, redeploy or revision."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.mode == null ? true : contains(["spread", "consolidate"], settings.mode) && (settings.mode == "spread" || settings.steer)])
    error_message = "mode is spread or consolidate, and consolidate needs steer = true."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : length(setsubtract(settings.tag_strategies, ["auto", "surge", "stop", "redeploy", "revision"])) == 0])
    error_message = "tag_strategies are of auto, surge, stop, redeploy and revision."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : contains(["off", "cluster", "imbalanced", "all"], settings.metrics)])
    error_message = "metrics is off, cluster, imbalanced or all."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : !startswith(settings.metric_namespace, "AWS/")])
    error_message = "A metric_namespace beginning AWS/ is refused."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for percent in [settings.threshold, settings.load_threshold, settings.headroom, settings.surge] : percent == null ? true : percent >= 0 && percent <= 100
    ]]))
    error_message = "threshold, load_threshold, headroom and surge are percentages from 0 to 100."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for duration in [settings.cooldown, settings.task_timeout, settings.deadline] : duration == null ? true : can(regex("^([0-9]+ *(s|m|h|d) *)+$", duration))
    ]]))
    error_message = "Durations are written as 90s, 10m or 1h."
  }
  validation {
    condition     = alltrue(flatten([for settings in values(var.clusters) : [for role in settings.pass_roles : can(regex("^arn:[^:]+:iam::[0-9]{12}:role/.+$", role))]]))
    error_message = "pass_roles are ARNs of roles."
  }
}

variable "image" {
  description = "The job's image, built from the Dockerfile and pushed to a registry that Fargate reaches."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^ ]+(:[^ /]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "Name the image with its tag or digest."
  }
}

variable "architecture" {
  description = "The processor that the image was built for: ARM64 (a fifth cheaper) or X86_64."
  type        = string
  default     = "ARM64"
  nullable    = false

  validation {
    condition     = contains(["ARM64", "X86_64"], var.architecture)
    error_message = "architecture is ARM64 or X86_64."
  }
}

variable "subnets" {
  description = "Subnets from which the job reaches the APIs of ECS, CloudWatch and Elastic Load Balancing, its image and its log."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnets) > 0 && alltrue([for subnet in var.subnets : startswith(subnet, "subnet-")])
    error_message = "subnets are ids (subnet-...), at least one."
  }
}

variable "security_groups" {
  description = "Security groups that let the job out to port 443; nothing need be let in. Without one, the network's default group."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for group in var.security_groups : startswith(group, "sg-")])
    error_message = "security_groups are ids (sg-...)."
  }
}

variable "assign_public_ip" {
  description = "Whether the job has a public address: needed in public subnets, where nothing else leads out."
  type        = bool
  default     = false
  nullable    = false
}

variable "schedule_enabled" {
  description = "Whether the job runs by the clock."
  type        = bool
  default     = true
  nullable    = false
}

variable "schedule_expression" {
  description = "When: rate(...) or cron(...), as EventBridge Scheduler takes it."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule_expression))
    error_message = "schedule_expression is rate(...) or cron(...)."
  }
}

variable "schedule_timezone" {
  description = "The time zone of a cron(...)."
  type        = string
  default     = "UTC"
  nullable    = false
}

variable "schedule_window_minutes" {
  description = "Within how many minutes of its time a run starts, so that many clusters don't start at the same second."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.schedule_window_minutes >= 1 && var.schedule_window_minutes <= 1440
    error_message = "schedule_window_minutes is from 1 to 1440."
  }
}

variable "event_enabled" {
  description = "Whether a container instance that joins starts a run."
  type        = bool
  default     = true
  nullable    = false
}

variable "event_max_version" {
  description = "An instance's event counts as its joining only up to this change of it: ECS tells of every task that starts or stops, too."
  type        = number
  default     = 25
  nullable    = false

  validation {
    condition     = var.event_max_version >= 1
    error_message = "event_max_version is 1 or more."
  }
}

variable "run_on_apply" {
  description = "Whether each change of the task definition is followed by a run, by the AWS CLI of whoever applies."
  type        = bool
  default     = false
  nullable    = false
}

variable "alarm_actions" {
  description = "What alarms do, as a rule the ARN of an SNS topic; without any, they are shown only."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "alarm_silence_hours" {
  description = "After how many hours without a finished run there is an alarm: more than the schedule's longest pause."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = var.alarm_silence_hours >= 1 && var.alarm_silence_hours <= 168 && floor(var.alarm_silence_hours) == var.alarm_silence_hours
    error_message = "alarm_silence_hours is a whole number from 1 to 168: CloudWatch looks back a week at most."
  }
}

variable "alarm_imbalance_hours" {
  description = "After how many hours in which tasks that could be moved stayed misplaced there is an alarm."
  type        = number
  default     = 6
  nullable    = false

  validation {
    condition     = var.alarm_imbalance_hours >= 1 && var.alarm_imbalance_hours <= 168 && floor(var.alarm_imbalance_hours) == var.alarm_imbalance_hours
    error_message = "alarm_imbalance_hours is a whole number from 1 to 168."
  }
}

variable "log_retention_days" {
  description = "How long logs, and with them reports, are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is a number of days that CloudWatch Logs knows, such as 30 or 365."
  }
}

variable "kms_key_arn" {
  description = "A key of your own for logs, schedules and undelivered starts, whose policy lets CloudWatch Logs, EventBridge and EventBridge Scheduler use it; without one, AWS's own keys encrypt them."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : startswith(var.kms_key_arn, "arn:")
    error_message = "kms_key_arn is an ARN."
  }
}

variable "permissions_boundary" {
  description = "The ARN of a permissions boundary for the roles, where an account demands one."
  type        = string
  default     = null
}

variable "name" {
  description = "What the names of everything made here begin with."
  type        = string
  default     = "ecs-rebalancer"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,32}$", var.name))
    error_message = "name is 1 to 32 letters, digits, - and _."
  }
}

variable "tags" {
  description = "Tags of everything made here."
  type        = map(string)
  default     = {}
  nullable    = false
}

# ------------------------------------------------------------------------------------------------------------------- values

data "aws_partition" "this" {}
data "aws_region" "this" {}
data "aws_caller_identity" "this" {}

locals {
  partition = data.aws_partition.this.partition
  account   = data.aws_caller_identity.this.account_id
  region    = data.aws_region.this.id
  ecs       = "arn:${local.partition}:ecs:${local.region}:${local.account}"

  families     = { for cluster in keys(var.clusters) : cluster => "${var.name}-${cluster}" }
  cluster_arns = { for cluster in keys(var.clusters) : cluster => "${local.ecs}:cluster/${cluster}" }
  container    = "ecs-rebalancer"

  # What of a cluster's object is no variable of the job.
  not_settings = ["tag_strategies", "pass_roles"]
  environments = { for cluster, settings in var.clusters : cluster => merge(
    { AWS_EC2_METADATA_DISABLED = "true", REBALANCER_CLUSTER = cluster },
    { for name, value in settings : "REBALANCER_${upper(name)}" => try(join(",", value), tostring(value)) if value != null && !contains(local.not_settings, name) },
  ) }

  # Its size is Fargate's smallest. Its stop time-out is ECS's own: the job is done 22 s after SIGTERM, or has noted what is left.
  definitions = { for cluster in keys(var.clusters) : cluster => jsondecode(templatefile("${path.module}/taskdef.json", {
    family             = local.families[cluster]
    architecture       = var.architecture
    task_role_arn      = aws_iam_role.task[cluster].arn
    execution_role_arn = aws_iam_role.execution.arn
    image              = var.image
    environment        = jsonencode([for name, value in local.environments[cluster] : { name = name, value = value }])
    log_group          = aws_cloudwatch_log_group.this[cluster].name
    region             = local.region
  })) }

  # Each strategy that a run may come to use: `auto` chooses between surge and stop.
  strategies = { for cluster, settings in var.clusters : cluster => settings.dry_run ? [] : distinct(flatten([
    for strategy in concat([settings.strategy], tolist(settings.tag_strategies)) : strategy == "auto" ? ["surge", "stop"] : [strategy]
  ])) }
  measured = { for cluster, settings in var.clusters : cluster => settings if settings.metrics != "off" }
}

# -------------------------------------------------------------------------------------------------------------- permissions

locals {
  # What the job itself may do, each action on the narrowest resource and condition that it knows.
  statements = { for cluster, settings in var.clusters : cluster => [for statement in [
    {
      when      = true
      Sid       = "List"
      Action    = ["ecs:ListServices", "ecs:ListTasks"]
      Resource  = "*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      when     = true
      Sid      = "ListInstances"
      Action   = ["ecs:ListContainerInstances"]
      Resource = local.cluster_arns[cluster]
    },
    {
      when   = true
      Sid    = "Describe"
      Action = ["ecs:DescribeContainerInstances", "ecs:DescribeServices", "ecs:DescribeTasks"]
      Resource = [
        "${local.ecs}:container-instance/${cluster}/*",
        "${local.ecs}:service/${cluster}/*",
        "${local.ecs}:task/${cluster}/*",
      ]
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      # ECS knows no narrower resource for it.
      when     = true
      Sid      = "DescribeTaskDefinitions"
      Action   = ["ecs:DescribeTaskDefinition"]
      Resource = "*"
    },
    {
      # Capacity providers belong to the account; which of them a cluster has, IAM can't tell.
      when     = settings.mode == "consolidate"
      Sid      = "DescribeProviders"
      Action   = ["ecs:DescribeCapacityProviders"]
      Resource = "${local.ecs}:capacity-provider/*"
    },
    {
      # Auto Scaling knows no narrower resource for it.
      when     = settings.mode == "consolidate"
      Sid      = "DescribeGroups"
      Action   = ["autoscaling:DescribeAutoScalingGroups"]
      Resource = "*"
    },
    {
      when      = settings.metrics != "off"
      Sid       = "Publish"
      Action    = ["cloudwatch:PutMetricData"]
      Resource  = "*"
      Condition = { StringEquals = { "cloudwatch:namespace" = settings.metric_namespace } }
    },
    {
      when     = !settings.dry_run
      Sid      = "ReadLease"
      Action   = ["ecs:DescribeClusters"]
      Resource = local.cluster_arns[cluster]
    },
    {
      when     = !settings.dry_run
      Sid      = "NoteLease"
      Action   = ["ecs:TagResource", "ecs:UntagResource"]
      Resource = local.cluster_arns[cluster]
      Condition = {
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["ecs-rebalancer:lease"] }
        Null                        = { "aws:TagKeys" = "false" }
      }
    },
    {
      when     = !settings.dry_run
      Sid      = "NoteSteps"
      Action   = ["ecs:TagResource", "ecs:UntagResource"]
      Resource = "${local.ecs}:service/${cluster}/*"
      Condition = {
        "ForAllValues:StringEquals" = { "aws:TagKeys" = ["ecs-rebalancer:last", "ecs-rebalancer:surge"] }
        Null                        = { "aws:TagKeys" = "false" }
      }
    },
    {
      # Also where the strategy is another: an earlier run may have left a surge half-way.
      when      = !settings.dry_run
      Sid       = "Update"
      Action    = ["ecs:UpdateService"]
      Resource  = "${local.ecs}:service/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      when      = !settings.dry_run
      Sid       = "Protect"
      Action    = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
      Resource  = "${local.ecs}:task/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      # Elastic Load Balancing knows no narrower resource for it.
      when     = !settings.dry_run
      Sid      = "SeeTargets"
      Action   = ["elasticloadbalancing:DescribeTargetHealth"]
      Resource = "*"
    },
    {
      when      = contains(local.strategies[cluster], "stop")
      Sid       = "Stop"
      Action    = ["ecs:StopTask"]
      Resource  = "${local.ecs}:task/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      when      = settings.steer && !settings.dry_run
      Sid       = "Steer"
      Action    = ["ecs:DeleteAttributes", "ecs:PutAttributes"]
      Resource  = "${local.ecs}:container-instance/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      when     = contains(local.strategies[cluster], "revision")
      Sid      = "Revise"
      Action   = ["ecs:RegisterTaskDefinition"]
      Resource = "${local.ecs}:task-definition/*"
    },
    {
      # A task definition's tags are carried over to its new revision.
      when      = contains(local.strategies[cluster], "revision")
      Sid       = "TagRevision"
      Action    = ["ecs:TagResource"]
      Resource  = "${local.ecs}:task-definition/*"
      Condition = { StringEquals = { "ecs:CreateAction" = "RegisterTaskDefinition" } }
    },
    {
      when      = length(setintersection(local.strategies[cluster], ["redeploy", "revision"])) > 0 && length(settings.pass_roles) > 0
      Sid       = "PassRoles"
      Action    = ["iam:PassRole"]
      Resource  = sort(settings.pass_roles)
      Condition = { StringEquals = { "iam:PassedToService" = ["ecs-tasks.amazonaws.com", "ecs.amazonaws.com"] } }
    },
  ] : merge({ Effect = "Allow" }, { for key, value in statement : key => value if key != "when" }) if statement.when] }

  # An image in ECR needs permissions to be pulled; none where it is elsewhere.
  ecr = try(regex("^(?P<account>[0-9]{12})\\.dkr\\.ecr\\.(?P<region>[a-z0-9-]+)\\.amazonaws\\.com[.a-z]*/(?P<repository>[^:@]+)", var.image), null)
}

resource "aws_iam_role" "task" {
  for_each             = var.clusters
  name                 = local.families[each.key]
  description          = "What ecs-rebalancer may do in cluster ${each.key}"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.ecs}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "task" {
  for_each = var.clusters
  name     = "rebalance"
  role     = aws_iam_role.task[each.key].id
  policy   = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution"
  description          = "What ECS needs to start ecs-rebalancer: its image and its log"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "${local.ecs}:*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [{
      Sid      = "Log"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = [for group in aws_cloudwatch_log_group.this : "${group.arn}:log-stream:*"]
    }],
    [for ecr in local.ecr[*] : {
      Sid      = "PullImage"
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = "arn:${local.partition}:ecr:${ecr.region}:${ecr.account}:repository/${ecr.repository}"
    }],
    # ECR knows no narrower resource for it.
    [for ecr in local.ecr[*] : { Sid = "LogIn", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" }],
  ) })
}

# Who starts runs: the schedule and the event.
resource "aws_iam_role" "start" {
  name                 = "${var.name}-start"
  description          = "Starts ecs-rebalancer, by the clock and when an instance joins"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = ["events.amazonaws.com", "scheduler.amazonaws.com"] }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.start.id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(
    [
      {
        Sid       = "Run"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = [for family in values(local.families) : "${local.ecs}:task-definition/${family}:*"]
        Condition = { ArnEquals = { "ecs:cluster" = values(local.cluster_arns) } }
      },
      {
        Sid       = "PassRoles"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = concat([aws_iam_role.execution.arn], [for role in aws_iam_role.task : role.arn])
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid      = "KeepUndelivered"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = aws_sqs_queue.undelivered.arn
      },
    ],
    [for key in var.kms_key_arn[*] : { Sid = "Encrypt", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = key }],
  ) })
}

# ------------------------------------------------------------------------------------------------------------------ the job

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158: encrypted by CloudWatch's own key unless var.kms_key_arn names another; nothing secret is logged
  # checkov:skip=CKV_AWS_338: a year of reports is the owner's choice to pay for, by var.log_retention_days
  for_each          = var.clusters
  name              = "/ecs/${local.families[each.key]}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_task_definition" "this" {
  for_each                 = var.clusters
  family                   = local.definitions[each.key].family
  requires_compatibilities = local.definitions[each.key].requiresCompatibilities
  network_mode             = local.definitions[each.key].networkMode
  cpu                      = local.definitions[each.key].cpu
  memory                   = local.definitions[each.key].memory
  task_role_arn            = local.definitions[each.key].taskRoleArn
  execution_role_arn       = local.definitions[each.key].executionRoleArn
  container_definitions    = jsonencode(local.definitions[each.key].containerDefinitions)
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = local.definitions[each.key].runtimePlatform.cpuArchitecture
    operating_system_family = local.definitions[each.key].runtimePlatform.operatingSystemFamily
  }
}

# ------------------------------------------------------------------------------------------------------------- what starts it

# Starts that AWS could not deliver, with the reason, for two weeks.
resource "aws_sqs_queue" "undelivered" {
  name                      = "${var.name}-undelivered"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "EncryptedOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.undelivered.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      # A rule brings what it can't deliver by itself, not by its role.
      [for rule in aws_cloudwatch_event_rule.joined : {
        Sid       = "Rule${replace(title(replace(rule.name, "/[-_]/", " ")), " ", "")}"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.undelivered.arn
        Condition = { ArnEquals = { "aws:SourceArn" = rule.arn } }
      }],
    )
  })
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297: encrypted by Scheduler's own key unless var.kms_key_arn names another; a schedule holds no secret
  for_each                     = var.clusters
  name                         = local.families[each.key]
  description                  = "Rebalances cluster ${each.key}"
  state                        = var.schedule_enabled ? "ENABLED" : "DISABLED"
  schedule_expression          = var.schedule_expression
  schedule_expression_timezone = var.schedule_timezone
  kms_key_arn                  = var.kms_key_arn

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = var.schedule_window_minutes
  }

  target {
    arn      = local.cluster_arns[each.key]
    role_arn = aws_iam_role.start.arn
    # RunTask's overrides: none.
    input = jsonencode({ containerOverrides = [] })

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.this[each.key].arn
      launch_type         = "FARGATE"
      platform_version    = "LATEST"
      network_configuration {
        subnets          = var.subnets
        security_groups  = var.security_groups
        assign_public_ip = var.assign_public_ip
      }
    }

    # A run that is an hour late is the next run's work.
    retry_policy {
      maximum_retry_attempts       = 3
      maximum_event_age_in_seconds = 3600
    }
    dead_letter_config {
      arn = aws_sqs_queue.undelivered.arn
    }
  }
}

resource "aws_cloudwatch_event_rule" "joined" {
  for_each    = var.event_enabled ? var.clusters : {}
  name        = "${local.families[each.key]}-joined"
  description = "A container instance joined cluster ${each.key}"
  tags        = var.tags
  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Container Instance State Change"]
    detail = {
      clusterArn     = [local.cluster_arns[each.key]]
      status         = ["ACTIVE"]
      agentConnected = [true]
      # ECS tells of each task that starts or stops on an instance; one that joined has changed a few times only.
      version = [{ numeric = ["<=", var.event_max_version] }]
    }
  })
}

resource "aws_cloudwatch_event_target" "joined" {
  for_each = aws_cloudwatch_event_rule.joined
  rule     = each.value.name
  arn      = local.cluster_arns[each.key]
  role_arn = aws_iam_role.start.arn

  ecs_target {
    task_definition_arn = aws_ecs_task_definition.this[each.key].arn
    task_count          = 1
    launch_type         = "FARGATE"
    platform_version    = "LATEST"
    network_configuration {
      subnets          = var.subnets
      security_groups  = var.security_groups
      assign_public_ip = var.assign_public_ip
    }
  }

  # The job itself looks whether the instance is really new and empty. A placeholder brings its own quotes.
  input_transformer {
    input_paths = { instance = "$.detail.containerInstanceArn" }
    input_template = replace(
      jsonencode({ containerOverrides = [{ name = local.container, environment = [{ name = "REBALANCER_TRIGGER_INSTANCE", value = "INSTANCE" }] }] }),
      "\"INSTANCE\"", "<instance>",
    )
  }

  retry_policy {
    maximum_retry_attempts       = 3
    maximum_event_age_in_seconds = 3600
  }
  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}

locals {
  network = { awsvpcConfiguration = {
    subnets        = var.subnets
    securityGroups = var.security_groups
    assignPublicIp = var.assign_public_ip ? "ENABLED" : "DISABLED"
  } }
  run_commands = { for cluster in keys(var.clusters) : cluster => join(" ", [
    "aws ecs run-task --region ${local.region} --cluster ${cluster} --launch-type FARGATE",
    "--task-definition ${aws_ecs_task_definition.this[cluster].family}",
    "--network-configuration '${jsonencode(local.network)}'",
  ]) }
  dry_run = { containerOverrides = [{ name = local.container, environment = [{ name = "REBALANCER_DRY_RUN", value = "true" }] }] }
}

resource "terraform_data" "run" {
  for_each         = var.run_on_apply ? var.clusters : {}
  triggers_replace = aws_ecs_task_definition.this[each.key].arn
  depends_on       = [aws_iam_role_policy.task, aws_iam_role_policy.execution]

  provisioner "local-exec" {
    command = local.run_commands[each.key]
  }
}

# ------------------------------------------------------------------------------------------------------- what watches over it

# A run that fails early, or that can't be placed, publishes nothing: only this alarm tells of it.
resource "aws_cloudwatch_metric_alarm" "silent" {
  for_each            = var.schedule_enabled ? local.measured : {}
  alarm_name          = "${local.families[each.key]}-silent"
  alarm_description   = "No run of ecs-rebalancer on cluster ${each.key} has come to its end for ${var.alarm_silence_hours} hours. See its log, the queue of undelivered starts, and RunTask in CloudTrail."
  namespace           = each.value.metric_namespace
  metric_name         = "RunDuration"
  dimensions          = { ClusterName = each.key }
  statistic           = "SampleCount"
  period              = 3600
  evaluation_periods  = var.alarm_silence_hours
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "failing" {
  for_each            = local.measured
  alarm_name          = "${local.families[each.key]}-failing"
  alarm_description   = "A run of ecs-rebalancer on cluster ${each.key} failed; its log tells what. Every service is left whole."
  namespace           = each.value.metric_namespace
  metric_name         = "RebalanceFailures"
  dimensions          = { ClusterName = each.key }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# Imbalanced for hours, though there are tasks that could be moved.
resource "aws_cloudwatch_metric_alarm" "imbalanced" {
  for_each            = local.measured
  alarm_name          = "${local.families[each.key]}-imbalanced"
  alarm_description   = "Tasks of cluster ${each.key} have been misplaced for ${var.alarm_imbalance_hours} hours though they could be moved. The report in its log tells of each service why."
  evaluation_periods  = var.alarm_imbalance_hours
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id    = "lasting"
    label = "misplaced and movable"
    # Between two runs the last one's finding holds.
    expression  = "IF(FILL(imbalance, REPEAT) >= ${each.value.threshold} AND FILL(misplaced, REPEAT) > FILL(stuck, REPEAT), 1, 0)"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { imbalance = "TaskImbalance", misplaced = "MisplacedTasks", stuck = "StuckTasks" }
    content {
      id = metric_query.key
      metric {
        namespace   = each.value.metric_namespace
        metric_name = metric_query.value
        dimensions  = { ClusterName = each.key }
        stat        = "Minimum"
        period      = 3600
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = "${var.name}-undelivered"
  alarm_description   = "AWS could not start ecs-rebalancer; the messages in the queue tell why."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undelivered.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = flatten([for cluster, settings in local.measured : [
    for title, metrics in {
      "imbalance, %"   = ["TaskImbalance", "LoadImbalance", "CPUReservation", "MemoryReservation"]
      "tasks"          = ["RunningTasks", "MisplacedTasks", "StuckTasks", "TasksMoved", "TaskSkew"]
      "instances"      = ["ContainerInstances", "EmptyInstances"]
      "what runs did"  = ["ServicesRebalanced", "ServicesSkipped", "RebalanceFailures"]
      "a run, seconds" = ["RunDuration"]
      } : {
      type   = "metric"
      width  = 8
      height = 6
      properties = {
        title   = "${cluster}: ${title}"
        region  = local.region
        stat    = "Maximum"
        period  = 300
        metrics = [for metric in metrics : [settings.metric_namespace, metric, "ClusterName", cluster]]
      }
    }
  ]]) })
}

# ------------------------------------------------------------------------------------------------------------------ outputs

output "run" {
  description = "To be pasted: a run now, a line for each cluster. `terraform output -raw run` prints it."
  value       = join("\n", concat(values(local.run_commands), [""]))
}

output "dry_run" {
  description = "To be pasted: a run now that changes nothing, a line for each cluster. `terraform output -raw dry_run` prints it."
  value       = join("\n", concat([for command in values(local.run_commands) : "${command} --overrides '${jsonencode(local.dry_run)}'"], [""]))
}

output "log_groups" {
  description = "By cluster: where runs log, each with its report in the last line."
  value       = { for cluster, group in aws_cloudwatch_log_group.this : cluster => group.name }
}

output "undelivered" {
  description = "The queue of starts that AWS could not deliver."
  value       = aws_sqs_queue.undelivered.id
}
