//! Amazon CloudWatch: metrics in, metrics out. [CloudWatch API reference; CloudWatch user guide, service quotas]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ApiError;
use crate::{moment::Moment, place::Place};

/// Metrics in one PutMetricData.
const DATA: usize = 1_000;
/// Values of one metric in one PutMetricData.
const VALUES: usize = 150;
/// Dimensions of one metric.
const DIMENSIONS: usize = 30;
/// Metrics in one page of ListMetrics.
const PAGE: usize = 500;
/// [API, MetricDatum]
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];
/// Datapoints that are kept of one metric: a simulation's worth.
const KEPT: usize = 100_000;

/// What was stored.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<Metric, Vec<Datapoint>>);

/// A metric: its namespace, its name, its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// As `ECSRebalancer`.
    pub namespace: String,
    /// As `TaskImbalance`.
    pub name: String,
    /// By name.
    pub dimensions: BTreeMap<String, String>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Datapoint {
    /// Of when it is.
    pub at: Moment,
    /// As `Percent`.
    pub unit: String,
    /// The value itself.
    pub value: f64,
    /// How often it was seen.
    pub count: f64,
}

impl Metrics {
    /// All metrics with their datapoints, in the order they came.
    pub fn all(&self) -> &BTreeMap<Metric, Vec<Datapoint>> {
        &self.0
    }

    /// The newest value of a metric.
    pub fn newest(&self, name: &str, dimensions: &[(&str, &str)]) -> Option<&Datapoint> {
        let dimensions: BTreeMap<String, String> =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.0
            .iter()
            .find(|(metric, _)| metric.name == name && metric.dimensions == dimensions)
            .and_then(|(_, data)| data.last())
    }

    /// Answers one call.
    pub(crate) fn answer(&mut self, operation: &str, input: &Value, now: Moment) -> Result<Value, ApiError> {
        let input = Place::root(input);
        match operation {
            "PutMetricData" => self.put(&input, now),
            "ListMetrics" => self.list(&input),
            "GetMetricStatistics" => self.statistics(&input),
            "GetMetricData" => self.data(&input),
            other => Err(ApiError::new("InvalidAction", format!("Could not find operation {other}"))),
        }
    }

    fn put(&mut self, input: &Place<'_>, now: Moment) -> Result<Value, ApiError> {
        let namespace = checked(input.get("Namespace").needed_text())?;
        if namespace.starts_with("AWS/") {
            return Err(refused("The value AWS/ for parameter Namespace is invalid."));
        }
        if namespace.len() > 255
            || !namespace.chars().all(|letter| letter.is_ascii_alphanumeric() || " .-_/#:".contains(letter))
        {
            return Err(refused("The parameter Namespace has characters that are not allowed."));
        }
        let data = checked(input.get("MetricData").list())?;
        if data.is_empty() || data.len() > DATA {
            return Err(refused(format!("The collection MetricData must have from 1 to {DATA} members.")));
        }
        // All or nothing: a bad datum refuses the whole call.
        let mut parsed = Vec::new();
        for datum in &data {
            parsed.push(parse_datum(&namespace, datum, now)?);
        }
        for (metric, datapoints) in parsed {
            let kept = self.0.entry(metric).or_default();
            kept.extend(datapoints);
            let surplus = kept.len().saturating_sub(KEPT);
            kept.drain(..surplus);
        }
        Ok(json!({}))
    }

