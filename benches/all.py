"""The job beside what a user would take instead, in one table: `cargo bench-all`.

    cargo bench-all                   # some ten minutes, most of them building
    cargo bench-all --short           # the counts that CI holds, and the ratios once
    cargo bench-all --image FOLDER    # the binary of an image that is built (OCI layout), and its size

Needs boto3 and valgrind. UPDATE_EXPECT=1 writes the counts, and the table in benches/README.md, anew.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile

import quota
from bound import rebalancing_seconds
from measured import CLEAN, first_request, instructions, run, simulator
from table import ROOT, Table

SIMULATOR, REHEARSE = ROOT / "target/debug/ecs-simulator", ROOT / "target/debug/rehearse"
PRODUCTION = ROOT / "../shared/data/production.json"
BOTO3 = [sys.executable, str(ROOT / "benches/peers/read_and_count.py")]
LIFTED = {"MAX_MOVES": "1000", "MAX_SERVICES": "100", "DEADLINE": "2h", "THRESHOLD": "0", "LOAD_THRESHOLD": "100"}
# Rehearsals of which the median is told.
TIMED_SEEDS = 9
# What is planned, which of benches/plan.rs that is, on which clusters, and how many milliseconds it may take.
PLANNING = [
    ("measured", "fleet/measure", ("10", "1000", "5000", "production"), None),
    ("50 moves of spread", "fleet/plan", ("1000", "5000", "production"), 2000),
    ("50 moves of machines", "machines/one-run", ("1000", "5000", "production"), 2000),
    ("50 moves of consolidate", "consolidate/one-run", ("1000", "5000", "production"), 2000),
    ("all moves of spread", "fleet/spread-unlimited", ("production",), 10),
    ("all moves of spread, steered", "fleet/steered-unlimited", ("production",), 10),
    ("all moves of spread and of levelling without steering", "fleet/levelled-unlimited", ("production",), 10),
    ("all moves of machines", "machines/unlimited", ("production",), 10),
    ("all moves of consolidate", "consolidate/unlimited", ("production",), 10),
]
# Fleets as benches/growth.rs draws them, and by how much more than in proportion a larger one may cost.
GROWTH = {
    ("spread", "wide"): 1.3,
    ("spread", "uniform"): 1.3,
    ("steered", "wide"): 1.3,
    ("levelled", "idle"): 1.3,
    ("machines", "wide"): 1.3,
    ("consolidate", "wide"): 1.3,
}
GROWTH_SIZES = (1_000, 5_000)
# So many moves are to be planned in two seconds on the largest of these.
MANY_MOVES, MOST_MILLISECONDS = 10_000, 2_000
LONGEST_PLAN_SECONDS = 1_800
# A registry's megabytes and Fargate's are a million bytes.
MB = 1e6


def cargo(*arguments, **environment):
    subprocess.run(["cargo", *arguments], cwd=ROOT, env={**os.environ, **environment}, check=True)


def built_job():
    """The binary as the Dockerfile builds it."""
    text = (ROOT / "Dockerfile").read_text()
    told = dict(re.findall(r'^ENV (\w+)="?(.*?)"?$', text, re.MULTILINE))
    target = f"{os.uname().machine}-unknown-linux-gnu"
    cargo(
        "build", "--release", "--locked", "--no-default-features",
        "--bin", "ecs-rebalancer", "--target", target, RUSTFLAGS=told["RUSTFLAGS"],
    )  # fmt: skip
    return ROOT / "target" / target / "release" / "ecs-rebalancer"


def image_job(image, folder):
    """The binary out of an image, and the size of what a registry stores."""
    blob = lambda digest: image.joinpath("blobs", *digest.split(":"))  # noqa: E731
    index = json.loads((image / "index.json").read_text())
    layers = json.loads(blob(index["manifests"][0]["digest"]).read_text())["layers"]
    for layer in layers:
        with tarfile.open(blob(layer["digest"])) as archive:
            for entry in archive:
                if entry.name.removeprefix("./") == "ecs-rebalancer":
                    job = pathlib.Path(folder, "ecs-rebalancer")
                    job.write_bytes(archive.extractfile(entry).read())
                    job.chmod(0o755)
    return job, sum(layer["size"] for layer in layers)


def measuring(environment, cluster):
    """The job's environment for a run that measures, publishes and moves nothing; boto3's script reads CLUSTER. It doesn't plan
    to level the load, for which it would read the task definition of each service."""
    ours = {"REBALANCER_CLUSTER": cluster, "REBALANCER_DRY_RUN": "true", "REBALANCER_LOG_FORMAT": "json", "REBALANCER_LOAD_THRESHOLD": "100"}
    return {**environment, **ours, "CLUSTER": cluster}


def pairs(job, cluster, snapshot, number):
    """Runs of the job and of boto3's script, one after the other; the medians."""
    ours, theirs = [], []
    for _ in range(number):
        for command, runs in (([str(job)], ours), (BOTO3, theirs)):
            with simulator(SIMULATOR, *snapshot) as environment:
                runs.append(run(command, measuring(environment, cluster)))
    median = lambda runs, what: statistics.median(run[what] for run in runs)  # noqa: E731
    figures = {what: (median(ours, what), median(theirs, what)) for what in ("wall", "cpu", "memory")}
    return figures, ours[0]["told"], theirs[0]["told"]


