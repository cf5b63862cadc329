"""The image as a registry gets it: what is in it, how large it is, and how it runs, as ECS would have it run by taskdef.json.

    container.py IMAGE SIMULATOR STATES PODMAN...

IMAGE is a folder of the OCI layout; STATES is what `terraform test -json -verbose` printed; PODMAN is the command, with its
options, in whose store the image is.
"""

import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tarfile

import rendered
from socket_and_signals import RUN_SECONDS, SPEED, TERMINATED, check, simulator

# What a registry stores and Fargate pulls.
LARGEST_BYTES = 5_000_000
CONTENT = {
    "ecs-rebalancer",
    "etc/ssl/certs/ca-certificates.crt",
    "licenses/LICENSE",
    "licenses/THIRD-PARTY-NOTICES.txt",
}
LABELS = {"title", "description", "licenses", "version", "revision", "source"}


def blob(image, digest):
    return pathlib.Path(image, "blobs", *digest.split(":"))


def manifest_of(image):
    index = json.loads(pathlib.Path(image, "index.json").read_text())
    return json.loads(blob(image, index["manifests"][0]["digest"]).read_text())


def files_of(image):
    """Each file of the image, by its path."""
    files = {}
    for layer in manifest_of(image)["layers"]:
        with tarfile.open(blob(image, layer["digest"])) as archive:
            files |= {entry.name.removeprefix("./"): archive.extractfile(entry).read() for entry in archive if entry.isfile()}
    return files


def check_image(image, processor):
    """Its processor, its files, its user, its size."""
    manifest = manifest_of(image)
    config = json.loads(blob(image, manifest["config"]["digest"]).read_text())
    check("processor", (config["os"], config["architecture"]), ("linux", processor))
    config = config["config"]
    check("user", config["User"], "65532:65532")
    check("entry point", config["Entrypoint"], ["/ecs-rebalancer"])
    labels = {name.removeprefix("org.opencontainers.image.") for name, value in config["Labels"].items() if value}
    check("labels", LABELS - labels, set())
    check("files", set(files_of(image)), CONTENT)
    size = sum(layer["size"] for layer in manifest["layers"])
    print(f"compressed: {size:,} bytes of {LARGEST_BYTES:,} allowed")
    check("it is small", size <= LARGEST_BYTES, True)
    (told,) = re.findall(r"docker buildx build.*# ([0-9.]+) MB", (pathlib.Path(__file__).parents[2] / "README.md").read_text())
    check(f"it is about as large as README tells, {told} MB", abs(size / 1e6 - float(told)) <= 0.1 * float(told), True)


class Container:
    """Runs the image confined as the rendered task definition says."""

    def __init__(self, podman, definition):
        check("the task definition's root is read-only", definition["readonlyRootFilesystem"], True)
        check("and it drops", definition["linuxParameters"]["capabilities"]["drop"], ["ALL"])
        self.command = [
            *podman, "run", "--rm", "--network", "host", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
            "--security-opt", "no-new-privileges", "--user", definition["user"], "--memory", "512m",
            "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
        ]  # fmt: skip

    def start(self, environment, *options):
        variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
        return subprocess.Popen(
            [*self.command, *options, *variables, "ecs-rebalancer:test"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, environment):
        process = self.start(environment)
        stdout, stderr = process.communicate(timeout=RUN_SECONDS)
        return process.returncode, stdout, stderr


def check_a_wrong_environment(container):
    status, told, _ = container.run({"REBALANCER_CLUSTER": "reference", "REBALANCER_THRESHOLD": "lots"})
    check("exit status of a wrong environment", status, 2)
    check("which it names", "REBALANCER_THRESHOLD" in told, True)


def check_a_run(container, simulator_command, settings):
    with simulator(simulator_command, SPEED) as environment:
        status, stdout, log = container.run({**environment, **settings})
        if status:
            sys.exit(f"FAILED: a run in the container ended with status {status}:\n{log}")
        report = json.loads(stdout.splitlines()[-1])
        check("outcome of a run", report["outcome"], "rebalanced")
        check("misplaced tasks after it", report["after"]["misplaced_tasks"], 0)


def check_an_end(container, podman, simulator_command, settings):
    """As ECS ends it: the binary is the container's first process, which the kernel delivers no unhandled signal to."""
    with simulator(simulator_command, SPEED) as environment:
        process = container.start({**environment, **settings}, "--name", "to-be-ended")
        # Its log begins once it runs.
        process.stderr.readline()
        subprocess.run([*podman, "kill", "--signal", "TERM", "to-be-ended"], check=True, stdout=subprocess.DEVNULL)
        process.communicate(timeout=RUN_SECONDS)
        check("exit status after SIGTERM", process.returncode, TERMINATED)


def main():
    image, simulator_command, states, *podman = sys.argv[1:]
    definition = rendered.container(rendered.states(states)["defaults"], "reference")
    check_image(image, {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])
    container = Container(podman, definition)
    settings = rendered.environment(definition)
    check_a_wrong_environment(container)
    check_a_run(container, os.path.abspath(simulator_command), settings)
    check_an_end(container, podman, os.path.abspath(simulator_command), settings)


if __name__ == "__main__":
    main()
