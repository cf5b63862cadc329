"""What Terraform has the AWS CLI do for whoever applies and destroys: a run after a change, and the end of the runs under way.

    terraforms_commands.py

Terraform and a shell are the real ones. A program in the AWS CLI's place answers as that does, and writes down what it was asked.
The environment names the provider, of which only the schema is used.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).parents[2]
ACCOUNT = "arn:aws:ecs:us-east-1:111122223333"
# By case: the variables, applied one after the other; what the AWS CLI does, asked for $1 $2 the $number-th time, or None where
# there is none; whether all goes well; what Terraform says; what was asked of the AWS CLI, in short.
CASES = {
    "a new role is not known at first, then the cluster is full, then there is capacity; two runs are ended": (
        ['clusters = { prod = {} }\n run_on_apply = true'],
        f"""case $2-$number in
            run-task-1) echo "AccessDeniedException: not yet" >&2; exit 254 ;;
            run-task-2) echo "RESOURCE:MEMORY" ;;
            run-task-3) echo "{ACCOUNT}:task/prod/1" ;;
            list-tasks-*) echo "{ACCOUNT}:task/prod/1	{ACCOUNT}:task/prod/2" ;;
        esac""",
        True,
        "",
        ["run-task prod", "run-task prod", "run-task prod", "list-tasks prod", "stop-task prod 1", "stop-task prod 2", "wait prod 1 2"],
    ),
    "nothing can be placed": (
        ['clusters = { prod = {} }\n run_on_apply = true\n end_runs_on_destroy = false'],
        'echo "RESOURCE:MEMORY"',
        False,
        "no run was started: RESOURCE:MEMORY",
        ["run-task prod"] * 6,
    ),
    "no run is under way, and another cluster is gone": (
        ["clusters = { gone = {}, idle = {} }"],
        'case $* in *cluster/gone*) echo "ClusterNotFoundException: it is gone" >&2; exit 254 ;; esac',
        True,
        "",
        ["list-tasks gone", "list-tasks gone", "list-tasks idle"],
    ),
    "the AWS CLI is another account's": (
        ["clusters = { prod = {} }"],
        'echo "InvalidParameterException: Identifier is for 111122223333. Your accountId is 444455556666" >&2; exit 254',
        False,
        'aws_iam_role_policy.task["prod"]',
        ["list-tasks prod", "list-tasks prod"],
    ),
    "a run may not be ended": (
        ["clusters = { prod = {} }"],
        f"""case $2 in list-tasks) echo "{ACCOUNT}:task/prod/1" ;; *) echo "AccessDeniedException" >&2; exit 254 ;; esac""",
        False,
        'aws_iam_role_policy.task["prod"]',
        ["list-tasks prod", "stop-task prod 1"],
    ),
    "the brake ends a run first; with recover, and once it is on, there is nothing to end": (
        [
            "clusters = { at-once = {}, later = {} }",
            "clusters = { at-once = { dry_run = true }, later = { dry_run = true, recover = true } }",
            "clusters = { at-once = { dry_run = true, threshold = 5 }, later = { dry_run = true, recover = true } }",
        ],
        f"""case $2-$number-$* in
            list-tasks-1-*cluster/at-once*) echo "{ACCOUNT}:task/at-once/1" ;;
        esac""",
        True,
        "",
        # The last of each is the test's own end.
        ["list-tasks at-once", "stop-task at-once 1", "wait at-once 1", "list-tasks at-once", "list-tasks later"],
    ),
    "there is no AWS CLI": (["clusters = { prod = {} }"], None, True, "", []),
}


def in_short(line):
    """The operation, the cluster that its ARN names, and the tasks."""
    words = line.split()
    cluster = words[words.index("--cluster") + 1]
    if not cluster.startswith(f"{ACCOUNT}:cluster/"):
        sys.exit(f"FAILED: {line}: the cluster is not told by its ARN")
    tasks = [word.rsplit("/", 1)[1] for word in words if ":task/" in word]
    return " ".join([words[1], cluster.rsplit("/", 1)[1], *tasks])


def program(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def play(what):
    variables, answers, is_well, told, asked = CASES[what]
    rendered = (PROJECT / "tests/terraform/rendered.tftest.hcl").read_text()
    mocks = rendered[: rendered.index("\nvariables {")]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        programs, calls = folder / "programs", folder / "calls"
        programs.mkdir()
        (folder / "tests").mkdir()
        for file in ("schedule.tf", "taskdef.json"):
            shutil.copy(PROJECT / file, folder)
        image = 'image = "registry.example/job:1"\n subnets = ["subnet-0a"]'
        runs = [f'run "played_{number}" {{\n variables {{\n {image}\n {of_one}\n }}\n}}\n' for number, of_one in enumerate(variables)]
        (folder / "tests/played.tftest.hcl").write_text("\n".join([mocks, *runs]))
        # Without the real AWS CLI, wherever that is; and nobody waits.
        path = [it for it in os.environ["PATH"].split(":") if not pathlib.Path(it, "aws").exists() or pathlib.Path(it, "terraform").exists()]
        program(programs, "sleep", "")
        if answers is not None:
            program(programs, "aws", f'echo "$*" >>{calls}\nnumber=$(grep -c -- "^$1 $2 " {calls})\n{answers}')
        outcome = subprocess.run(
            ["terraform", "test", "-no-color"], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PATH": ":".join([str(programs), *path])},
        )  # fmt: skip
        said = outcome.stdout + outcome.stderr
        found = [in_short(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    # Clusters are gone through side by side, each in its own order.
    by_cluster = lambda call: call.split()[1]  # noqa: E731
    if (outcome.returncode == 0, sorted(found, key=by_cluster)) != (is_well, sorted(asked, key=by_cluster)) or told not in re.sub(r"\n│? *", "\n", said):
        sys.exit(f"FAILED: {what}: {found}, expected {asked}: Terraform ended with {outcome.returncode}:\n{said}")
    return f"ok: {what}: {', '.join(found) or 'nothing asked'}"


def main():
    with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
        for told in pool.map(play, CASES):
            print(told, flush=True)


if __name__ == "__main__":
    main()