def check_agree(cluster, report, counted):
    """Who measures something else is no peer."""
    before = report["before"]
    ours = (before["misplaced_tasks"], round(before["load_imbalance_percent"], 1), before["running_tasks"])
    theirs = (counted["MisplacedTasks"], round(counted["LoadImbalance"], 1), counted["RunningTasks"])
    if ours != theirs:
        sys.exit(f"{cluster}: the job found {ours}, and boto3's script {theirs}")


def rehearsed(snapshot, *options, **settings):
    """The report of a rehearsal with all limits lifted."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        environment = {**CLEAN, **{f"REBALANCER_{name}": value for name, value in {**LIFTED, **settings}.items()}}
        command = [str(REHEARSE), *snapshot, *options, "--report", file.name]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(pathlib.Path(file.name).read_text())


def add_measuring(table, job, cluster, snapshot, number):
    figures, report, counted = pairs(job, cluster, snapshot, number)
    check_agree(cluster, report, counted)
    (wall, wall_of_boto3), (cpu, cpu_of_boto3), (memory, memory_of_boto3) = figures.values()
    is_small = not snapshot
    table.row(f"{cluster}: measured and published, ms", wall * 1000, wall_of_boto3 * 1000)
    ratio = wall / wall_of_boto3
    table.row("- to boto3's", ratio, allowed="1/20", most=1 / 20, fails=is_small)
    table.row("- CPU time, ms", cpu * 1000, cpu_of_boto3 * 1000)
    table.row("- peak memory, MB", memory, memory_of_boto3, allowed="25", most=25, fails=True)
    table.row("- to boto3's", memory / memory_of_boto3, allowed="1/5", most=1 / 5)
    requests = report["requests"]
    table.count(f"{cluster}: requests to measure", "- requests", requests, boto3=counted["requests"])
    table.row("- misplaced tasks, as both count", report["before"]["misplaced_tasks"], counted["MisplacedTasks"])
    with simulator(SIMULATOR, *snapshot) as environment:
        counted = instructions([str(job)], measuring(environment, cluster))
    # To a tenth of a million: how often sockets are looked at differs a little, and 5 % of the small run are not a million.
    table.count(f"{cluster}: instructions to measure, millions", "- instructions, millions", round(counted / 1e6, 1))


def add_rebalancing(table, cluster, snapshot, with_seed):
    report = rehearsed(snapshot, *(["--policy", "seed"] if with_seed else []))
    played, requests = report["rehearsal"], sum(report["api_calls"].values())
    moved = sum(service["moved"] for service in report["services"])
    seed = played["instead"][0] if with_seed else {}
    table.count(f"{cluster}: requests to rebalance", f"{cluster}: rebalanced: requests", requests, seed=seed.get("requests"))
    if snapshot:
        table.row("- requests per moved task", requests / moved, allowed="3", most=3, fails=True)
    restarted = played["tasks_stopped"]
    table.count(f"{cluster}: tasks restarted", "- tasks restarted", restarted, seed=seed.get("restarted"))
    table.row("- misplaced tasks left", report["after"]["misplaced_tasks"], seed=seed.get("misplaced_left"))
    table.row("- simulated time, s", played["simulated_seconds"], seed=seed.get("simulated_seconds"))
    if snapshot and with_seed:
        add_time(table, snapshot, report)


def add_time(table, snapshot, report):
    """Which of equal container instances ECS takes is chance, and so is a round more: the median of some seeds."""
    played = lambda **settings: [rehearsed(snapshot, "--seed", str(seed), **settings) for seed in range(TIMED_SEEDS)]  # noqa: E731
    seconds = lambda reports: statistics.median(it["rehearsal"]["simulated_seconds"] for it in reports)  # noqa: E731
    requests = lambda reports: statistics.median(sum(it["api_calls"].values()) for it in reports)  # noqa: E731
    unsteered, steered = played(), played(STEER="true")
    bound = rebalancing_seconds(json.loads(PRODUCTION.read_text()), report)
    table.row(f"- median of {TIMED_SEEDS} seeds, s", seconds(unsteered))
    table.row(f"- to the bound, {bound:.0f} s (benches/bound.py)", seconds(unsteered) / bound, allowed="1.1", most=1.1)
    table.row("production: rebalanced, steered: requests", requests(steered))
    table.row("- misplaced tasks left, of all seeds", sum(it["after"]["misplaced_tasks"] for it in steered), allowed="0", most=0)
    table.row(f"- simulated time, median of {TIMED_SEEDS} seeds, s", seconds(steered))
    table.row("- to the time without steering", seconds(steered) / seconds(unsteered), allowed="1.1", most=1.1)


def add_planning(table):
    """By size, with the planning code built alone and for speed."""
    folder = ROOT / "target/planning"
    cargo("bench", "--locked", "--bench", "plan", "--manifest-path", "benches/planning/Cargo.toml", CARGO_TARGET_DIR=str(folder))
    for what, bench, sizes, most in PLANNING:
        for size in sizes:
            found = folder / "criterion" / bench / size / "new/estimates.json"
            if found.exists():
                milliseconds = json.loads(found.read_text())["median"]["point_estimate"] / 1e6
                allowed = {"allowed": f"{most:,}", "most": most} if most else {}
                table.row(f"planning: {what}, {size}{' instances' if size.isdigit() else ''}, ms", milliseconds, **allowed)
    add_growth(table, folder)
    add_peaks(table, folder)


def add_growth(table, folder):
    """Instructions of whole plans, without those that draw the cluster: how much more five times the cluster costs."""
    build = ["bench", "--locked", "--bench", "growth", "--no-run", "--manifest-path", "benches/planning/Cargo.toml"]
    told = subprocess.run(
        ["cargo", *build, "--message-format", "json"], cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": str(folder)},
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    built = [message["executable"] for message in map(json.loads, told.splitlines()) if message.get("executable")]
    [growth] = built

    for (mode, fleet), most in GROWTH.items():
        counted = lambda *rest: instructions([growth, mode, fleet, *map(str, rest)], CLEAN, LONGEST_PLAN_SECONDS)  # noqa: B023, E731
        drawn = [counted(size, 0) for size in GROWTH_SIZES]
        small, large = (counted(size) - drawing for size, drawing in zip(GROWTH_SIZES, drawn, strict=True))
        many = timed(growth, mode, fleet, GROWTH_SIZES[1], MANY_MOVES)
        what = f"planning: {MANY_MOVES:,} moves of {mode}, {fleet}, {GROWTH_SIZES[1]:,} instances, ms"
        table.row(what, many, allowed=f"{MOST_MILLISECONDS:,}", most=MOST_MILLISECONDS)
        by = GROWTH_SIZES[1] / GROWTH_SIZES[0]
        name = f"planning: all moves of {mode}, {fleet}"
        table.row(f"{name}, {GROWTH_SIZES[1]:,} instances: instructions, millions", large / 1e6)
        what = f"- of it to those of {GROWTH_SIZES[0]:,} instances, in proportion"
        table.row(what, large / small / by, allowed=str(most), most=most)


def timed(growth, *arguments):
    """How many milliseconds one plan takes in a process of its own."""
    told = subprocess.run([growth, *map(str, arguments)], env=CLEAN, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(told)["milliseconds"]


def add_peaks(table, folder):
    """The memory of one plan at ECS's quotas, each in a process of its own."""
    command = ["cargo", "bench", "--quiet", "--locked", "--bench", "peak", "--manifest-path", "benches/planning/Cargo.toml"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder)}
    told = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in filter(None, told.splitlines()):
        peak = json.loads(line)
        table.row(f"planning: {peak['plan']}, {peak['tasks']:,} tasks: peak memory, MB", peak["peak_bytes"] / MB)
        table.row("- of it the cluster as it was read", peak["cluster_bytes"] / MB)


