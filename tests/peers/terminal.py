"""The rehearsal on a terminal: colours there and nowhere else, never with NO_COLOR; a line that says what is waited for; no line of
the report is wider than the terminal, and in a pipe no sentence is broken.

    python terminal.py target/debug/rehearse
"""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios

COLOUR = b"\x1b[3"
SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")

failures = 0


def check(holds, what):
    global failures
    print(f"  {'ok' if holds else 'FAILED'}: {what}")
    failures += not holds


def environment(**more):
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE")}
    return {**plain, "TERM": "xterm-256color", "COLUMNS": "80", **more}


def on_terminal(program, *arguments, columns=80, **more):
    """What the program writes to a terminal of its own."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([program, *arguments], stdin=other, stdout=other, stderr=other, env=environment(**more))
    os.close(other)
    seen = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(main)
    check(process.wait() == 0, f"{arguments} ended well")
    return seen


def piped(program, *arguments, **more):
    return subprocess.run([program, *arguments], capture_output=True, env=environment(**more), check=True).stdout


def fleet():
    """A cluster large enough that the line of progress is drawn more than once."""
    zones = [f"arn:i-{number}" for number in range(60)]
    resources = [{"name": "CPU", "integerValue": 8192}, {"name": "MEMORY", "integerValue": 32768}]
    instances = [
        {"containerInstanceArn": arn, "registeredResources": resources,
         "attributes": [{"name": "ecs.availability-zone", "value": f"us-east-1{'abc'[index % 3]}"}]}
        for index, arn in enumerate(zones)
    ]
    strategy = [{"type": "spread", "field": "instanceId"}]
    services = [{"serviceName": f"svc-{number}", "taskDefinition": f"arn:td/svc-{number}:1", "desiredCount": 30, "createdAt": 1760000000,
                 "placementStrategy": strategy} for number in range(8)]
    services.append({"serviceName": "billing-invoice-pdf-generator-of-the-archive", "launchType": "FARGATE", "desiredCount": 0, "taskDefinition": "arn:td/archive:1"})
    tasks = [{"taskArn": f"arn:t-{service}-{number}", "group": f"service:svc-{service}", "containerInstanceArn": zones[number // 2], "startedAt": 1760000000}
             for service in range(8) for number in range(30)]
    return {"containerInstances": instances, "services": services, "tasks": tasks}


def main(program):
    colourful = on_terminal(program)
    check(COLOUR in colourful, "colours on a terminal")
    check(COLOUR not in on_terminal(program, NO_COLOR="1"), "none with NO_COLOR")
    check(COLOUR not in on_terminal(program, NO_COLOR="1", CLICOLOR_FORCE="1"), "none with NO_COLOR, whatever else is set")
    check(COLOUR not in on_terminal(program, TERM="dumb"), "none on a terminal without any")
    check(b"\x1b" not in piped(program), "none in a pipe")
    check(b"\x1b" not in piped(program, CLICOLOR_FORCE="1"), "none in a pipe, whatever is set")
    for columns in (60, 80, 200):
        for arguments in ([], ["--compare"], ["--fault", "lost-answer=0.05"]):
            shown = SEQUENCE.sub(b"", on_terminal(program, *arguments, columns=columns)).decode()
            longest = max(len(line.rstrip()) for line in re.split("[\r\n]+", shown))
            check(0 < longest <= columns, f"{arguments}: the longest line has {longest} of {columns} columns")
    failed = subprocess.run([program, "--fault", "broken-image=0"], capture_output=True, env=environment(), check=False).stdout
    error = [line for line in failed.splitlines() if line.startswith(b"  error: ")]
    check(len(error) == 1 and error[0].endswith(b"successfully."), "a sentence is one line in a pipe")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(fleet(), file)
        file.flush()
        shown = SEQUENCE.sub(b"", on_terminal(program, file.name, REBALANCER_MAX_MOVES="100"))
        check(b"reading " in shown, "a line says what is read")
        check(re.search(rb"svc-\d: \d+ of \d+ tasks (running|healthy)", shown), "a line says what is waited for")
        for columns in (60, 80, 200):
            shown = on_terminal(program, file.name, columns=columns, REBALANCER_DRY_RUN="true")
            before, report = shown.split(b"Cluster ", 1)
            check(b"reading " not in before or b"\x1b[2K" in before.rsplit(b"reading ", 1)[1], "that line is taken away before the report")
            longest = max(len(line.rstrip()) for line in SEQUENCE.sub(b"", report).decode().splitlines())
            check(0 < longest <= columns, f"a fleet: the longest line has {longest} of {columns} columns")
    sys.exit(failures > 0)


main(*sys.argv[1:])
