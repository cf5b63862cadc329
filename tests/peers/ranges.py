"""What the job refuses, Terraform refuses before anything is made; and what the job takes, Terraform takes.

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


def terraform_refuses(text, cases):
    """Of each case, whether `terraform plan` refuses it: a run in one test file each."""
    variables = text[text.index('variable "clusters"') : text.index('data "aws_partition"')]
    runs = []
    for number, settings in enumerate(cases):
        clusters = json.dumps({"prod": settings})
        runs.append(f'run "case_{number}" {{\n  command = plan\n  variables {{\n    clusters = {clusters}\n  }}\n}}\n')
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "tests").mkdir()
        (folder / "variables.tf").write_text(variables)
        given = 'variables {\n  image = "registry.example/job:1"\n  subnets = ["subnet-0a"]\n}\n'
        # After a run that fails, the file's others are skipped: each has its own.
        for number, run in enumerate(runs):
            (folder / "tests" / f"case_{number}.tftest.hcl").write_text(given + run)
        outcome = subprocess.run(
            ["terraform", "test", "-json"], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "TF_CLI_CONFIG_FILE": os.devnull},
        )  # fmt: skip
    found = {}
    for line in outcome.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "test_run" and message["test_run"].get("progress") == "complete":
            found[int(message["test_run"]["run"].removeprefix("case_"))] = message["test_run"]["status"] != "pass"
    if len(found) != len(cases):
        sys.exit(f"FAILED: {len(found)} of {len(cases)} cases were tried:\n{outcome.stdout}\n{outcome.stderr}")
    return found


def main():
    job = os.path.abspath(sys.argv[1])
    text = (pathlib.Path(__file__).parents[2] / "schedule.tf").read_text()
    cases = [({name: value}, {name: as_terraform(name, value)}) for name in offered(text) for value in bounds_and_words(name, job) + WORDS.get(name, [])]
    # A mode needs steering, as the job says as well.
    cases += [(settings, settings) for settings in TOGETHER]
    decided = terraform_refuses(text, [of_terraform for _, of_terraform in cases])
    wrong, refused = [], 0
    for number, (of_job, _) in enumerate(cases):
        says = refusals(job, of_job)
        refused += bool(says)
        if bool(says) != decided[number]:
            wrong.append(f"{of_job}: the job {'refuses' if says else 'takes'} it, Terraform {'refuses' if decided[number] else 'takes'} it")
    if wrong:
        sys.exit("FAILED: " + "\n".join(wrong))
    print(f"ok: of {len(cases)} settings the job refuses {refused}, and Terraform the same")


if __name__ == "__main__":
    main()
