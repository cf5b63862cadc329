"""Every command that README, the book and the examples tell their reader to run. Each block of commands is run by a shell in a
folder of its own, on a simulator, with stand-ins for what would build, push or apply.

    pages_commands.py TARGET_FOLDER

The job, the rehearsal, the simulator and the AWS CLI are the real ones. A call of the CLI that the simulator doesn't model is
parsed by the CLI alone, up to where it would connect. Of `terraform`, the subcommand and its options must be among those that its
own help lists. `docker`, `cosign`, `gh` and `curl` are only named. Terraform's blocks are read by `terraform fmt`.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/src/*.md")), *sorted(ROOT.glob("examples/*/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Between marks the tests write, or another check runs what stands there.
MARKED = re.compile(r"<!-- ([\w ]+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
PROGRAMS = {"cargo", "ecs-rebalancer", "ecs-simulator", "aws", "terraform", "docker", "mdbook", "envsubst"}
# What stands for something of the reader's own.
OWN = {"CLUSTER=prod": "CLUSTER=reference", "--cluster CLUSTER": "--cluster reference", "-CLUSTER": "-reference", "localhost:8080": "localhost:0"}

STAND_INS = {
    "cargo": """case $1 in
  run) case "$*" in *ecs-simulator*) shift 4; exec timeout --preserve-status 1 "$TARGET/ecs-simulator" "$@" ;; *) exec "$TARGET/ecs-rebalancer" ;; esac ;;
  rehearse) shift; exec "$TARGET/rehearse" "$@" ;;
  conformance) case "$*" in *--account*) "$TARGET/examples/conformance" --help | grep -q -- --output ;; *) exec "$TARGET/examples/conformance" --help ;; esac; echo '{}' >findings.json ;;
  test|doc|fmt|clippy) ;;
  *) echo "cargo $1 is not known here" >&2; exit 1 ;;
esac""",
    "ecs-rebalancer": 'exec "$TARGET/ecs-rebalancer" "$@"',
    # Calls that the simulator models are made; the others get as far as the connection.
    "aws": """case "$1 $2" in "logs tail") exit ;; esac  # version 2's own
"$AWS" "$@" && exit
told=$(AWS_ENDPOINT_URL=http://127.0.0.1:9 AWS_MAX_ATTEMPTS=1 "$AWS" "$@" 2>&1 >/dev/null) || true
case $told in *"Could not connect"*|*"Unable to locate"*) echo made-up ;; *) echo "aws $*: $told" >&2; exit 1 ;; esac""",
    "terraform": """while [ "${1#-chdir=}" != "$1" ]; do [ -d "$PROJECT/${1#-chdir=}" ] || exit 1; shift; done
"$TERRAFORM" "$1" -help >/dev/null || exit 1
# `destroy` and `apply` take the options of `plan`, which their own help leaves out.
help=$(for command in "$1" apply plan; do "$TERRAFORM" "$command" -help; done)
for word in "${@:2}"; do
  case $word in -*) name=${word%%=*}; grep -q -- "^ *$name\\\\b" <<<"$help" || { echo "terraform $1 has no $name" >&2; exit 1; } ;; esac
