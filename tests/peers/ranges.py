"""What the job refuses, Terraform refuses before anything is made; and what the job takes, Terraform takes. What AWS alone would
refuse, and only when it is applied, Terraform refuses as well, each with one sentence.

    ranges.py JOB

The job itself tells what each variable takes, so a range that changes there is looked for in schedule.tf at once. Just its
variables are tested, in a configuration of their own, so no provider is needed.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zoneinfo

DAY = 86_400
UNITS = {"day": DAY, "days": DAY, "h": 3_600, "m": 60, "s": 1}
# What no bound tells of: by variable, each as the job reads it, and as Terraform does.
WORDS = {
    "include": ["web", "web-*", "a?b", "*", "web shop", "ü", "arn:aws:ecs:us-east-1:111122223333:service/web", "x" * 256],
    "exclude": ["web", "web-*", "*", "**", "?", "web.shop"],
    "metric_namespace": ["Own", "a/b.c_d#e:f-g h", ":own", "AWS/ECS", "AWSome", "own!", "x" * 255, "x" * 256],
    "log": ["info", "DEBUG", "inof", "info,aws_config=debug", "aws_config=debug", "aws_config", "info,"],
    "cooldown": ["10", "1h 30m", "90s", "ten", "-1s", "0s"],
    "task_timeout": ["5", "14m", "15m", "16m"],
    "deadline": ["4m", "5m", "6m", "1d"],
    "threshold": ["2.5", "2.55", "2.555", "-1"],
}
# Whole settings that don't go together.
TOGETHER = [
    {"task_timeout": "30m", "deadline": "29m"},
    {"task_timeout": "30m", "deadline": "31m"},
    {"task_timeout": "2h"},
    {"deadline": "3m"},
    {"mode": "consolidate"},
    {"mode": "consolidate", "steer": True},
    {"mode": "spread", "steer": True},
    {"include": ["web", "api"], "exclude": ["api"]},
    {"include": ["web", "api"], "exclude": ["web-*"]},
]
# What the job never sees: by what it is, the variables, and how Terraform's one sentence begins.
WRONG = {
    "no settings": ({"clusters": {"prod": None}}, "A cluster without settings of its own is written prod = {}"),
    "no settings beside a cluster that has some": ({"clusters": {"other": {"threshold": 5}, "prod": None}}, "A cluster without settings of its own"),
    "no cluster": ({"clusters": {}}, "Name at least one cluster"),
    "a cluster by its ARN": ({"clusters": {"arn:aws:ecs:us-east-1:111122223333:cluster/prod": {}}}, "A cluster is given by its name"),
    "a strategy of tags that is none": ({"clusters": {"prod": {"tag_strategies": ["spot"]}}}, "tag_strategies are of"),
    "a role by its name": ({"clusters": {"prod": {"pass_roles": ["web"]}}}, "pass_roles are ARNs"),
    "recover without a dry run": ({"clusters": {"prod": {"recover": True}}}, "recover goes with dry_run"),
    "a launch type that is none": ({"clusters": {"prod": {"launch_type": "fargate"}}}, "launch_type is FARGATE or EC2"),
    "host on Fargate": ({"clusters": {"prod": {"network_mode": "host"}}}, "launch_type is FARGATE or EC2"),
    "spot capacity with EC2": ({"clusters": {"prod": {"launch_type": "EC2", "capacity_provider": "FARGATE_SPOT"}}}, "capacity_provider is"),
    "another processor": ({"clusters": {"prod": {"architecture": "arm64"}}}, "architecture is ARM64 or X86_64"),
    "no subnets": ({"subnets": []}, "In network mode awsvpc the job needs subnets"),
    "no subnet's id": ({"clusters": {"prod": {"subnets": ["10.0.0.0/24"]}}}, "In network mode awsvpc the job needs subnets"),
    "no group's id": ({"clusters": {"prod": {"security_groups": ["default"]}}}, "security_groups are ids"),
    "an alarm after more than a week": ({"clusters": {"prod": {"alarm_silence_hours": 169}}}, "alarm_silence_hours and alarm_imbalance_hours are"),
    "an event of no change": ({"clusters": {"prod": {"event_max_version": 0}}}, "event_max_version is 1 or more"),
    "an image without a tag": ({"image": "registry.example/job"}, "Name the image with its tag"),
    "a window in half minutes": ({"schedule_window_minutes": 1.5}, "schedule_window_minutes is a whole number"),
    "a retention of 31 days": ({"log_retention_days": 31}, "log_retention_days is a number of days"),
    "a key's alias": ({"kms_key_arn": "alias/mine"}, "kms_key_arn is an ARN"),
    "a path without a slash": ({"role_path": "platform"}, "role_path begins and ends"),
    "a name with a space": ({"name": "my stack"}, "name is 1 to 32"),
    **{
        f"the schedule {expression}": ({"schedule_expression": expression}, "schedule_expression is as rate(30 minutes)")
        for expression in (
            "hourly", "rate(0 minutes)", "rate(5 weeks)", "rate(1.5 hours)", "at(2026-01-01T00:00:00)", "0 3 * * ? *", "cron(0 3 * * ?)",
            "cron(0 3 * * * *)", "cron(0 3 1 * MON *)", "cron(60 3 * * ? *)", "cron(0 24 * * ? *)", "cron(0 3 32 * ? *)", "cron(0 3 * 13 ? *)",
            "cron(0 3 ? * 8 *)", "cron(0 3 ? * 0 *)", "cron(0 3 ? * MO *)", "cron(0 3 * * ? 1969)", "cron(0 3  * * ? *)",
        )
    },
    "a cluster's schedule": ({"clusters": {"prod": {"schedule_expression": "cron(0 3 * * * *)"}}}, "schedule_expression is as rate(30 minutes)"),
    **{
        f"the time zone {zone}": ({"schedule_timezone": zone}, "schedule_timezone is UTC, or an area and a place")
        for zone in ("", "Vienna", "CEST", "PST", "+02:00", "UTC+2", "utc", "Europe/", "Central Europe/Vienna", "Europe/New York")
    },
    "a cluster's time zone": ({"clusters": {"prod": {"schedule_timezone": "Vienna"}}}, "schedule_timezone is UTC, or an area and a place"),
}  # fmt: skip
# What EventBridge Scheduler takes: AWS's own examples among them.
EXPRESSIONS = [
    "rate(1 hour)", "rate(1 hours)", "rate(5 minutes)", "rate(7 days)", "cron(0 10 * * ? *)", "cron(15 12 * * ? *)", "cron(0 18 ? * MON-FRI *)",
    "cron(0 8 1 * ? *)", "cron(0/15 * * * ? *)", "cron(0/10 * ? * MON-FRI *)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0/30 20-2 ? * MON-FRI *)",
    "cron(15 10 ? * 6L 2022-2023)", "cron(0 9 ? * 2#1 *)", "cron(0 9 ? * MON#3 *)", "cron(0 0 L * ? *)", "cron(0 0 3W * ? *)", "cron(0 0 LW * ? *)",
    "cron(0 0,12 */2 JAN,JUL-DEC ? 2026/2)", "cron(30 6 ? 1-6 L *)", "cron(00 03 * * ? *)", "cron(0 3 ? * sun,2-4,SAT *)", "cron(0 3 ? * ? *)",
]  # fmt: skip
# What is no place: the files that say what this computer's own zone is, and that it has none.
NO_ZONES = {"localtime", "Factory"}
# Terraform takes lists and booleans as such.
LISTS = {"include", "exclude"}
# What these take no bound can tell.
TEXTS = {"metric_namespace", "log"} | LISTS
BOOLEANS = {"steer", "dry_run"}
NUMBERS = {"threshold", "load_threshold", "headroom", "surge", "max_moves", "max_services", "parallel"}


def refusals(job, settings):
    """The variables that the job calls wrong, with what it says; one of them always is, so that it never begins."""
    variables = {f"REBALANCER_{name.upper()}": as_text(value) for name, value in settings.items()}
    outcome = subprocess.run(
        [job], env={"REBALANCER_CLUSTER": "no cluster", "REBALANCER_LOG_FORMAT": "json", **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = outcome.stdout + outcome.stderr
    if outcome.returncode != 2 or "REBALANCER_CLUSTER" not in said:
        sys.exit(f"FAILED: {variables}: the job gave {outcome.returncode}: {said}")
    return {name: said for name in settings if re.search(rf"REBALANCER_{name.upper()}\b", said)}


def as_text(value):
    return ",".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


def seconds(text):
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(days?|h|m|s)", text))


def bounds_and_words(name, job):
    """Values at, just within and just beyond what the job says that a variable takes."""
    if name in TEXTS:
        return []
    said = refusals(job, {name: "!"})[name]
    said = re.search(r"it takes (.*?)(?:[\"\n]|$)", said[said.index(f"REBALANCER_{name.upper()}") :]).group(1)
    if found := re.search(r"a whole number from (\d+) to (\d+)", said):
        least, most = map(int, found.groups())
        return [str(value) for value in (least - 1, least, most, most + 1)] + [f"{least}.5"]
    if found := re.search(r"a duration from (.+?) to (.+?), as", said):
        least, most = map(seconds, found.groups())
        return [f"{value}s" for value in (least - 1, least, most, most + 1) if value >= 0]
    if "a number from 0 to 100" in said:
        return ["-0.01", "0", "100", "100.01", "50.5"]
    if found := re.match(r"((?:[a-z]+, )*[a-z]+ or [a-z]+)", said):
        return re.split(r", | or ", found.group(1)) + ["other"]
    sys.exit(f"FAILED: {name}: what the job takes can't be read: {said}")


def as_terraform(name, text):
    if name in LISTS:
        return text.split(",")
    if name in BOOLEANS:
        return {"true": True, "false": False}.get(text, text)
    return float(text) if name in NUMBERS else text


def offered(text):
    """The job's settings that schedule.tf offers: the first block of the object."""
    block = text.split("type = map(object({\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^ +(\w+) +=", block, re.MULTILINE)


