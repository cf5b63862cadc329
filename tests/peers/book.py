"""Runs the examples of the book's page about the simulator, each on a simulator of its own, and compares what they print.

    pip install boto3 awscli
    python tests/peers/book.py target/debug/ecs-simulator docs/src/simulator.md

An example is a block of Python or shell between two marks, followed by a block of what it prints.
"""

import os
import pathlib
import re
import subprocess
import sys

EXAMPLE = re.compile(r"<!-- (\w+) -->\n```(python|sh)\n(.*?)```\n\n```text\n(.*?)```\n<!-- end of \1 -->", re.DOTALL)
SHELLS = {"python": [sys.executable, "-c"], "sh": ["sh", "-euc"]}


def run(simulator, language, code):
    """What the code prints, on a cluster that is a minute older each second."""
    server = subprocess.Popen([simulator, "--listen", "127.0.0.1:0", "--speed", "60"], stdout=subprocess.PIPE, text=True)
    environment = dict(os.environ)
    try:
        while "DISABLED" not in (line := server.stdout.readline()):
            assert line, "the simulator ended before it was ready"
            if line.startswith("export "):
                environment.update(word.split("=", 1) for word in line.split()[1:])
        environment["AWS_DEFAULT_REGION"] = environment["AWS_REGION"]
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
        return subprocess.run([*SHELLS[language], code], env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True).stdout
    finally:
        server.kill()


def main(simulator, page):
    examples = EXAMPLE.findall(pathlib.Path(page).read_text())
    assert len(examples) >= 2, f"{page} has {len(examples)} examples"
    failed = False
    for name, language, code, expected in examples:
        printed = run(simulator, language, code)
        failed |= printed != expected
        print(f"{name}: {'ok' if printed == expected else f'FAILED: printed{chr(10)}{printed}'}")
    sys.exit(failed)


main(*sys.argv[1:])
