"""The dashboards that Terraform renders, by the rules of CloudWatch's "Dashboard body structure and syntax", and by what the job
publishes and logs.

    dashboard.py STATES METRICS

STATES is what `terraform test -json -verbose` printed; METRICS the page of the book with the table of metrics, which
`cargo test contract` holds to the code.
"""

import json
import pathlib
import re
import sys

import rendered

# A row of the grid. A dashboard has at most 500 widgets, an alarm widget at most 100 alarms, a metric widget at most 500 metrics.
COLUMNS, WIDGETS, ALARMS, METRICS = 24, 500, 100, 500
PROPERTIES = {
    "text": ({"markdown"}, {"background"}),
    "alarm": ({"alarms"}, {"title", "sortBy", "states"}),
    "log": ({"query", "region"}, {"title", "view"}),
    "metric": ({"metrics", "region"}, {"title", "view", "stacked", "stat", "period", "yAxis", "annotations"}),
}
OF_A_METRIC = {"label", "yAxis", "id", "expression", "stat", "period", "color", "region", "visible"}
# A query of Logs Insights is of these commands, and of fields that the log has.
COMMANDS = {"SOURCE", "filter", "fields", "sort", "limit"}


def check(holds, what):
    if not holds:
        sys.exit(f"FAILED: {what}")


def fields_of_summary():
    """The names of the fields of the last line of a run, as the book shows it."""
    page = (pathlib.Path(__file__).parents[2] / "docs/src/log.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("{") and '"message":"summary"' in line]
    names = {"@timestamp", "@message"}
    for name, value in json.loads(line).items():
        # A run that moved something has figures of afterwards; the one of the book was a dry run.
        names |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
    return names | {name.replace("before.", "after.") for name in names}


def rows(widgets, where):
    """Each row fills the width, and its widgets are equally high: then each has its place without being told one."""
    left, height = 0, None
    for widget in widgets:
        check(set(widget) == {"type", "width", "height", "properties"}, f"{where}: {sorted(widget)}")
        if left == 0:
            height = widget["height"]
        check(widget["height"] == height, f"{where}: {widget['properties'].get('title')} is as high as its neighbours")
        left = (left + widget["width"]) % COLUMNS if left + widget["width"] <= COLUMNS else -1
        check(left >= 0, f"{where}: {widget['properties'].get('title')} fits its row")
    check(left == 0, f"{where}: the last row is full")


def of_metric(properties, where, published):
    check(len(properties["metrics"]) <= METRICS and properties["metrics"], f"{where}: from 1 to {METRICS} metrics")
    period = properties["period"]
    check(period > 0 and period % 60 == 0, f"{where}: {period} s is a period")
    for metric in properties["metrics"]:
        *names, options = metric if isinstance(metric[-1], dict) else [*metric, {}]
        check(set(options) <= OF_A_METRIC, f"{where}: {sorted(options)}")
        if names:
            check(len(names) == 4 and names[2] == "ClusterName", f"{where}: {names}")
            check(names[1] in published["cluster"], f"{where}: the job publishes {names[1]} of a cluster")
        else:
            searched = re.fullmatch(r"SORT\(SEARCH\('\{\"[^\"]+\",ClusterName,ServiceName\} MetricName=\"(\w+)\" ClusterName=\"[^\"]+\"', '\w+', \d+\), MAX, DESC, \d+\)", options["expression"])
            check(searched and searched[1] in published["service"], f"{where}: {options['expression']}")
    for line in properties.get("annotations", {}).get("horizontal", []):
        check(set(line) == {"label", "value"} and isinstance(line["value"], (int, float)), f"{where}: {line}")


def of_query(query, groups, where):
    source, *commands = query.split("\n| ")
    check(source in {f"SOURCE '{group}'" for group in groups}, f"{where}: {source}")
    fields = fields_of_summary()
    for command in commands:
        word, rest = command.split(" ", 1)
        check(word in COMMANDS, f"{where}: {command}")
        if word == "fields":
            for field in rest.split(", "):
                check(field.split(" as ")[0] in fields, f"{where}: the log has no {field}")


def look(state, published):
    """By title, what is on the dashboards of one account."""
    dashboards = [values for address, values in sorted(state.items()) if address.startswith("aws_cloudwatch_dashboard.this[")]
    alarms = {values["alarm_name"] for address, values in state.items() if address.startswith("aws_cloudwatch_metric_alarm.")}
    groups = [values["name"] for address, values in state.items() if address.startswith("aws_cloudwatch_log_group.")]
    titles, shown = [], set()
    for dashboard in dashboards:
        name = dashboard["dashboard_name"]
        check(re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name), f"{name} is a name")
        body = json.loads(dashboard["dashboard_body"])
        check(set(body) == {"start", "periodOverride", "widgets"} and body["periodOverride"] == "inherit", f"{name}: {sorted(body)}")
        check(0 < len(body["widgets"]) <= WIDGETS, f"{name}: {len(body['widgets'])} widgets")
        rows(body["widgets"], name)
        for widget in body["widgets"]:
            kind, properties = widget["type"], widget["properties"]
            where = f"{name}: {properties.get('title', kind)}"
            needed, others = PROPERTIES[kind]
            check(needed <= set(properties) <= needed | others, f"{where}: {sorted(properties)}")
            if kind == "metric":
                of_metric(properties, where, published)
            elif kind == "log":
                of_query(properties["query"], groups, where)
            elif kind == "alarm":
                check(0 < len(properties["alarms"]) <= ALARMS, f"{where}: {len(properties['alarms'])} alarms")
                shown |= {arn.split(":alarm:")[1] for arn in properties["alarms"]}
            titles.append(properties.get("title", ""))
    if dashboards:
        check(shown == alarms, f"every alarm is shown, and no other: {sorted(shown ^ alarms)}")
    return dashboards, titles


def main():
    states, page = rendered.states(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
    table = re.findall(r"^\| (`.*?) \| \w+ \| (.*?) \|", page, re.MULTILINE)
    published = {of: {name for names, whom in table if of in whom for name in re.findall(r"`(\w+)`", names)} for of in ("cluster", "service")}
    check(len(published["cluster"]) > len(published["service"]) > 3, f"{sys.argv[2]} has the table of metrics")
    for run, state in states.items():
        dashboards, titles = look(state, published)
        print(f"ok: {run}: {len(dashboards)} dashboards, {len(titles)} widgets")
    _, titles = look(states["defaults"], published)
    # What is wrong comes first; all that a run publishes is somewhere.
    order = ["misplaced tasks left", "failures", "alarms", "misplaced tasks", "failures", "load imbalance", "task imbalance", "what runs did", "instances", "reserved", "duration", "ten services", "last runs"]
    graphs = [title for title in titles if title]
    check(len(graphs) == len(order) and all(word in title for word, title in zip(order, graphs)), f"the order: {graphs}")
    shown = json.dumps([json.loads(values["dashboard_body"]) for address, values in states["defaults"].items() if address.startswith("aws_cloudwatch_dashboard")])
    for metric in published["cluster"]:
        check(f'"{metric}"' in shown, f"{metric} is shown")
    check('"REBALANCER_LOAD_THRESHOLD", "value": 25' in shown, "the threshold of LoadImbalance is a line")
    check(not look(states["switched"], published)[0], "dashboard_enabled = false leaves it out")
    print(f"ok: {len(graphs)} graphs in their order, {len(published['cluster'])} metrics")


if __name__ == "__main__":
    main()
