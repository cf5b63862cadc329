# Everything that runs ecs-rebalancer on a schedule, for one `terraform apply`. README.md, "Deploy", says how to use it.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

# ---------------------------------------------------------------------------------------------------------------- variables

locals {
  # What EventBridge Scheduler takes. Of cron(minutes hours day-of-month month day-of-week year) one of the two days is ?, which means
  # that the other one decides.
  cron = { for field, value in {
    minutes = "[0-5]?[0-9]"
    hours   = "[01]?[0-9]|2[0-3]"
    date    = "0?[1-9]|[12][0-9]|3[01]"
    month   = "0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
    day     = "[1-7]|SUN|MON|TUE|WED|THU|FRI|SAT"
    year    = "19[7-9][0-9]|2[01][0-9][0-9]"
  } : field => "([*]|(${value})(-(${value}))?)(/[0-9]+)?${field == "date" ? "|(${value})W|L(-[0-9]+)?|LW" : field == "day" ? "|(${value})?L|(${value})#[1-5]" : ""}" }
  crons_of = { for field, item in local.cron : field => "(${item})(,(${item}))*" }
  schedule = "^(rate\\([1-9][0-9]* (minute|hour|day)s?\\)|cron\\((?i:${local.crons_of.minutes} ${local.crons_of.hours} (${local.crons_of.date} ${local.crons_of.month} [?]|[?] ${local.crons_of.month} (${local.crons_of.day}|[?])) ${local.crons_of.year})\\))$"
  # IANA's: an area and a place in it, as Europe/Vienna, or one of the few names without an area.
  timezone = "^((Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe|Indian|Mexico|Pacific|US)(/[A-Za-z0-9_+-]+)+|CET|CST6CDT|Cuba|EET|EST|EST5EDT|Egypt|Eire|GB|GB-Eire|GMT|GMT[+]0|GMT-0|GMT0|Greenwich|HST|Hongkong|Iceland|Iran|Israel|Jamaica|Japan|Kwajalein|Libya|MET|MST|MST7MDT|NZ|NZ-CHAT|Navajo|PRC|PST8PDT|Poland|Portugal|ROC|ROK|Singapore|Turkey|UCT|UTC|Universal|W-SU|WET|Zulu)$"
}

variable "clusters" {
  description = "The clusters to rebalance, by name, each with its settings: max_moves sets REBALANCER_MAX_MOVES, and so on. A setting that is left out has the variable's default. With load_threshold = 100 no task moves from full to idle container instances. There is no setting for files (REBALANCER_REPORT, REBALANCER_SNAPSHOT, REBALANCER_PLAN): a task's disk is read-only. The last line of a run's log is its summary."
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
    # With dry_run = true where runs were real before: a run under way, and one by hand, may still finish what was begun.
    recover = optional(bool, false)

    # Where the job itself runs: on FARGATE, or on EC2, that is on the cluster's own container instances. A capacity provider of
    # the cluster stands instead of the launch type, and belongs to it: FARGATE_SPOT, or the cluster's own with EC2. On EC2 the
    # network mode may be bridge or host; only awsvpc needs subnets.
    launch_type       = optional(string, "FARGATE")
    capacity_provider = optional(string)
    network_mode      = optional(string, "awsvpc")

    # Instead of the variables of the same names, for this cluster.
    architecture          = optional(string)
    subnets               = optional(list(string))
    security_groups       = optional(list(string))
    assign_public_ip      = optional(bool)
    schedule_enabled      = optional(bool)
    schedule_expression   = optional(string)
    schedule_timezone     = optional(string)
    event_enabled         = optional(bool)
    event_max_version     = optional(number)
    alarm_silence_hours   = optional(number)
    alarm_imbalance_hours = optional(number)
  }))

  # What the job itself would refuse is refused here: tests/peers/ranges.py asks both.
  validation {
    condition     = length(var.clusters) > 0
    error_message = "Name at least one cluster."
  }
  # The others pass over it, so that this one alone is told.
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings != null])
    error_message = "A cluster without settings of its own is written prod = {}, not prod = null."
  }
  validation {
    condition     = alltrue([for cluster in keys(var.clusters) : can(regex("^[A-Za-z0-9_-]{1,255}$", cluster))])
    error_message = "A cluster is given by its name, not its ARN: up to 255 letters, digits, - and _."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : contains(["auto", "surge", "stop", "redeploy", "revision"], settings.strategy) if settings != null])
    error_message = "strategy is auto, surge, stop, redeploy or revision."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.mode == null ? true : contains(["spread", "consolidate"], settings.mode) if settings != null])
    error_message = "mode is spread or consolidate."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : length(setsubtract(settings.tag_strategies, ["auto", "surge", "stop", "redeploy", "revision"])) == 0 if settings != null])
    error_message = "tag_strategies are of auto, surge, stop, redeploy and revision."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : contains(["off", "cluster", "imbalanced", "all"], settings.metrics) if settings != null])
    error_message = "metrics is off, cluster, imbalanced or all."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : can(regex("^[A-Za-z0-9._/# -][A-Za-z0-9._/#: -]{0,254}$", settings.metric_namespace)) && !startswith(settings.metric_namespace, "AWS/") if settings != null])
    error_message = "metric_namespace is 1 to 255 letters, digits and any of . - _ / # :, not beginning with : or AWS/."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for percent in [settings.threshold, settings.load_threshold, settings.headroom, settings.surge] :
      percent == null ? true : percent >= 0 && percent <= 100 && floor(percent * 100) == percent * 100
    ] if settings != null]))
    error_message = "threshold, load_threshold, headroom and surge are percentages from 0 to 100 with at most two decimals."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for number, most in { max_moves = 10000, max_services = 5000, parallel = 50 } :
      settings[number] == null ? true : settings[number] >= 1 && settings[number] <= most && floor(settings[number]) == settings[number]
    ] if settings != null]))
    error_message = "max_moves is a whole number from 1 to 10000, max_services from 1 to 5000, parallel from 1 to 50."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for duration in [settings.cooldown, settings.task_timeout, settings.deadline] : duration == null ? true : can(regex("^([0-9]{1,9} *(s|m|h|d) *)+$", duration))
    ] if settings != null]))
    error_message = "cooldown, task_timeout and deadline are written as 90s, 10m, 1h or 1h 30m."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for range in [
        { duration = coalesce(settings.cooldown, "10m"), least = 0, most = 7 * 24 * 3600 },
        { duration = coalesce(settings.task_timeout, "5m"), least = 60, most = 2 * 3600 },
        { duration = coalesce(settings.deadline, "15m"), least = 120, most = 24 * 3600 },
        ] : try(
        sum([for part in regexall("([0-9]+) *([smhd])", range.duration) : tonumber(part[0]) * { s = 1, m = 60, h = 3600, d = 86400 }[part[1]]]) >= range.least &&
        sum([for part in regexall("([0-9]+) *([smhd])", range.duration) : tonumber(part[0]) * { s = 1, m = 60, h = 3600, d = 86400 }[part[1]]]) <= range.most,
        false,
      )
    ] if settings != null]))
    error_message = "cooldown is at most 7 days, task_timeout from 1 minute to 2 hours, deadline from 2 minutes to 24 hours."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) : try(
      sum([for part in regexall("([0-9]+) *([smhd])", coalesce(settings.task_timeout, "5m")) : tonumber(part[0]) * { s = 1, m = 60, h = 3600, d = 86400 }[part[1]]]) <
      sum([for part in regexall("([0-9]+) *([smhd])", coalesce(settings.deadline, "15m")) : tonumber(part[0]) * { s = 1, m = 60, h = 3600, d = 86400 }[part[1]]]),
      false,
    ) if settings != null])
    error_message = "task_timeout is shorter than deadline; they are 5m and 15m where nothing is said."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for service in concat(coalesce(settings.include, []), coalesce(settings.exclude, [])) : can(regex("^[A-Za-z0-9_*?-]{1,255}$", service))
    ] if settings != null]))
    error_message = "include and exclude are names of services, with * and ? as wildcards."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) :
      length(setintersection(coalesce(settings.include, []), coalesce(settings.exclude, []))) == 0 &&
      alltrue([for service in coalesce(settings.exclude, []) : can(regex("[^*]", service))]) if settings != null
    ])
    error_message = "exclude wins over include: the same name in both, or * in exclude, leaves nothing to do."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.log == null ? true : can(regex("^(?i:([a-z0-9_:]+=)?(off|error|warn|info|debug|trace)(, *)?)+$", settings.log)) && !endswith(trimspace(settings.log), ",") if settings != null])
    error_message = "log is off, error, warn, info, debug or trace, or a filter as info,aws_config=debug."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.log_format == null ? true : contains(["text", "json"], settings.log_format) if settings != null])
    error_message = "log_format is text or json."
  }
  validation {
    condition     = alltrue(flatten([for settings in values(var.clusters) : [for role in settings.pass_roles : can(regex("^arn:[^:]+:iam::[0-9]{12}:role/.+$", role))] if settings != null]))
    error_message = "pass_roles are ARNs of roles."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.dry_run || !settings.recover if settings != null])
    error_message = "recover goes with dry_run = true: without that, runs may finish what was begun anyway."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) :
      contains(["FARGATE", "EC2"], settings.launch_type) && contains(["awsvpc", "bridge", "host"], settings.network_mode) && (settings.launch_type == "EC2" || settings.network_mode == "awsvpc") if settings != null
    ])
    error_message = "launch_type is FARGATE or EC2; network_mode is awsvpc, or with EC2 bridge or host."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) :
      settings.capacity_provider == null ? true : (settings.launch_type == "FARGATE") == contains(["FARGATE", "FARGATE_SPOT"], settings.capacity_provider) if settings != null
    ])
    error_message = "capacity_provider is FARGATE or FARGATE_SPOT, or with launch_type EC2 one of the cluster's own."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.architecture == null ? true : contains(["ARM64", "X86_64"], settings.architecture) if settings != null])
    error_message = "architecture is ARM64 or X86_64."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) :
      settings.schedule_expression == null ? true : can(regex(local.schedule, settings.schedule_expression)) if settings != null
    ])
    error_message = "schedule_expression is as rate(30 minutes), or as cron(0 3 * * ? *): minutes, hours, day of the month, month, day of the week, year, with ? for one of the two days."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.schedule_timezone == null ? true : can(regex(local.timezone, settings.schedule_timezone)) if settings != null])
    error_message = "schedule_timezone is UTC, or an area and a place as Europe/Vienna, by IANA's name."
  }
  validation {
    condition = alltrue(flatten([for settings in values(var.clusters) : [
      for hours in [settings.alarm_silence_hours, settings.alarm_imbalance_hours] : hours == null ? true : hours >= 1 && hours <= 168 && floor(hours) == hours
    ] if settings != null]))
    error_message = "alarm_silence_hours and alarm_imbalance_hours are whole numbers from 1 to 168: CloudWatch looks back a week at most."
  }
  validation {
    condition     = alltrue([for settings in values(var.clusters) : settings.event_max_version == null ? true : settings.event_max_version >= 1 if settings != null])
    error_message = "event_max_version is 1 or more."
  }
  validation {
    condition = alltrue([for settings in values(var.clusters) :
      settings.network_mode != "awsvpc" || length(coalesce(settings.subnets, var.subnets)) > 0 && alltrue([for subnet in coalesce(settings.subnets, var.subnets) : startswith(subnet, "subnet-")]) if settings != null
    ])
    error_message = "In network mode awsvpc the job needs subnets, by their ids (subnet-...)."
  }
  validation {
    condition     = alltrue(flatten([for settings in values(var.clusters) : [for group in coalesce(settings.security_groups, []) : startswith(group, "sg-")] if settings != null]))
    error_message = "security_groups are ids (sg-...)."
  }
}