def add_quota(table):
    """A cluster at ECS's quotas, read under ECS's buckets and planned for, in simulated time."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot, report = pathlib.Path(folder, "quota.json"), pathlib.Path(folder, "report.json")
        snapshot.write_text(json.dumps(quota.snapshot()))
        command = [str(REHEARSE), str(snapshot), "--report", str(report)]
        environment = {**CLEAN, "REBALANCER_DRY_RUN": "true"}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        report = json.loads(report.read_text())
    tasks = report["before"]["running_tasks"]
    table.row(f"{quota.INSTANCES:,} instances, {tasks:,} tasks: dry run: requests", sum(report["api_calls"].values()))
    table.row("- simulated time, s", report["duration_seconds"])


def main():
    parser = argparse.ArgumentParser(description="The job beside what a user would take instead")
    parser.add_argument("--short", action="store_true", help="the counts that CI holds, and the ratios once")
    parser.add_argument("--image", type=pathlib.Path, help="a folder of the OCI layout; without it the binary is built")
    arguments = parser.parse_args()
    cargo("build", "--locked", "--bins")
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        job, image_bytes = image_job(arguments.image, folder) if arguments.image else (built_job(), None)
        # Levelling, protections and several capacity providers brought it from 9.9 to 10.5 MB; the image counts for whoever pulls it.
        table.row("static binary, MB", job.stat().st_size / MB, allowed="10.6", most=10.6, fails=True)
        table.row("image, compressed, MB", image_bytes and image_bytes / MB, allowed="5", most=5, fails=True)
        if not arguments.image:
            print("the image's size is left out: .ci/build-image FOLDER builds one, and --image FOLDER/image is that")
        number = 3 if arguments.short else 9
        with simulator(SIMULATOR) as environment:
            environment = measuring(environment, "reference")
            first = lambda command: statistics.median(first_request(command, environment) for _ in range(number))  # noqa: E731
            table.row("exec to first request, ms", first([str(job)]) * 1000, first(BOTO3) * 1000, allowed="10", most=10)
        clusters = [("reference", [])]
        if PRODUCTION.exists():
            clusters.append(("production", [str(PRODUCTION)]))
        else:
            print("skipped: the production fleet, whose snapshot is absent")
        for cluster, snapshot in clusters:
            add_measuring(table, job, cluster, snapshot, number)
            # The reference architecture restarts every task, which takes a minute to play on the fleet.
            add_rebalancing(table, cluster, snapshot, with_seed=not arguments.short or not snapshot)
    if not arguments.short:
        add_planning(table)
        add_quota(table)
    table.check(is_whole=not arguments.short and PRODUCTION.exists(), updates="UPDATE_EXPECT" in os.environ)
    print(table.text())
    for failure in table.failed:
        print(f"FAILED: {failure}")
    sys.exit(bool(table.failed))


if __name__ == "__main__":
    main()
