"""When each alarm that Terraform renders rings: on twelve histories of a cluster, by CloudWatch's rules.

    alarms.py STATES

STATES is what `terraform test -json -verbose` printed. The rules are those of CloudWatch's user guide, "Alarm evaluation" and
"Configuring how CloudWatch alarms treat missing data": once a period an alarm looks at the newest periods, as many as it
evaluates and some more (its evaluation range). Where enough of them have data, the newest of those decide, however old.
Where not, the missing ones are taken as `treat_missing_data` says. FILL puts a number into each period of the range in which a
metric has none, but makes nothing of a metric that has none at all.
"""

import sys

import rendered

HOUR = 3_600
# The user guide's example has two more periods than are evaluated; CloudWatch promises no number, so 1 must do as well as 5.
MORE_PERIODS = (1, 2, 5)
CLUSTER = {"often": "rate(10 minutes)", "hourly": "rate(1 hour)", "daily": "cron(0 3 * * ? *)", "packed": "rate(1 hour), to consolidate"}


def periods(data, statistic, period, now):
    """By the number of a period that is over: the statistic of its data."""
    found = {}
    for at, value in data:
        if at < now // period * period:
            found.setdefault(at // period, []).append(value)
    of = {"Sum": sum, "Minimum": min, "Maximum": max, "SampleCount": len}[statistic]
    return {number: of(values) for number, values in found.items()}


class Alarm:
    def __init__(self, values):
        self.count = int(values["evaluation_periods"])
        self.to_alarm = int(values.get("datapoints_to_alarm") or self.count)
        self.missing = values["treat_missing_data"]
        self.threshold = values["threshold"]
        self.operator = values["comparison_operator"]
        queries = values.get("metric_query") or []
        metrics = {query["id"]: query["metric"][0] for query in queries if query["metric"]}
        self.expression = next((query["expression"] for query in queries if query["expression"]), None)
        if metrics:
            (metric,) = metrics.values()
            if self.expression != f"FILL({next(iter(metrics))}, 0)":
                sys.exit(f"FAILED: this test knows no expression {self.expression}")
            self.metric, self.statistic, self.period = metric["metric_name"], metric["stat"], int(metric["period"])
        else:
            self.metric, self.statistic, self.period = values["metric_name"], values["statistic"], int(values["period"])

    def breaches(self, value):
        return value < self.threshold if self.operator == "LessThanThreshold" else value > self.threshold

    def states(self, history, until, more):
        """The state at the end of each period."""
        state, states = "INSUFFICIENT_DATA", []
        data = [(at, values[self.metric]) for at, values in history if self.metric in values]
        for now in range(self.period, until + 1, self.period):
            newest = now // self.period - 1
            span = range(newest - self.count - more + 1, newest + 1)
            found = {number: value for number, value in periods(data, self.statistic, self.period, now).items() if number in span}
            if self.expression and found:
                found = {number: found.get(number, 0) for number in span}
            state = self.evaluated([self.breaches(found[number]) for number in sorted(found)], state)
            states.append((now, state))
        return states

    def evaluated(self, real, before):
        if len(real) < self.count:
            if self.missing == "ignore":
                # The state stays, unless what is there is enough by itself.
                if not real:
                    return before
                if sum(real) >= self.to_alarm:
                    return "ALARM"
                return "OK" if not all(real) else before
            filled = {"breaching": True, "notBreaching": False}.get(self.missing)
            if filled is None:
                sys.exit(f"FAILED: this test knows no {self.missing}")
            real = [filled] * (self.count - len(real)) + real
        return "ALARM" if sum(real[-self.count :]) >= self.to_alarm else "OK"


def run(at, left=0, failures=0, misplaced=0):
    return at, {"RunDuration": 40, "RebalanceFailures": failures, "MisplacedTasksLeft": left, "MisplacedTasks": misplaced}


def every(hours, first, last, **values):
    """Runs at these times, in hours, each some minutes into its hour."""
    number = int((last - first) / hours)
    return [run(int((first + step * hours) * HOUR) + 180, **values) for step in range(number)]


# What happens, by how the cluster is scheduled; for how long it is looked at, in hours; and between which hours each alarm rings.
# A range has its first and last full hour; None is to the end.
HISTORIES = [
    ("first apply: the first run comes after an hour", "hourly", every(1, 1, 24), 24, {}),
    ("first apply, and no run ever comes", "hourly", [], 24, {}),
    ("first apply with a daily schedule", "daily", every(24, 27, 27 + 24 * 9), 240, {}),
    ("all goes well", "hourly", every(1, 0, 72, misplaced=3), 72, {}),
    ("all goes well, every ten minutes", "often", every(1 / 6, 0, 48), 48, {}),
    ("silent from hour 10 on", "hourly", every(1, 0, 10), 48, {"silent": (13, None)}),
    ("silent for six hours, then well again", "hourly", every(1, 0, 10) + every(1, 16, 40), 40, {"silent": (13, 16)}),
    ("silent with a daily schedule, two runs missed", "daily", every(24, 3, 3 + 24 * 5) + every(24, 3 + 24 * 7, 3 + 24 * 12), 280, {"silent": (149, 171)}),
    ("one run fails", "hourly", every(1, 0, 10) + [run(10 * HOUR + 180, failures=2)] + every(1, 11, 30), 30, {"failing": (11, 11)}),
    ("every run fails and leaves tasks", "hourly", every(1, 0, 5) + every(1, 5, 30, failures=1, left=4), 30, {"failing": (6, None), "imbalanced": (11, None)}),
    ("317 tasks are left by each run", "hourly", every(1, 0, 30, left=317, misplaced=317), 30, {"imbalanced": (6, None)}),
    ("317 tasks are left by each daily run, then cured", "daily", every(24, 3, 3 + 24 * 4, left=317) + every(24, 3 + 24 * 4, 3 + 24 * 8), 200, {"imbalanced": (48, 96)}),
    (
        "a cluster that scales: each event's run finds tasks misplaced, and mends it",
        "hourly",
        sorted(every(1, 0, 48, misplaced=5) + every(1, 0.5, 48, misplaced=9)),
        48,
        {},
    ),
    ("a run by hand is cut short once, the next ones mend it", "hourly", every(1, 0, 10) + every(1, 10, 13, left=40) + every(1, 13, 30), 30, {}),
    ("tasks are packed, and so misplaced for ever", "packed", every(1, 0, 72, left=80, misplaced=80), 72, {}),
]


def ringing(states):
    """The hours at whose end the alarm rings, as ranges."""
    hours = [now // HOUR for now, state in states if state == "ALARM"]
    return hours


def check(what, schedule, history, until, expected, alarms):
    for name in ("silent", "failing", "imbalanced"):
        if name not in alarms:
            if name in expected:
                sys.exit(f"FAILED: {what}: there is no alarm {name}")
            continue
        alarm = alarms[name]
        for more in MORE_PERIODS:
            hours = ringing(alarm.states(history, until * HOUR, more))
            if name not in expected:
                right = not hours
            else:
                first, last = expected[name]
                right = bool(hours) and hours[0] == first and (hours[-1] == last if last else hours[-1] == until // (alarm.period // HOUR) * (alarm.period // HOUR))
            if not right:
                sys.exit(f"FAILED: {what} ({schedule}): {name} rings at {hours}, expected {expected.get(name, 'never')}, with {more} more periods")
    rings = ", ".join(f"{name} from hour {first}{f' to {last}' if last else ' on'}" for name, (first, last) in expected.items())
    print(f"| {what} | {CLUSTER[schedule]} | {rings or 'none'} |")


def main():
    state = rendered.states(sys.argv[1])["schedules"]
    print("| history | schedule | alarms that ring |\n| --- | --- | --- |")
    for what, schedule, history, until, expected in HISTORIES:
        alarms = {
            name: Alarm(state[f'aws_cloudwatch_metric_alarm.{name}["{schedule}"]'])
            for name in ("silent", "failing", "imbalanced")
            if f'aws_cloudwatch_metric_alarm.{name}["{schedule}"]' in state
        }
        check(what, schedule, history, until, expected, alarms)
    print(f"ok: {len(HISTORIES)} histories, {len(HISTORIES) * 3} alarms of them ring when they should and at no other time")


if __name__ == "__main__":
    main()
