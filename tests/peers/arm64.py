"""The image for ARM64, cross-compiled: what is in it, how large it is, and how its binary runs under emulation.

    arm64.py IMAGE EMULATOR SIMULATOR STATES

IMAGE is a folder of the OCI layout; STATES is what `terraform test -json -verbose` printed.
"""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import rendered
from container import check_image, files_of
from socket_and_signals import SPEED, check, finish, simulator

# Of ELF: the processor's number, and a program header that names a loader, which a static binary has none of.
AARCH64 = 183
INTERPRETER = 3


def check_binary(binary):
    """For this processor, and static: the image holds no libc."""
    (machine,) = struct.unpack_from("<H", binary, 18)
    check("the binary's processor", machine, AARCH64)
    (first,) = struct.unpack_from("<Q", binary, 32)
    size, count = struct.unpack_from("<HH", binary, 54)
    kinds = {struct.unpack_from("<I", binary, first + number * size)[0] for number in range(count)}
    check("it names a loader", INTERPRETER in kinds, False)
    print(f"binary: {len(binary):,} bytes")


def main():
    image, emulator, simulator_command, states = sys.argv[1:]
    check_image(image, "arm64")
    binary = files_of(image)["ecs-rebalancer"]
    check_binary(binary)
    settings = rendered.environment(rendered.container(rendered.states(states)["defaults"], "reference"))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "ecs-rebalancer")
        path.write_bytes(binary)
        path.chmod(0o755)
        told = subprocess.run([emulator, path, "--version"], capture_output=True, text=True, check=True).stdout
        check("its name", told.split()[0], "ecs-rebalancer")
        with simulator(os.path.abspath(simulator_command), SPEED) as environment:
            process = subprocess.Popen(
                [emulator, path], env={**environment, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            status, report, log = finish(process)
        if status:
            sys.exit(f"FAILED: a run under emulation ended with status {status}:\n{log}")
        check("outcome of a run", (report["outcome"], report["after"]["misplaced_tasks"]), ("rebalanced", 0))


if __name__ == "__main__":
    main()
