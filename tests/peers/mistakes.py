"""What Terraform's check against today's schema must find: schedule.tf with one mistake each, in a copy.

    mistakes.py

The environment is the one that `terraform validate` itself is run in.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

# What is wrong, the line that is right, what stands there instead, and what Terraform must say of it.
MISTAKES = [
    ("nothing", "", "", None),
    ("a misspelt argument", "maximum_retry_attempts ", "maximum_retry_attemps ", "An argument named"),
    ("a misspelt block", "flexible_time_window {", "flexible_window {", "Blocks of type"),
    ("a missing required argument", "task_definition_arn = aws_ecs_task_definition.this[each.key].arn\n", "\n", "Missing required argument"),
    ("a wrong type", "evaluation_periods  = local.silences[each.key]", 'evaluation_periods  = "three"', "Incorrect attribute value type"),
    ("an unknown attribute", "aws_sqs_queue.undelivered.arn", "aws_sqs_queue.undelivered.arm", "Unsupported attribute"),
    ("a value that AWS decides", "message_retention_seconds = 1209600", 'arn = "arn:aws:sqs:::mine"', "unconfigurable"),
]


def main():
    project = pathlib.Path(__file__).parents[2]
    right = (project / "schedule.tf").read_text()
    for what, line, instead, told in MISTAKES:
        if line not in right:
            sys.exit(f"FAILED: {what}: {line!r} is not in schedule.tf")
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "schedule.tf").write_text(right.replace(line, instead, 1) if line else right)
            shutil.copy(project / "taskdef.json", folder)
            outcome = subprocess.run(
                ["terraform", "validate", "-no-color"], cwd=folder, capture_output=True, text=True, check=False
            )
        said = " ".join((outcome.stdout + outcome.stderr).split())
        if (outcome.returncode == 0) != (told is None) or (told or "") not in said:
            sys.exit(f"FAILED: {what}: terraform validate gave {outcome.returncode}, expected {told!r}: {said}")
        print(f"ok: {what}: {told or 'valid'}", flush=True)


if __name__ == "__main__":
    main()
