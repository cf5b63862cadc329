"""How one program's run is measured: time, memory, first request, instructions. Each on a simulator of its own, whose buckets
are full."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

# Nothing of whoever starts the bench reaches what is measured, save where programs are.
CLEAN = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
LAUNCH = str(pathlib.Path(__file__).with_name("launch.py"))
# The bundle by name, as in the image: no folder of authorities is searched.
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LONGEST_SECONDS = 120


@contextlib.contextmanager
def simulator(command, *arguments):
    """The environment for clients of a simulator on a free port."""
    process = subprocess.Popen([command, "--listen", "127.0.0.1:0", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        environment = {**CLEAN, "SSL_CERT_FILE": BUNDLE}
        while "AWS_EC2_METADATA_DISABLED" not in environment:
            line = process.stdout.readline()
            if not line:
                sys.exit("the simulator ended before it was ready")
            if line.startswith("export "):
                environment.update(word.split("=", 1) for word in line.split()[1:])
        # boto3 has its own name for it.
        yield {**environment, "AWS_DEFAULT_REGION": environment["AWS_REGION"]}
    finally:
        process.kill()
        process.wait()


def run(command, environment):
    """Wall time and CPU time in seconds, peak memory in MB (10^6 bytes), and the last line of what it prints, read as JSON."""
    with tempfile.NamedTemporaryFile(mode="r") as used:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", LAUNCH, used.name, *command],
            env=environment, capture_output=True, timeout=LONGEST_SECONDS,
        )  # fmt: skip
        if ended.returncode:
            sys.exit(f"{command[0]} ended with status {ended.returncode}:\n{ended.stderr.decode()}")
        wall, cpu, kibibytes = map(float, used.read().split())
    return {"wall": wall, "cpu": cpu, "memory": kibibytes * 1024 / 1e6, "told": json.loads(ended.stdout.splitlines()[-1])}


def first_request(command, environment):
    """Seconds from exec until the first byte of a request is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONGEST_SECONDS)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env={**environment, "AWS_ENDPOINT_URL": endpoint}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(LONGEST_SECONDS)
                if not connection.recv(1):
                    sys.exit(f"{command[0]} connected and sent nothing")
                return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


def instructions(command, environment, longest_seconds=LONGEST_SECONDS):
    """Instructions that a run executes, as callgrind counts them; under it a run takes some fifty times as long."""
    counted = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        env=environment, capture_output=True, text=True, timeout=longest_seconds,
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", counted.stderr)
    if counted.returncode or not found:
        sys.exit(f"callgrind ended with status {counted.returncode}:\n{counted.stderr}")
    return int(found[1])