variable "image" {
  description = "The job's image, built from the Dockerfile and pushed to a registry that the job's subnets, or the container instances, reach."
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
  description = "Subnets from which the job reaches the APIs of ECS, CloudWatch and Elastic Load Balancing, its image and its log. None are needed in network mode bridge or host."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for subnet in var.subnets : startswith(subnet, "subnet-")])
    error_message = "subnets are ids (subnet-...)."
  }
}

variable "security_groups" {
  description = "Security groups that allow outbound traffic to port 443. The job needs no inbound traffic. Without any, the VPC's default group is used."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for group in var.security_groups : startswith(group, "sg-")])
    error_message = "security_groups are ids (sg-...)."
  }
}

variable "assign_public_ip" {
  description = "Whether the job has a public IP address. It needs one in public subnets. On EC2 a task can't have one."
  type        = bool
  default     = false
  nullable    = false
}

variable "schedule_enabled" {
  description = "Whether the job runs on the schedule. If false, a container instance that joins still starts a run, unless event_enabled is false as well."
  type        = bool
  default     = true
  nullable    = false
}

variable "schedule_expression" {
  description = "When the job runs: rate(...) or cron(...), in the syntax of EventBridge Scheduler."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    condition     = can(regex(local.schedule, var.schedule_expression))
    error_message = "schedule_expression is as rate(30 minutes), or as cron(0 3 * * ? *): minutes, hours, day of the month, month, day of the week, year, with ? for one of the two days."
  }
}