def terraform_says(text, cases):
    """Of each case, which is variables, the errors of `terraform plan`: a run in one test file each."""
    variables = text[text.index("locals {") : text.index('data "aws_partition"')]
    runs = []
    for number, given in enumerate(cases):
        lines = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in given.items())
        runs.append(f'run "case_{number}" {{\n  command = plan\n  variables {{\n{lines}\n  }}\n}}\n')
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "tests").mkdir()
        (folder / "variables.tf").write_text(variables)
        given = 'variables {\n  clusters = { prod = {} }\n  image = "registry.example/job:1"\n  subnets = ["subnet-0a"]\n}\n'
        # After a run that fails, the file's others are skipped: each has its own.
        for number, run in enumerate(runs):
            (folder / "tests" / f"case_{number}.tftest.hcl").write_text(given + run)
        outcome = subprocess.run(
            ["terraform", "test", "-json"], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull},
        )  # fmt: skip
    ended, errors = {}, {number: [] for number in range(len(cases))}
    for line in outcome.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "test_run" and message["test_run"].get("progress") == "complete":
            ended[int(message["test_run"]["run"].removeprefix("case_"))] = message["test_run"]["status"] == "pass"
        elif message["type"] == "diagnostic" and message["diagnostic"]["severity"] == "error":
            errors[int(message["@testrun"].removeprefix("case_"))].append(message["diagnostic"]["detail"])
    if len(ended) != len(cases) or any(passed == bool(errors[number]) for number, passed in ended.items()):
        sys.exit(f"FAILED: {len(ended)} of {len(cases)} cases were tried:\n{outcome.stdout}\n{outcome.stderr}")
    return errors