    fn list(&self, input: &Place<'_>) -> Result<Value, ApiError> {
        let namespace = checked(input.get("Namespace").text())?;
        let name = checked(input.get("MetricName").text())?;
        let asked = dimensions(&input.get("Dimensions"), true)?;
        let from: usize = match checked(input.get("NextToken").text())? {
            None => 0,
            Some(token) => token.parse().map_err(|_| refused("The parameter NextToken is not a valid token."))?,
        };
        let matches = |metric: &&Metric| {
            namespace.is_none_or(|asked| metric.namespace == asked)
                && name.is_none_or(|asked| metric.name == asked)
                && asked.iter().all(|(name, value)| {
                    metric.dimensions.get(name).is_some_and(|has| value.is_empty() || has == value)
                })
        };
        let found: Vec<&Metric> = self.0.keys().filter(matches).collect();
        let page: Vec<Value> = found
            .iter()
            .skip(from)
            .take(PAGE)
            .map(|metric| {
                let dimensions: Vec<Value> =
                    metric.dimensions.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
                json!({"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions})
            })
            .collect();
        let next = from.saturating_add(PAGE);
        let mut answer = json!({"Metrics": page});
        if next < found.len() {
            answer["NextToken"] = json!(next.to_string());
        }
        Ok(answer)
    }

    fn statistics(&self, input: &Place<'_>) -> Result<Value, ApiError> {
        let metric = Metric {
            namespace: checked(input.get("Namespace").needed_text())?,
            name: checked(input.get("MetricName").needed_text())?,
            dimensions: dimensions(&input.get("Dimensions"), false)?,
        };
        let statistics = checked(input.get("Statistics").list())?;
        let names: BTreeSet<&str> = statistics.iter().filter_map(|place| place.raw().and_then(Value::as_str)).collect();
        let periods = self.periods(&metric, input, &input.get("Period"))?;
        let unit = self.0.get(&metric).and_then(|data| data.last()).map_or("None", |datapoint| datapoint.unit.as_str());
        let datapoints: Vec<Value> = periods
            .into_iter()
            .map(|(at, data)| {
                let mut point = json!({"Timestamp": at, "Unit": unit});
                for name in ["Average", "Sum", "Minimum", "Maximum", "SampleCount"] {
                    if names.contains(name) {
                        point[name] = json!(statistic(name, &data));
                    }
                }
                point
            })
            .collect();
        Ok(json!({"Label": metric.name, "Datapoints": datapoints}))
    }

    fn data(&self, input: &Place<'_>) -> Result<Value, ApiError> {
        let queries = checked(input.get("MetricDataQueries").list())?;
        if queries.len() > 500 {
            return Err(refused("The collection MetricDataQueries must not have more than 500 members."));
        }
        let mut results = Vec::new();
        for query in &queries {
            let stat = query.get("MetricStat");
            let metric = Metric {
                namespace: checked(stat.get("Metric").get("Namespace").needed_text())?,
                name: checked(stat.get("Metric").get("MetricName").needed_text())?,
                dimensions: dimensions(&stat.get("Metric").get("Dimensions"), false)?,
            };
            let name = checked(stat.get("Stat").needed_text())?;
            let periods = self.periods(&metric, input, &stat.get("Period"))?;
            // Newest first, as GetMetricData does by default.
            let (moments, values): (Vec<i64>, Vec<f64>) =
                periods.into_iter().rev().map(|(at, data)| (at, statistic(&name, &data))).unzip();
            results.push(
                json!({"Id": checked(query.get("Id").needed_text())?, "Label": metric.name, "Timestamps": moments,
                "Values": values, "StatusCode": "Complete"}),
            );
        }
        Ok(json!({"MetricDataResults": results, "Messages": []}))
    }

    /// A metric's datapoints between the start and the end, by the second at which each period begins.
    fn periods(
        &self,
        metric: &Metric,
        input: &Place<'_>,
        period: &Place<'_>,
    ) -> Result<BTreeMap<i64, Vec<Datapoint>>, ApiError> {
        let moment = |key: &str| {
            checked(input.get(key).moment())?
                .ok_or_else(|| ApiError::new("MissingParameter", format!("The parameter {key} is required.")))
        };
        let (start, end) = (moment("StartTime")?, moment("EndTime")?);
        if start >= end {
            return Err(refused("The parameter StartTime must be less than the parameter EndTime."));
        }
        let period = checked(period.count_or(60))?;
        if period == 0 || (period >= 60 && period % 60 != 0) {
            return Err(refused("The parameter Period must be a multiple of 60."));
        }
        let period = i64::from(period) * 1000;
        let mut periods = BTreeMap::<i64, Vec<Datapoint>>::new();
        for datapoint in self.0.get(metric).into_iter().flatten() {
            if (start..end).contains(&datapoint.at) {
                let begins = datapoint.at.0.div_euclid(period) * period / 1000;
                periods.entry(begins).or_default().push(datapoint.clone());
            }
        }
        Ok(periods)
    }
}

fn statistic(name: &str, data: &[Datapoint]) -> f64 {
    let count: f64 = data.iter().map(|datapoint| datapoint.count).sum();
    let sum: f64 = data.iter().map(|datapoint| datapoint.value * datapoint.count).sum();
    match name {
        "SampleCount" => count,
        "Sum" => sum,
        "Minimum" => data.iter().map(|datapoint| datapoint.value).fold(f64::INFINITY, f64::min),
        "Maximum" => data.iter().map(|datapoint| datapoint.value).fold(f64::NEG_INFINITY, f64::max),
        _ => sum / count,
    }
}

fn parse_datum(namespace: &str, datum: &Place<'_>, now: Moment) -> Result<(Metric, Vec<Datapoint>), ApiError> {
    let name = checked(datum.get("MetricName").needed_text())?;
    if name.len() > 255 {
        return Err(refused("The parameter MetricName must not be longer than 255 characters."));
    }
    let unit = checked(datum.get("Unit").text_or("None"))?;
    if !UNITS.contains(&unit.as_str()) {
        return Err(refused(format!("The parameter Unit must be one of {}.", UNITS.join(", "))));
    }
    let at = checked(datum.get("Timestamp").moment())?.unwrap_or(now);
    // From two weeks ago to two hours ahead [API, MetricDatum].
    if at.0 < now.0 - 14 * 24 * 3_600_000 || at.0 > now.0 + 2 * 3_600_000 {
        return Err(refused("The parameter Timestamp must be within the last two weeks and the next two hours."));
    }
    let mut datapoints = Vec::new();
    let mut push = |value: f64, count: f64| datapoints.push(Datapoint { at, unit: unit.clone(), value, count });
    let value = datum.get("Value");
    let values = checked(datum.get("Values").list())?;
    let counts = checked(datum.get("Counts").list())?;
    let set = datum.get("StatisticValues");
    if [value.exists(), !values.is_empty(), set.exists()].into_iter().filter(|given| *given).count() > 1 {
        let message = "Only one of Value, Values and StatisticValues may be given.";
        return Err(ApiError::new("InvalidParameterCombination", message));
    }
    if value.exists() {
        push(number(&value)?, 1.0);
    } else if !values.is_empty() {
        if values.len() > VALUES {
            return Err(refused(format!("The collection Values must not have more than {VALUES} members.")));
        }
        if !counts.is_empty() && counts.len() != values.len() {
            return Err(refused("The collections Values and Counts must have the same size."));
        }
        for (index, value) in values.iter().enumerate() {
            push(number(value)?, counts.get(index).map_or(Ok(1.0), number)?);
        }
    } else if set.exists() {
        let count = number(&set.get("SampleCount"))?;
        push(number(&set.get("Sum"))? / count.max(1.0), count);
    } else {
        return Err(refused("One of Value, Values or StatisticValues is required."));
    }
    let dimensions = dimensions(&datum.get("Dimensions"), false)?;
    Ok((Metric { namespace: namespace.to_owned(), name, dimensions }, datapoints))
}

fn number(place: &Place<'_>) -> Result<f64, ApiError> {
    let number = match place.raw() {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| number.is_finite() && number.abs() <= 2_f64.powi(360))
        .ok_or_else(|| refused("A value must be a number from -2^360 to 2^360; NaN and infinity are not allowed."))
}

fn dimensions(place: &Place<'_>, is_filter: bool) -> Result<BTreeMap<String, String>, ApiError> {
    let pairs = checked(place.pairs("Name", "Value"))?;
    if pairs.len() > DIMENSIONS {
        return Err(refused(format!("The collection Dimensions must not have more than {DIMENSIONS} members.")));
    }
    for (name, value) in &pairs {
        let fits = |text: &str| (1..=1024).contains(&text.len()) && text.is_ascii();
        let may_be_empty = is_filter && value.is_empty();
        if !fits(name) || !(fits(value) || may_be_empty) {
            return Err(refused("The name and value of a dimension must have from 1 to 1024 ASCII characters."));
        }
    }
    Ok(pairs)
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

fn checked<T>(result: anyhow::Result<T>) -> Result<T, ApiError> {
    result.map_err(|error| refused(error.to_string()))
}