variable "schedule_timezone" {
  description = "The time zone of a cron(...), by IANA's name, as Europe/Vienna."
  type        = string
  default     = "UTC"
  nullable    = false

  validation {
    condition     = can(regex(local.timezone, var.schedule_timezone))
    error_message = "schedule_timezone is UTC, or an area and a place as Europe/Vienna, by IANA's name."
  }
}

variable "schedule_window_minutes" {
  description = "A run starts within so many minutes of its time, so that the runs of many clusters don't start at the same second."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.schedule_window_minutes >= 1 && var.schedule_window_minutes <= 1440 && floor(var.schedule_window_minutes) == var.schedule_window_minutes
    error_message = "schedule_window_minutes is a whole number from 1 to 1440."
  }
}

variable "event_enabled" {
  description = "Whether a container instance that joins starts a run. Clusters in mode consolidate have no such event unless they ask for it: an instance that joins there came because capacity was short. Nor do clusters in a dry run, which would change nothing."
  type        = bool
  default     = true
  nullable    = false
}

variable "event_max_version" {
  description = "Up to which change an instance counts as joining: its registration, the connection of its agent, and one change for each daemon. ECS also sends an event for each task that starts or stops. Without this limit each of them would start a short run."
  type        = number
  default     = 6
  nullable    = false

  validation {
    condition     = var.event_max_version >= 1
    error_message = "event_max_version is 1 or more."
  }
}

variable "run_on_apply" {
  description = "Whether Terraform starts a run after each change of the task definition. This needs the AWS CLI where Terraform runs."
  type        = bool
  default     = false
  nullable    = false
}

variable "end_runs_on_destroy" {
  description = "Whether runs that are under way are ended, and waited for, before `terraform destroy` takes their permissions away, or a change does, as dry_run = true: by the AWS CLI of whoever applies. A run that loses them can leave a service raised."
  type        = bool
  default     = true
  nullable    = false
}

variable "dashboard_enabled" {
  description = "Whether a CloudWatch dashboard shows what runs find and do, for each 30 clusters one. An account's first three dashboards are free."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarm_actions" {
  description = "What alarms notify: mostly the ARN of an SNS topic. Without any, alarms are only shown."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "alarm_silence_hours" {
  description = "After how many hours without a finished run there is an alarm. It must be longer than the schedule's longest pause. The default is twice that pause and one hour, at least 3."
  type        = number
  default     = null

  validation {
    condition     = var.alarm_silence_hours == null ? true : var.alarm_silence_hours >= 1 && var.alarm_silence_hours <= 168 && floor(var.alarm_silence_hours) == var.alarm_silence_hours
    error_message = "alarm_silence_hours is a whole number from 1 to 168: CloudWatch looks back a week at most."
  }
}

variable "alarm_imbalance_hours" {
  description = "There is an alarm if every run of so many hours, and at least two runs in a row, left tasks misplaced that it should have moved."
  type        = number
  default     = 6
  nullable    = false

  validation {
    condition     = var.alarm_imbalance_hours >= 1 && var.alarm_imbalance_hours <= 168 && floor(var.alarm_imbalance_hours) == var.alarm_imbalance_hours
    error_message = "alarm_imbalance_hours is a whole number from 1 to 168."
  }
}

variable "log_retention_days" {
  description = "For how many days logs are kept, and with them the reports."
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

variable "role_path" {
  description = "The path of the roles, for accounts that require one, such as /platform/."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9._+=,@-]+/)*$", var.role_path))
    error_message = "role_path begins and ends with /."
  }
}

variable "permissions_boundary" {
  description = "The ARN of a permissions boundary for the roles, for accounts that require one."
  type        = string
  default     = null
}

variable "name" {
  description = "How the names of all resources begin. A second stack in the same account and Region needs another name."
  type        = string
  default     = "ecs-rebalancer"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,32}$", var.name))
    error_message = "name is 1 to 32 letters, digits, - and _."
  }
}

