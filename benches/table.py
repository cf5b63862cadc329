"""The one table that is printed, the counts that may not grow, and its copy in benches/README.md."""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).parent.parent
BASELINE = ROOT / "benches" / "baseline.json"
# A count that has grown by more than this fails.
TOLERANCE = 1.05
HEADER = ["what", "ecs-rebalancer", "boto3 script", "reference arch.", "allowed"]
BEGIN, END = "<!-- bench -->\n", "<!-- end of bench -->"


def shown(value):
    """Three digits; whole numbers whole."""
    if value is None:
        return ""
    if isinstance(value, (int, str)):
        return f"{value:,}" if isinstance(value, int) else value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Table:
    def __init__(self):
        self.rows, self.counts, self.failed = [], {}, []

    def row(self, what, ours=None, boto3=None, seed=None, allowed=None, most=None, fails=False):
        """`most` is what `allowed` says, as a number; what is over it is marked, and fails the bench where that is asked."""
        missed = most is not None and ours is not None and not isinstance(ours, str) and ours > most
        if missed and fails:
            self.failed.append(f"{what}: {shown(ours)}, and {allowed} is allowed")
        allowed = f"{allowed}: MISSED" if missed else allowed
        self.rows.append([what, shown(ours), shown(boto3), shown(seed), allowed or ""])

    def count(self, key, what, ours, **more):
        """A row whose figure is the same in every run, or nearly: it is held against the baseline."""
        self.counts[key] = ours
        self.row(what, ours, **more)

    def text(self):
        rows = [HEADER, *self.rows]
        widths = [max(len(row[at]) for row in rows) for at in range(len(HEADER))]
        rows.insert(1, ["-" * width for width in widths])
        lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows)
        return "".join(f"| {line} |\n" for line in lines)

    def check(self, is_whole, updates):
        """What has grown beyond the baseline; or writes it, and the table in benches/README.md, anew."""
        if updates:
            known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
            BASELINE.write_text(json.dumps({**known, **self.counts}, indent=4, sort_keys=True) + "\n")
            if is_whole:
                before, after = readme()
                (ROOT / "benches" / "README.md").write_text(before + BEGIN + self.text() + END + after[1])
        baseline = json.loads(BASELINE.read_text())
        for key, count in self.counts.items():
            if key not in baseline:
                self.failed.append(f"{key} is not in {BASELINE.name}; UPDATE_EXPECT=1 writes it")
            elif count > baseline[key] * TOLERANCE:
                self.failed.append(f"{key}: {count:,}, and it was {baseline[key]:,}; if it must grow, UPDATE_EXPECT=1 says so")
        if absent := not_in_the_readme(baseline, self.counts):
            self.failed.append(absent)


def not_in_the_readme(baseline, keys):
    """A sentence that names the counts which the table in benches/README.md does not show as the baseline has them."""
    _, (table, _) = readme()
    cells = {cell.strip() for line in table.splitlines() for cell in line.split("|")}
    absent = [key for key in keys if shown(baseline.get(key)) not in cells]
    if absent:
        return f"the table in benches/README.md is not of this baseline: {', '.join(absent)}; UPDATE_EXPECT=1 cargo bench-all"


def readme():
    """What stands before the table; the table, and what stands after it."""
    text = (ROOT / "benches" / "README.md").read_text()
    try:
        before, rest = text.split(BEGIN)
        table, after = rest.split(END)
    except ValueError:
        sys.exit(f"benches/README.md has no marks {BEGIN.strip()} and {END}, or more than one of each")
    return before, (table, after)


# The copy in benches/README.md against the baseline, without measuring anything: who edits the one learns at once of the other.
if __name__ == "__main__":
    BASELINE_NOW = json.loads(BASELINE.read_text())
    sys.exit(not_in_the_readme(BASELINE_NOW, BASELINE_NOW))