def main():
    job = os.path.abspath(sys.argv[1])
    text = (pathlib.Path(__file__).parents[2] / "schedule.tf").read_text()
    cases = [({name: value}, {name: as_terraform(name, value)}) for name in offered(text) for value in bounds_and_words(name, job) + WORDS.get(name, [])]
    cases += [(settings, settings) for settings in TOGETHER]
    zones = sorted(zoneinfo.available_timezones() - NO_ZONES)
    right = [
        {"clusters": {zone.replace("/", "-").replace("+", "_"): {"schedule_timezone": zone} for zone in zones}},
        {"clusters": {f"at-{number}": {"schedule_expression": expression} for number, expression in enumerate(EXPRESSIONS)}},
        *({"schedule_expression": expression} for expression in EXPRESSIONS),
    ]
    said = terraform_says(text, [{"clusters": {"prod": of_terraform}} for _, of_terraform in cases] + [given for given, _ in WRONG.values()] + right)
    wrong, refused = [], 0
    for number, (of_job, _) in enumerate(cases):
        says = refusals(job, of_job)
        refused += bool(says)
        if bool(says) != bool(said[number]):
            wrong.append(f"{of_job}: the job {'refuses' if says else 'takes'} it, Terraform {'refuses' if said[number] else 'takes'} it")
    for number, (what, (_, sentence)) in enumerate(WRONG.items(), len(cases)):
        if len(said[number]) != 1 or not said[number][0].startswith(sentence):
            wrong.append(f"{what}: Terraform has {len(said[number])} errors, not one that begins {sentence!r}: {said[number]}")
    for number, given in enumerate(right, len(cases) + len(WRONG)):
        if said[number]:
            wrong.append(f"{given}: Terraform refuses it: {said[number]}")
    if wrong:
        sys.exit("FAILED: " + "\n".join(wrong))
    print(f"ok: of {len(cases)} settings the job refuses {refused}, and Terraform the same")
    print(f"ok: of {len(WRONG)} that AWS alone would refuse, Terraform refuses each with one sentence")
    print(f"ok: Terraform takes {len(zones)} time zones and {len(EXPRESSIONS)} expressions")


if __name__ == "__main__":
    main()