variable "tags" {
  description = "Tags of all resources."
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

  # A cluster's name can have 255 letters, those of a role, a schedule and a rule 64, with the Region or an ending. A long one is
  # cut, and so that no two become one, the hash of the whole follows. IAM can't tell Prod from prod: they get it as well.
  wanted = { for cluster in keys(var.clusters) : cluster => "${var.name}-${cluster}" }
  families = { for cluster, name in local.wanted : cluster =>
    length(name) <= 48 && length([for other in values(local.wanted) : other if lower(other) == lower(name)]) == 1 ? name : "${substr(name, 0, 39)}-${substr(sha256(name), 0, 8)}"
  }
  # A role's path can't be changed, and what a new task definition names must be there before the old one goes: so another path is
  # another name.
  role_ending = "${local.region}${var.role_path == "/" ? "" : "-${substr(sha256(var.role_path), 0, 6)}"}"
  # A cluster may be called as the stack's own roles are.
  role_names = { for cluster, family in local.families : cluster =>
    length(family) + length(local.role_ending) < 64 && !contains(["execution", "start"], lower(cluster)) ? "${family}-${local.role_ending}" : "${substr(family, 0, 33)}-${substr(sha256(local.wanted[cluster]), 0, 8)}-${local.role_ending}"
  }
  cluster_arns = { for cluster in keys(var.clusters) : cluster => "${local.ecs}:cluster/${cluster}" }
  container    = "ecs-rebalancer"

  # What of a cluster's object is no variable of the job.
  not_settings = [
    "tag_strategies", "pass_roles", "recover", "launch_type", "capacity_provider", "network_mode", "architecture", "subnets", "security_groups",
    "assign_public_ip", "schedule_enabled", "schedule_expression", "schedule_timezone", "event_enabled", "event_max_version",
    "alarm_silence_hours", "alarm_imbalance_hours",
  ]
  environments = { for cluster, settings in var.clusters : cluster => merge(
    # ECS tells a task on EC2 no Region.
    { AWS_EC2_METADATA_DISABLED = "true", AWS_REGION = local.region, REBALANCER_CLUSTER = cluster },
    { for name, value in settings : "REBALANCER_${upper(name)}" => try(join(",", value), tostring(value)) if value != null && !contains(local.not_settings, name) },
  ) }

  # Its size is Fargate's smallest. Its stop time-out is ECS's own: the job is done 22 s after SIGTERM, or has noted what is left.
  definitions = { for cluster in keys(var.clusters) : cluster => jsondecode(templatefile("${path.module}/taskdef.json", {
    family             = local.families[cluster]
    launch_type        = local.jobs[cluster].launch_type
    network_mode       = local.jobs[cluster].network_mode
    architecture       = local.jobs[cluster].architecture
    task_role_arn      = aws_iam_role.task[cluster].arn
    execution_role_arn = aws_iam_role.execution.arn
    image              = var.image
    environment        = jsonencode([for name, value in local.environments[cluster] : { name = name, value = value }])
    log_group          = aws_cloudwatch_log_group.this[cluster].name
    region             = local.region
  })) }

  # Where and when each cluster's job runs.
  jobs = { for cluster, settings in var.clusters : cluster => {
    launch_type       = settings.launch_type
    capacity_provider = settings.capacity_provider
    network_mode      = settings.network_mode
    architecture      = coalesce(settings.architecture, var.architecture)
    # A cluster of its own container instances may have both processors.
    placement_constraints = [for processor in settings.launch_type == "EC2" ? [coalesce(settings.architecture, var.architecture)] : [] : {
      type       = "memberOf"
      expression = "attribute:ecs.cpu-architecture == ${lower(processor)}"
    }]
    # None in network mode bridge and host. A task on EC2 can't have a public address.
    networks = [for mode in [settings.network_mode] : {
      subnets          = coalesce(settings.subnets, var.subnets)
      security_groups  = coalesce(settings.security_groups, var.security_groups)
      assign_public_ip = settings.launch_type == "FARGATE" && coalesce(settings.assign_public_ip, var.assign_public_ip)
    } if mode == "awsvpc"]
    platform_version    = settings.launch_type == "FARGATE" ? "LATEST" : null
    schedule_enabled    = coalesce(settings.schedule_enabled, var.schedule_enabled)
    schedule_expression = coalesce(settings.schedule_expression, var.schedule_expression)
    schedule_timezone   = coalesce(settings.schedule_timezone, var.schedule_timezone)
    event_enabled       = coalesce(settings.event_enabled, var.event_enabled && settings.mode != "consolidate" && !settings.dry_run)
    event_max_version   = coalesce(settings.event_max_version, var.event_max_version)
  } }

  # The schedule's longest pause, in hours: of a rate(...) exactly, of a cron(...) at most. A week is for those on some days only.
  rates = { for cluster, job in local.jobs : cluster => try(regex("^rate\\(([0-9]+) (minute|hour|day)", job.schedule_expression), null) }
  crons = { for cluster, job in local.jobs : cluster => try(regex("^cron\\(([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) ", job.schedule_expression), null) }
  pauses = { for cluster, job in local.jobs : cluster =>
    local.rates[cluster] != null ? tonumber(local.rates[cluster][0]) * { minute = 1 / 60, hour = 1, day = 24 }[local.rates[cluster][1]] :
    !can(regex("^([*?]|[*1]/1)$", local.crons[cluster][2])) || local.crons[cluster][3] != "*" ? 168 :
    contains(["MON-FRI", "2-6"], upper(local.crons[cluster][4])) ? 72 :
    !can(regex("^[*?]$", local.crons[cluster][4])) ? 168 :
    can(regex("^[*](/1)?$", local.crons[cluster][1])) ? 1 :
    can(regex("^[*0]/[0-9]+$", local.crons[cluster][1])) ? min(24, tonumber(split("/", local.crons[cluster][1])[1])) : 24
  }

  # Each strategy that a run may come to use: `auto` chooses between surge and stop.
  strategies = { for cluster, settings in var.clusters : cluster => settings.dry_run ? [] : distinct(flatten([
    for strategy in concat([settings.strategy], tolist(settings.tag_strategies)) : strategy == "auto" ? ["surge", "stop"] : [strategy]
  ])) }
  # Whether a run may note, finish or undo a step: also with the brake on, where runs were real before.
  acts = { for cluster, settings in var.clusters : cluster => !settings.dry_run || settings.recover }
  # Whether a run may move tasks from full to idle container instances: load_threshold = 100 turns that off.
  levels   = { for cluster, settings in var.clusters : cluster => coalesce(settings.mode, "spread") == "spread" && coalesce(settings.load_threshold, 25) < 100 }
  measured = { for cluster, settings in var.clusters : cluster => settings if settings.metrics != "off" }
}

# -------------------------------------------------------------------------------------------------------------- permissions