done
if [ "$1" = output ] && [ "${@: -1}" != output ] && [ "${3-}" ]; then
  grep -qsE "^output \\"${@: -1}\\"" "$PROJECT"/schedule.tf "$PROJECT"/examples/*/main.tf || { echo "there is no output ${@: -1}" >&2; exit 1; }
fi
if [ "$1" = output ]; then case "$*" in *-json*) echo '{}' ;; *) echo : ;; esac; fi""",
    "docker": 'case "$1 $2" in "login "*) cat >/dev/null ;; "buildx build"|"buildx imagetools") ;; *) exit 1 ;; esac',
    "cosign": '[ "$1" = verify ]',
    "gh": '[ "$1 $2" = "attestation verify" ]',
    "curl": "echo 192.0.2.1",
    "sleep": ":",
}


def commands(page):
    """The blocks of a page that hold commands, with the line that each begins at."""
    text = page.read_text()
    text = MARKED.sub(lambda found: "\n" * found.group().count("\n"), text)
    for found in BLOCK.finditer(text):
        language, body = found.groups()
        line = text[: found.start()].count("\n") + 2
        first = [re.sub(r"^(export )?(\w+=('[^']*'|\S*) ?)*", "", it).split(" ") for it in body.splitlines()]
        is_command = language in ("", "sh", "bash") and any(words[0] in PROGRAMS for words in first)
        if is_command or language == "hcl":
            yield line, language, body
    # Those within a sentence, each by itself.
    text = BLOCK.sub(lambda found: "\n" * found.group().count("\n"), text)
    for found in re.finditer(r"`((?:aws|terraform|cargo|sh -c|eval) [^`]+)`", text):
        # The bare name of an operation is no command.
        if "..." not in found[1] and ("aws " not in found[1] or " --" in found[1]):
            yield text[: found.start()].count("\n") + 1, "", found[1] + "\n"


def run(body, folder, environment):
    for word, instead in OWN.items():
        body = body.replace(word, instead)
    return subprocess.run(["bash", "-euo", "pipefail", "-c", body], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)


def prepared(folder, address, target):
    """A folder with the stand-ins, and what the blocks find there; the environment of a reader who has a profile."""
    programs = folder / "programs"
    programs.mkdir()
    for name, body in STAND_INS.items():
        path = programs / name
        path.write_text(f"#!/usr/bin/env bash\nset -uo pipefail\n{body}\n")
        path.chmod(0o755)
    (folder / "config").write_text("[default]\n[profile prod]\naws_access_key_id = simulated\naws_secret_access_key = simulated\n")
    for name in ("taskdef.json", "schedule.tf"):
        shutil.copy(ROOT / name, folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REBALANCER_", "TF_"))}
    return environment | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "AWS": shutil.which("aws"),
        "TERRAFORM": shutil.which("terraform"),
        "TARGET": str(target),
        "PROJECT": str(ROOT),
        "AWS_ENDPOINT_URL": address,
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "simulated",
        "AWS_SECRET_ACCESS_KEY": "simulated",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TF_CLI_CONFIG_FILE": "/dev/null",
        "CHECKPOINT_DISABLE": "1",
    }


def served(target):
    """A simulator of its own for a block: what one changes, the next doesn't see."""
    server = subprocess.Popen([target / "ecs-simulator", "--listen", "127.0.0.1:0", "--speed", "60"], stdout=subprocess.PIPE, text=True)
    for line in server.stdout:
        if line.startswith("export AWS_ENDPOINT_URL="):
            return server, line.strip().split("=", 1)[1]
    sys.exit("FAILED: the simulator ended before it was ready")


def main(target):
    target = pathlib.Path(target).resolve()
    failed = number = 0
    for page in PAGES:
        for line, language, body in commands(page):
            where = f"{page.relative_to(ROOT)}:{line}"
            number += 1
            if language == "hcl":
                done = subprocess.run(["terraform", "fmt", "-"], input=body, capture_output=True, text=True, check=False)
            else:
                server, address = served(target)
                with tempfile.TemporaryDirectory() as name:
                    folder = pathlib.Path(name)
                    environment = prepared(folder, address, target)
                    # What an earlier block of the reader's has left, where this one begins with it.
                    if "prod.json" in body and "SNAPSHOT=prod.json" not in body:
                        run("REBALANCER_CLUSTER=prod REBALANCER_DRY_RUN=true REBALANCER_SNAPSHOT=prod.json ecs-rebalancer", folder, environment)
                    (folder / "findings.json").write_text('{"behaviours": {}, "faults": {}}')
                    done = run(body, folder, environment | ({} if "REBALANCER_CLUSTER" in body else {"REBALANCER_CLUSTER": "reference"}))
                server.kill()
                server.wait()
            print(f"{'ok' if done.returncode == 0 else 'FAILED'}: {where}", flush=True)
            if done.returncode:
                failed += 1
                print(f"{body}ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"{number} blocks of commands")
    sys.exit(failed > 0 or number < 15)


main(*sys.argv[1:])