locals {
  # IAM's limit for all of a role's own policies, less what stands round the statements.
  longest_policy = 10240 - 40

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
      when      = true
      Sid       = "SeeProtection"
      Action    = ["ecs:GetTaskProtection"]
      Resource  = "${local.ecs}:task/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      # Capacity providers belong to the account; which of them a cluster has, IAM can't tell.
      when     = settings.mode == "consolidate" || local.levels[cluster]
      Sid      = "DescribeProviders"
      Action   = ["ecs:DescribeCapacityProviders"]
      Resource = "${local.ecs}:capacity-provider/*"
    },
    {
      # Auto Scaling knows no narrower resource for it.
      when     = settings.mode == "consolidate" || local.levels[cluster]
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
      when     = local.acts[cluster] || local.levels[cluster]
      Sid      = "ReadLease"
      Action   = ["ecs:DescribeClusters"]
      Resource = local.cluster_arns[cluster]
    },
    {
      when     = local.acts[cluster]
      Sid      = "NoteLease"
      Action   = ["ecs:TagResource", "ecs:UntagResource"]
      Resource = local.cluster_arns[cluster]
      Condition = {
        "ForAllValues:StringLike" = { "aws:TagKeys" = ["ecs-rebalancer:lease-*", "ecs-rebalancer:mode"] }
        Null                      = { "aws:TagKeys" = "false" }
      }
    },
    {
      when     = local.acts[cluster]
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
      when      = local.acts[cluster]
      Sid       = "Update"
      Action    = ["ecs:UpdateService"]
      Resource  = "${local.ecs}:service/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      when      = local.acts[cluster]
      Sid       = "Protect"
      Action    = ["ecs:UpdateTaskProtection"]
      Resource  = "${local.ecs}:task/${cluster}/*"
      Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arns[cluster] } }
    },
    {
      # Elastic Load Balancing knows no narrower resource for it.
      when     = local.acts[cluster]
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
      when      = settings.steer && local.acts[cluster]
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

  # An image in ECR needs permissions to be pulled; none where it is elsewhere. ECR has names for IPv4 (ACCOUNT.dkr.ecr.REGION.…),
  # for both (ACCOUNT.dkr-ecr.REGION.on.aws), and each with -fips.
  ecr = try(regex("^(?P<account>[0-9]{12})\\.dkr[.-]ecr(?:-fips)?\\.(?P<region>[a-z0-9-]+)\\.[a-z0-9.-]+/(?P<repository>[^:@]+)", var.image), null)
}

resource "aws_iam_role" "task" {
  for_each             = var.clusters
  name                 = local.role_names[each.key]
  path                 = var.role_path
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

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.statements[each.key])) <= local.longest_policy
      error_message = "The pass_roles of cluster ${each.key} are too many for one IAM policy. Name them by a pattern, as arn:${local.partition}:iam::${local.account}:role/services/*."
    }
  }
}

resource "aws_iam_role" "execution" {
  name                 = "${var.name}-execution-${local.role_ending}"
  path                 = var.role_path
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
      Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/ecs/${var.name}-*:log-stream:*"
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

# Who starts runs: the schedule and the event. What is this stack's is told by the name that it begins with, for a policy has 10,240
# letters, which an ARN for each of many clusters would fill. Where runs are started, each cluster is named.
resource "aws_iam_role" "start" {
  name                 = "${var.name}-start-${local.role_ending}"
  path                 = var.role_path
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
        Resource  = "${local.ecs}:task-definition/${var.name}-*:*"
        Condition = { ArnEquals = { "ecs:cluster" = values(local.cluster_arns) } }
      },
      {
        # The task has the tags of its task definition from the beginning.
        Sid       = "TagRun"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = "${local.ecs}:task/*"
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid       = "PassRoles"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = "arn:${local.partition}:iam::${local.account}:role${var.role_path}${var.name}-*-${local.role_ending}"
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

  lifecycle {
    precondition {
      # All else together has 2,000.
      condition     = length(jsonencode(values(local.cluster_arns))) <= local.longest_policy - 2000
      error_message = "These clusters are too many for one IAM policy. Make two stacks of them, each with its own name."
    }
  }
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
  dynamic "placement_constraints" {
    for_each = local.jobs[each.key].placement_constraints
    content {
      type       = placement_constraints.value.type
      expression = placement_constraints.value.expression
    }
  }

  # The new revision is there before the old one goes, so that a start never finds none.
  lifecycle {
    create_before_destroy = true
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
      [for rules in ["arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.name}-*-joined"] : {
        Sid       = "Rules"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.undelivered.arn
        Condition = { ArnLike = { "aws:SourceArn" = rules } }
      } if anytrue([for job in values(local.jobs) : job.event_enabled])],
    )
  })
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297: encrypted by Scheduler's own key unless var.kms_key_arn names another; a schedule holds no secret
  for_each                     = var.clusters
  name                         = local.families[each.key]
  description                  = "Rebalances cluster ${each.key}"
  state                        = local.jobs[each.key].schedule_enabled ? "ENABLED" : "DISABLED"
  schedule_expression          = local.jobs[each.key].schedule_expression
  schedule_expression_timezone = local.jobs[each.key].schedule_timezone
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
      launch_type         = local.jobs[each.key].capacity_provider == null ? local.jobs[each.key].launch_type : null
      platform_version    = local.jobs[each.key].platform_version
      propagate_tags      = "TASK_DEFINITION"
      dynamic "capacity_provider_strategy" {
        for_each = local.jobs[each.key].capacity_provider[*]
        content {
          capacity_provider = capacity_provider_strategy.value
          weight            = 1
        }
      }
      dynamic "network_configuration" {
        for_each = local.jobs[each.key].networks
        content {
          subnets          = network_configuration.value.subnets
          security_groups  = network_configuration.value.security_groups
          assign_public_ip = network_configuration.value.assign_public_ip
        }
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

  lifecycle {
    precondition {
      condition     = !local.jobs[each.key].schedule_enabled || try(each.value.alarm_silence_hours > local.pauses[each.key], true) || local.rates[each.key] == null
      error_message = "alarm_silence_hours of cluster ${each.key} is no more than its schedule's pause, so the alarm would ring between two runs."
    }
  }

  # Nothing starts a run before it has its permissions, or after they are gone.
  depends_on = [aws_iam_role_policy.start, aws_iam_role_policy.execution, aws_iam_role_policy.task, terraform_data.end]
}

resource "aws_cloudwatch_event_rule" "joined" {
  for_each    = { for cluster, settings in var.clusters : cluster => settings if local.jobs[cluster].event_enabled }
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
      version = [{ numeric = ["<=", local.jobs[each.key].event_max_version] }]
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
    launch_type         = local.jobs[each.key].capacity_provider == null ? local.jobs[each.key].launch_type : null
    platform_version    = local.jobs[each.key].platform_version
    propagate_tags      = "TASK_DEFINITION"
    dynamic "capacity_provider_strategy" {
      for_each = local.jobs[each.key].capacity_provider[*]
      content {
        capacity_provider = capacity_provider_strategy.value
        weight            = 1
      }
    }
    dynamic "network_configuration" {
      for_each = local.jobs[each.key].networks
      content {
        subnets          = network_configuration.value.subnets
        security_groups  = network_configuration.value.security_groups
        assign_public_ip = network_configuration.value.assign_public_ip
      }
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

  depends_on = [aws_iam_role_policy.start, aws_iam_role_policy.execution, aws_iam_role_policy.task, terraform_data.end]
}

locals {
  run_commands = { for cluster, job in local.jobs : cluster => join(" ", concat(
    ["aws ecs run-task --region ${local.region} --cluster ${local.cluster_arns[cluster]}"],
    [job.capacity_provider == null ? "--launch-type ${job.launch_type}" : "--capacity-provider-strategy capacityProvider=${coalesce(job.capacity_provider, "-")}"],
    ["--task-definition ${local.families[cluster]} --propagate-tags TASK_DEFINITION"],
    [for network in job.networks : "--network-configuration '${jsonencode({ awsvpcConfiguration = {
      subnets        = network.subnets
      securityGroups = network.security_groups
      assignPublicIp = network.assign_public_ip ? "ENABLED" : "DISABLED"
    } })}'"],
  )) }
  # Ends what runs: each run is told, finishes or undoes its step, and is waited for. A cluster that is gone has no run. The cluster
  # is told by its ARN: in another account, as an AWS CLI with another profile is, that is an error, and not a cluster that is gone.
  list_commands = { for cluster in keys(var.clusters) : cluster => "aws ecs list-tasks --region ${local.region} --cluster ${local.cluster_arns[cluster]} --family ${local.families[cluster]} --query \"taskArns[]\" --output text" }
  end_commands = { for cluster in keys(var.clusters) : cluster => join(" ", [
    "tasks=$(${local.list_commands[cluster]}) || case $(${local.list_commands[cluster]} 2>&1) in *ClusterNotFoundException*) ;; *) exit 1 ;; esac;",
    "for task in $tasks; do aws ecs stop-task --region ${local.region} --cluster ${local.cluster_arns[cluster]} --task $task --query task.taskArn --output text || exit 1; done;",
    "[ -z \"$tasks\" ] || aws ecs wait tasks-stopped --region ${local.region} --cluster ${local.cluster_arns[cluster]} --tasks $tasks",
  ]) }
  dry_run = { containerOverrides = [{ name = local.container, environment = [{ name = "REBALANCER_DRY_RUN", value = "true" }] }] }
}

resource "terraform_data" "run" {
  for_each         = var.run_on_apply ? var.clusters : {}
  triggers_replace = aws_ecs_task_definition.this[each.key].arn
  depends_on       = [aws_iam_role_policy.task, aws_iam_role_policy.execution, terraform_data.end]

  # New roles are not known everywhere at once, so a refusal is tried again. RunTask's call succeeds also where nothing could be
  # placed, and then its answer tells why.
  provisioner "local-exec" {
    command = <<-END
      for attempt in 1 2 3 4 5 6; do
        [ "$attempt" = 1 ] || sleep 10
        told=$(${local.run_commands[each.key]} --query '[tasks[].taskArn, failures[].reason]' --output text 2>&1) &&
          case $told in *:task/*) echo "$told"; exit 0 ;; esac
      done
      echo "no run was started: $told" >&2
      exit 1
    END
  }
}

# Destroyed after what starts runs and before the permissions and the network that they need; and made anew, which ends runs first,
# where a change takes from a run what it needs to finish or undo a step: its role, or what that may.
resource "terraform_data" "end" {
  for_each         = var.end_runs_on_destroy ? var.clusters : {}
  input            = { command = local.end_commands[each.key], networks = local.jobs[each.key].networks }
  triggers_replace = { role = aws_iam_role.task[each.key].arn, acts = local.acts[each.key], steers = local.acts[each.key] && each.value.steer }
  depends_on       = [aws_iam_role_policy.task, aws_iam_role_policy.execution, aws_cloudwatch_log_group.this]

  provisioner "local-exec" {
    when    = destroy
    command = "if command -v aws >/dev/null; then ${self.input.command}; else echo 'There is no AWS CLI here: runs that are under way were not ended.'; fi"
  }
}

# ------------------------------------------------------------------------------------------------------- what watches over it

locals {
  # Two runs may fail to come before their absence is told of, for a schedule's times have a window. What is set for all clusters
  # is for those that pause less.
  silences = { for cluster, settings in local.measured : cluster => coalesce(
    settings.alarm_silence_hours, try(var.alarm_silence_hours > local.pauses[cluster], false) ? var.alarm_silence_hours : null,
    min(168, max(3, ceil(2 * local.pauses[cluster]) + 1)),
  ) }
  # CloudWatch looks back a week at most: a schedule that pauses as long can't be watched so. Of a cron(...) its owner may know more.
  watched = { for cluster, settings in local.measured : cluster => settings if local.jobs[cluster].schedule_enabled && (
    settings.alarm_silence_hours != null || local.silences[cluster] > local.pauses[cluster]
  ) }
  # Each period has a run in it, where the schedule lets it: hours, up to a day.
  alarm_periods = { for cluster in keys(local.measured) : cluster => local.jobs[cluster].schedule_enabled ? min(24, max(1, ceil(local.pauses[cluster]))) : 1 }
  # At least two runs, and no longer than the week that CloudWatch looks back.
  imbalance_periods = { for cluster, settings in local.measured : cluster => local.jobs[cluster].schedule_enabled && local.pauses[cluster] > 24 ? 1 : min(
    floor(168 / local.alarm_periods[cluster]),
    max(2, ceil(coalesce(settings.alarm_imbalance_hours, var.alarm_imbalance_hours) / local.alarm_periods[cluster])),
  ) }
}

# A run that ends before it has measured, or that can't be placed, publishes nothing: only this alarm tells of it. Hours without a
# run count as 0. Before the first run there is nothing to fill up, and the alarm waits.
resource "aws_cloudwatch_metric_alarm" "silent" {
  for_each            = local.watched
  alarm_name          = "${local.families[each.key]}-silent"
  alarm_description   = "No run of ecs-rebalancer on cluster ${each.key} has come to its end for ${local.silences[each.key]} hours. See its log, the queue of undelivered starts, and RunTask in CloudTrail."
  evaluation_periods  = local.silences[each.key]
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "ignore"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "finished"
    label       = "finished runs"
    expression  = "FILL(runs, 0)"
    return_data = true
  }
  metric_query {
    id = "runs"
    metric {
      namespace   = each.value.metric_namespace
      metric_name = "RunDuration"
      dimensions  = { ClusterName = each.key }
      stat        = "SampleCount"
      period      = 3600
    }
  }
}

# Until a run has gone well again.
resource "aws_cloudwatch_metric_alarm" "failing" {
  for_each            = local.measured
  alarm_name          = "${local.families[each.key]}-failing"
  alarm_description   = "The latest run of ecs-rebalancer on cluster ${each.key} failed; its log tells what, and whether a service is left raised."
  namespace           = each.value.metric_namespace
  metric_name         = "RebalanceFailures"
  dimensions          = { ClusterName = each.key }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "ignore"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

# Run after run has left tasks misplaced that by the settings it should have moved. Not where tasks are packed.
resource "aws_cloudwatch_metric_alarm" "imbalanced" {
  for_each            = { for cluster, settings in local.measured : cluster => settings if settings.mode != "consolidate" }
  alarm_name          = "${local.families[each.key]}-imbalanced"
  alarm_description   = "Runs of ecs-rebalancer on cluster ${each.key} leave tasks misplaced that they should have moved. The report in its log tells of each service why."
  namespace           = each.value.metric_namespace
  metric_name         = "MisplacedTasksLeft"
  dimensions          = { ClusterName = each.key }
  statistic           = "Minimum"
  period              = local.alarm_periods[each.key] * 3600
  evaluation_periods  = local.imbalance_periods[each.key]
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "ignore"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = "${var.name}-undelivered"
  alarm_description   = "AWS could not start ecs-rebalancer; the messages in the queue tell why. They keep the alarm up until they are taken away: aws sqs purge-queue --region ${local.region} --queue-url ${aws_sqs_queue.undelivered.id}"
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

locals {
  # CloudWatch shows at most 100 alarms in one widget, and a cluster has three.
  dashboard_clusters = var.dashboard_enabled ? chunklist(keys(local.measured), 30) : []
  # Dashboards belong to the account, not to a Region.
  dashboard_names = [for index in range(length(local.dashboard_clusters)) : "${var.name}-${local.region}${index == 0 ? "" : "-${index + 1}"}"]
  console = lookup(
    { aws-cn = "${local.region}.console.amazonaws.cn", aws-us-gov = "console.amazonaws-us-gov.com" }, local.partition, "${local.region}.console.aws.amazon.com",
  )
  alarm_arns = { for cluster in keys(local.measured) : cluster => [
    for alarms in [aws_cloudwatch_metric_alarm.failing, aws_cloudwatch_metric_alarm.imbalanced, aws_cloudwatch_metric_alarm.silent] :
    "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${alarms[cluster].alarm_name}" if can(alarms[cluster])
  ] }
  # What all metric widgets have. Each period has a run in it, so that a line has no gaps.
  graphs  = { view = "timeSeries", stacked = false, region = local.region }
  periods = { for cluster in keys(local.measured) : cluster => local.alarm_periods[cluster] * 3600 }

  # The problems of all clusters, side by side.
  dashboard_overviews = [for clusters in local.dashboard_clusters : concat(
    [
      { type = "text", width = 24, height = 2, properties = { markdown = join("\n", [
        "# ecs-rebalancer in ${local.region}",
        "Misplaced tasks that a run should have moved, failures and alarms come first. [Alarms](#alarmsV2:) · [Starts that AWS could not deliver](https://${local.console}/sqs/v3/home?region=${local.region}#/queues/${urlencode(aws_sqs_queue.undelivered.id)}) · Each cluster below: ${join(", ", clusters)}",
      ]) } },
    ],
    [for graph in [{ title = "All clusters: misplaced tasks left", metric = "MisplacedTasksLeft", stat = "Minimum" }, { title = "All clusters: failures", metric = "RebalanceFailures", stat = "Sum" }] :
      { type = "metric", width = 8, height = 6, properties = merge(local.graphs, {
        title   = graph.title
        stat    = graph.stat
        period  = max([for cluster in clusters : local.periods[cluster]]...)
        yAxis   = { left = { min = 0, showUnits = false } }
        metrics = [for cluster in clusters : [var.clusters[cluster].metric_namespace, graph.metric, "ClusterName", cluster, { label = cluster }]]
      }) }
    ],
    [
      { type = "alarm", width = 8, height = 6, properties = {
        title  = "All clusters: alarms"
        alarms = concat(flatten([for cluster in clusters : local.alarm_arns[cluster]]), ["arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${aws_cloudwatch_metric_alarm.undelivered.alarm_name}"])
      } },
    ],
  )]

  # One cluster: what is wrong, how uneven it is, what runs did, how large it is, its worst services, its last runs.
  dashboard_sections = { for cluster, settings in local.measured : cluster => concat(
    [
      { type = "text", width = 24, height = 2, properties = { markdown = join("\n", [
        "## ${cluster}",
        "[Cluster](https://${local.console}/ecs/v2/clusters/${cluster}/services?region=${local.region}) · [Log](#logsV2:log-groups/log-group/${replace(aws_cloudwatch_log_group.this[cluster].name, "/", "$252F")}) · ${settings.dry_run ? "Runs are dry runs: nothing is moved." : "Runs move tasks."}",
      ]) } },
    ],
    [for graph in [
      { title = "misplaced tasks", stat = "Maximum", left = ["MisplacedTasksLeft", "MisplacedTasks", "StuckTasks"], right = [], lines = {}, percent = false },
      { title = "failures", stat = "Sum", left = ["RebalanceFailures", "StartsInVain"], right = [], lines = {}, percent = false },
      { title = "load imbalance, %", stat = "Maximum", left = ["LoadImbalance"], right = [], percent = true, lines = {
        for name, value in { REBALANCER_LOAD_THRESHOLD = coalesce(settings.load_threshold, 25) } : name => value if local.levels[cluster]
      } },
      { title = "task imbalance, %, and skew", stat = "Maximum", left = ["TaskImbalance"], right = ["TaskSkew"], percent = true, lines = {
        for name, value in { REBALANCER_THRESHOLD = settings.threshold } : name => value if settings.mode != "consolidate"
      } },
      { title = "what runs did", stat = "Sum", left = ["TasksMoved", "ServicesRebalanced", "ServicesSkipped"], right = [], lines = {}, percent = false },
      { title = "instances, and running tasks", stat = "Maximum", left = ["ContainerInstances", "EmptyInstances"], right = ["RunningTasks"], lines = {}, percent = false },
      { title = "reserved, %", stat = "Maximum", left = ["CPUReservation", "MemoryReservation"], right = [], lines = {}, percent = true },
      { title = "duration of a run, seconds", stat = "Maximum", left = ["RunDuration"], right = [], lines = {}, percent = false },
      ] : { type = "metric", width = 6, height = 6, properties = merge(local.graphs, {
        title       = "${cluster}: ${graph.title}"
        stat        = graph.stat
        period      = local.periods[cluster]
        yAxis       = { left = merge({ min = 0, showUnits = false }, { for key in ["max"] : key => 100 if graph.percent }), right = { min = 0, showUnits = false } }
        annotations = { horizontal = [for name, value in graph.lines : { label = name, value = value }] }
        metrics = concat(
          [for metric in graph.left : [settings.metric_namespace, metric, "ClusterName", cluster]],
          [for metric in graph.right : [settings.metric_namespace, metric, "ClusterName", cluster, { yAxis = "right" }]],
        )
    }) }],
    # Services have metrics only where they are published.
    [for metrics in [settings.metrics] : { type = "metric", width = 12, height = 6, properties = merge(local.graphs, {
      title  = "${cluster}: the ten services with the most misplaced tasks"
      period = local.periods[cluster]
      yAxis  = { left = { min = 0, showUnits = false } }
      metrics = [[{
        id         = "worst"
        label      = ""
        expression = "SORT(SEARCH('{\"${settings.metric_namespace}\",ClusterName,ServiceName} MetricName=\"MisplacedTasks\" ClusterName=\"${cluster}\"', 'Maximum', ${local.periods[cluster]}), MAX, DESC, 10)"
      }]]
    }) } if contains(["imbalanced", "all"], metrics)],
    [
      { type = "log", width = contains(["imbalanced", "all"], settings.metrics) ? 12 : 24, height = 6, properties = {
        title  = "${cluster}: the last runs"
        region = local.region
        view   = "table"
        query = join("\n| ", concat(["SOURCE '${aws_cloudwatch_log_group.this[cluster].name}'"], coalesce(settings.log_format, "json") == "text" ? [
          "fields @timestamp, @message", "sort @timestamp desc", "limit 100",
          ] : [
          "filter message = \"summary\"",
          "fields @timestamp, outcome, outcome_reason, before.misplaced_tasks as misplaced_found, after.misplaced_tasks as misplaced_after, moved, duration_seconds, errors, run_id",
          "sort @timestamp desc", "limit 10",
        ]))
      } },
    ],
  ) }
}

# Nothing has a place of its own: each row is 24 wide, and CloudWatch puts one below the other.
resource "aws_cloudwatch_dashboard" "this" {
  count          = length(local.dashboard_names)
  dashboard_name = local.dashboard_names[count.index]
  dashboard_body = jsonencode({
    start          = "-P7D"
    periodOverride = "inherit"
    widgets        = concat(local.dashboard_overviews[count.index], flatten([for cluster in local.dashboard_clusters[count.index] : local.dashboard_sections[cluster]]))
  })
}

moved {
  from = aws_cloudwatch_dashboard.this
  to   = aws_cloudwatch_dashboard.this[0]
}

# ------------------------------------------------------------------------------------------------------------------ outputs

output "effects" {
  description = "What runs do in each cluster. Check it before you apply: Terraform silently drops a setting whose name it doesn't know, such as dryrun."
  value = { for cluster, settings in var.clusters : cluster => settings.dry_run ? "change nothing" : join(" ", [
    settings.mode == "consolidate" ? "pack tasks" : "spread tasks", "by strategy ${settings.strategy}", settings.steer ? "with steering" : "without steering",
  ]) }
}

output "run" {
  description = "Commands that start a run now, one line for each cluster. `terraform output -raw run` prints it."
  value       = join("\n", concat(values(local.run_commands), [""]))
}

output "dry_run" {
  description = "Commands that start a dry run now, one line for each cluster. `terraform output -raw dry_run` prints it."
  value       = join("\n", concat([for command in values(local.run_commands) : "${command} --overrides '${jsonencode(local.dry_run)}'"], [""]))
}

output "end" {
  description = "Commands that end the runs that are under way, one line for each cluster. They wait until the runs have left every service at its desired count. `terraform output -raw end` prints it."
  # By a shell of its own: one that stops here doesn't close the reader's, and other shells than this split words otherwise.
  value = join("\n", concat([for command in values(local.end_commands) : "sh -c '${command}'"], [""]))
}

output "log_groups" {
  description = "The log group of each cluster. The last line of a run is its summary."
  value       = { for cluster, group in aws_cloudwatch_log_group.this : cluster => group.name }
}

output "undelivered" {
  description = "The queue with the starts that AWS could not deliver."
  value       = aws_sqs_queue.undelivered.id
}

output "dashboards" {
  description = "The addresses of the dashboards, one for each 30 clusters."
  value       = [for name in local.dashboard_names : "https://${local.console}/cloudwatch/home?region=${local.region}#dashboards/dashboard/${name}"]
}
