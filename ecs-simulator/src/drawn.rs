//! A drawing → a snapshot: what isn't drawn is what a plain cluster has.
//!
//! Settings of an instance: `cpu` (4096), `memory` (16384), `gpus`, `status`, `agent` (`false`: disconnected), `type`,
//! `provider`, `ports` (`22,80`), `attr.NAME`. Of a service: `desired` (as many as drawn), `cpu` (256), `memory` (512),
//! `gpus`, `gpu` (`ALL`, `share`), `subnets` (of tasks with an interface of their own), `strategy` (`spread:attribute:ecs.availability-zone,spread:instanceId`, `binpack:memory`, `random`),
//! `constraint` (`distinctInstance`, `memberOf:` and an expression with `+` for blanks, or both with `;` between), `port` (a static host port),
//! `launch`, `daemon`, `azrebalancing`, `min`, `max`, `lb` (a target group; `pair`: two, and blue/green deployments), `check` (a container health check),
//! `sidecar` (an essential container without one), `awsvpc`, `provider` (`od`, or several with weight and
//! base: `od:1:2,spot:3`), `controller`, `breaker`, `rollout`, `tag.KEY`.
//! Of a capacity provider: `minimum` (0) and `maximum` of its Auto Scaling group, `scaling` (`DISABLED`: not managed), `managed` (`true`: of Managed Instances, and of no group), `target`
//! (percent, 100).
//! A task is a service's name; behind it `!` marks it unhealthy, `?` pending, `*` protected by the application for a day.
//! `-NAME` is a standalone task.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::{
    drawing::{Drawing, DrawnInstance, Settings},
    query::Query,
    snapshot::Snapshot,
};

/// When everything drawn began, long before any rehearsal of it.
const BEGAN: i64 = 1_760_000_000;

impl Snapshot {
    /// The cluster that a drawing shows.
    ///
    /// # Errors
    /// Names the setting that is unknown or can't be read.
    pub fn from_drawing(cluster: &str, drawing: &Drawing) -> Result<Self> {
        let arn = |kind: &str, name: &str| format!("arn:aws:ecs:us-east-1:111122223333:{kind}/{cluster}/{name}");
        let (mut instances, mut tasks, mut services, mut definitions) = (vec![], vec![], vec![], vec![]);
        let mut numbers = std::collections::BTreeMap::<String, u32>::new();
        for drawn in &drawing.instances {
            instances.push(instance(drawn, &arn("container-instance", &drawn.name))?);
            for word in &drawn.tasks {
                let mark = word.chars().last().filter(|last| "!?*".contains(*last));
                let name = word.trim_end_matches(['!', '?', '*']);
                let number = numbers.entry(name.to_owned()).or_default();
                *number += 1;
                let standalone = name.strip_prefix('-');
                let family = standalone.unwrap_or(name);
                let settings = drawing.services.get(name);
                let provider = settings.and_then(|settings| settings.get("provider"));
                let launch = settings.and_then(|settings| settings.get("launch")).map(String::as_str);
                let is_checked = has(settings, "check") && !has(settings, "sidecar");
                let mut task = json!({
                    "taskArn": arn("task", &format!("{family}-{number}")),
                    "taskDefinitionArn": definition_arn(family),
                    "containerInstanceArn": arn("container-instance", &drawn.name),
                    "group": standalone.map_or_else(|| format!("service:{name}"), |family| format!("family:{family}")),
                    "lastStatus": if mark == Some('?') { "PENDING" } else { "RUNNING" },
                    "healthStatus": if mark == Some('!') { "UNHEALTHY" } else { "UNKNOWN" },
                    "createdAt": BEGAN + i64::from(*number),
                    "startedAt": if mark == Some('?') { Value::Null } else { json!(BEGAN + i64::from(*number) + 20) },
                });
                if is_checked && matches!(mark, None | Some('*')) {
                    task["healthStatus"] = json!("HEALTHY");
                }
                if launch == Some("FARGATE") {
                    task["containerInstanceArn"] = Value::Null;
                    task["launchType"] = json!("FARGATE");
                }
                if mark == Some('*') {
                    task["protectedUntil"] = json!(BEGAN + 24 * 3600 + 7200);
                }
                if let Some(strategy) = provider {
                    // Of several, that of the container instance.
                    let of_instance = drawn.settings.get("provider").filter(|_| strategy.contains(','));
                    task["capacityProviderName"] = json!(of_instance.unwrap_or(strategy));
                }
                if standalone.is_some() {
                    task["startedBy"] = json!("somebody");
                    definitions.push(definition(family, &Settings::new())?);
                }
                tasks.push(task);
            }
        }
        for name in drawing.service_names().iter().filter(|name| !name.starts_with('-')) {
            let name = name.trim_end_matches(['!', '?', '*']);
            let none = Settings::new();
            let settings = drawing.services.get(name).unwrap_or(&none);
            if services.iter().any(|service: &Value| service["serviceName"] == name) {
                continue;
            }
            let drawn = numbers.get(name).copied().unwrap_or(0);
            services.push(
                service(name, settings, &arn("service", name), drawn).with_context(|| format!("service {name}"))?,
            );
            definitions.push(definition(name, settings).with_context(|| format!("service {name}"))?);
        }
        let (mut providers, mut groups) = (vec![], vec![]);
        for (name, settings) in &drawing.providers {
            let (provider, group) = provider(name, settings).with_context(|| format!("provider {name}"))?;
            providers.push(provider);
            groups.extend(group);
        }
        definitions.sort_by_key(ToString::to_string);
        definitions.dedup();
        Self::from_value(&json!({
            "cluster": {"clusterName": cluster, "clusterArn": format!("arn:aws:ecs:us-east-1:111122223333:cluster/{cluster}")},
            "containerInstances": instances,
            "services": services,
            "tasks": tasks,
            "taskDefinitions": definitions,
            "capacityProviders": providers,
            "autoScalingGroups": groups,
        }))
    }
}

fn has(settings: Option<&Settings>, key: &str) -> bool {
    settings.and_then(|settings| settings.get(key)).is_some_and(|value| value == "true")
}

fn definition_arn(family: &str) -> String {
    format!("arn:aws:ecs:us-east-1:111122223333:task-definition/{family}:1")
}

fn instance(drawn: &DrawnInstance, arn: &str) -> Result<Value> {
    let context = || format!("instance {}", drawn.name);
    let mut attributes = Map::new();
    attributes.insert("ecs.availability-zone".to_owned(), json!(format!("us-east-1{}", drawn.zone)));
    attributes.insert("ecs.os-type".to_owned(), json!("linux"));
    attributes.insert("ecs.instance-type".to_owned(), json!("m5.xlarge"));
    let (mut cpu, mut memory, mut gpus) = (4096, 16_384, 0);
    let mut ports = vec!["22".to_owned(), "2375".to_owned(), "2376".to_owned(), "51678".to_owned(), "51679".to_owned()];
    let mut answer = json!({"containerInstanceArn": arn, "ec2InstanceId": drawn.name, "registeredAt": BEGAN});
    for (key, value) in &drawn.settings {
        match key.as_str() {
            "cpu" => cpu = number(key, value).with_context(context)?,
            "memory" => memory = number(key, value).with_context(context)?,
            "gpus" => gpus = number(key, value).with_context(context)?,
            "status" => answer["status"] = json!(value),
            "agent" => answer["agentConnected"] = json!(value != "false"),
            "impaired" => {
                answer["healthStatus"] = json!({"overallStatus": if value == "true" { "IMPAIRED" } else { "OK" }});
            }
            "type" => drop(attributes.insert("ecs.instance-type".to_owned(), json!(value))),
            "provider" => answer["capacityProviderName"] = json!(value),
            "ports" => ports.extend(value.split(',').map(str::to_owned)),
            other => match other.strip_prefix("attr.") {
                Some(name) => drop(attributes.insert(name.to_owned(), json!(value))),
                None => bail!("instance {}: `{other}` is no setting of an instance", drawn.name),
            },
        }
    }
    answer["registeredResources"] = json!([
        {"name": "CPU", "type": "INTEGER", "integerValue": cpu},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ports},
        {"name": "GPU", "type": "STRINGSET", "stringSetValue": (0..gpus).map(|gpu| format!("GPU-{gpu}")).collect::<Vec<_>>()},
    ]);
    answer["attributes"] = attributes.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    Ok(answer)
}

fn service(name: &str, settings: &Settings, arn: &str, drawn: u32) -> Result<Value> {
    let mut answer = json!({
        "serviceArn": arn,
        "serviceName": name,
        "taskDefinition": definition_arn(name),
        "desiredCount": drawn,
        "createdAt": BEGAN,
    });
    let mut tags = Vec::new();
    let mut constraints = Vec::new();
    for (key, value) in settings {
        match key.as_str() {
            "desired" => answer["desiredCount"] = json!(number(key, value)?),
            "cpu" | "memory" | "gpus" | "gpu" | "port" | "check" | "sidecar" | "awsvpc" => {}
            "strategy" => answer["placementStrategy"] = value.split(',').map(strategy).collect(),
            "constraint" => {
                for one in value.split(';') {
                    constraints.push(constraint(one).with_context(|| format!("`{key}={value}`"))?);
                }
            }
            "launch" => answer["launchType"] = json!(value),
            "daemon" => answer["schedulingStrategy"] = json!(if value == "true" { "DAEMON" } else { "REPLICA" }),
            "azrebalancing" => {
                answer["availabilityZoneRebalancing"] = json!(if value == "true" { "ENABLED" } else { "DISABLED" });
            }
            "min" => answer["deploymentConfiguration"]["minimumHealthyPercent"] = json!(number(key, value)?),
            "max" => answer["deploymentConfiguration"]["maximumPercent"] = json!(number(key, value)?),
            "breaker" => {
                answer["deploymentConfiguration"]["deploymentCircuitBreaker"] =
                    json!({"enable": true, "rollback": value == "rollback"});
            }
            "lb" => {
                let arn =
                    format!("arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/{name}/0123456789abcdef");
                answer["loadBalancers"] = json!([{"targetGroupArn": arn, "containerName": "app", "containerPort": 80}]);
                if value == "pair" {
                    let alternate =
                        json!({"alternateTargetGroupArn": arn.replace(&format!("/{name}/"), &format!("/{name}-2/"))});
                    answer["loadBalancers"][0]["advancedConfiguration"] = alternate;
                    answer["deploymentConfiguration"]["strategy"] = json!("BLUE_GREEN");
                }
            }
            "provider" => answer["capacityProviderStrategy"] = providers(value)?,
            "subnets" => {
                let subnets: Vec<&str> = value.split(',').collect();
                answer["networkConfiguration"] = json!({"awsvpcConfiguration": {"subnets": subnets}});
            }
            "controller" => answer["deploymentController"] = json!({"type": value}),
            "rollout" => {
                answer["deployments"] =
                    json!([{"id": format!("ecs-svc/{name}"), "rolloutState": value, "createdAt": BEGAN}]);
            }
            other => match other.strip_prefix("tag.") {
                Some(key) => tags.push(json!({"key": key, "value": value.replace('+', " ")})),
                None => bail!("`{other}` is no setting of a service"),
            },
        }
    }
    answer["tags"] = json!(tags);
    answer["placementConstraints"] = json!(constraints);
    Ok(answer)
}

/// A capacity provider strategy: `od`, or several with their weights and perhaps bases, as `od:1:2,spot:3`.
fn providers(text: &str) -> Result<Value> {
    let entry = |entry: &str| {
        let mut parts = entry.split(':');
        let name = parts.next().unwrap_or_default();
        let mut number = |default| parts.next().map_or(Ok(default), |part| number("provider", part));
        Ok(json!({"capacityProvider": name, "weight": number(1)?, "base": number(0)?}))
    };
    text.split(',').map(entry).collect()
}

/// A capacity provider, and the Auto Scaling group of its name, where it is no provider of Managed Instances.
fn provider(name: &str, settings: &Settings) -> Result<(Value, Option<Value>)> {
    if has(Some(settings), "managed") {
        return Ok((json!({"name": name, "type": "MANAGED_INSTANCES"}), None));
    }
    let mut scaling = json!({"status": "ENABLED"});
    let mut group = json!({"AutoScalingGroupName": name});
    for (key, value) in settings {
        match key.as_str() {
            "minimum" => group["MinSize"] = json!(number(key, value)?),
            "maximum" => group["MaxSize"] = json!(number(key, value)?),
            "scaling" => scaling["status"] = json!(value),
            "target" => scaling["targetCapacity"] = json!(number(key, value)?),
            other => bail!("`{other}` is no setting of a capacity provider"),
        }
    }
    let of_group = json!({"autoScalingGroupArn": name, "managedScaling": scaling});
    Ok((json!({"name": name, "autoScalingGroupProvider": of_group}), Some(group)))
}

fn definition(family: &str, settings: &Settings) -> Result<Value> {
    let setting = |key: &str, default: u32| settings.get(key).map_or(Ok(default), |value| number(key, value));
    let mut container = json!({
        "name": "app",
        "image": family,
        "essential": true,
        "cpu": setting("cpu", 256)?,
        "memory": setting("memory", 512)?,
        "portMappings": [{"containerPort": 80, "hostPort": setting("port", 0)?}],
    });
    let gpus = setting("gpus", 0)?;
    if gpus > 0 {
        container["resourceRequirements"] = json!([{"type": "GPU", "value": gpus.to_string()}]);
    }
    match settings.get("gpu").map(String::as_str) {
        None => {}
        Some("share") => {
            let strategy = json!({"nvidiaMps": {"memory": 4096}});
            container["resourceRequirements"] = json!([{"type": "GPU", "sharingStrategy": strategy}]);
        }
        Some(value) => container["resourceRequirements"] = json!([{"type": "GPU", "value": value}]),
    }
    if has(Some(settings), "check") {
        container["healthCheck"] = json!({"command": ["CMD", "true"]});
    }
    let mut containers = vec![container];
    if has(Some(settings), "sidecar") {
        containers.push(json!({"name": "sidecar", "image": "sidecar", "essential": true, "memory": 0}));
    }
    Ok(json!({
        "taskDefinitionArn": definition_arn(family),
        "family": family,
        "revision": 1,
        "status": "ACTIVE",
        "networkMode": if has(Some(settings), "awsvpc") { "awsvpc" } else { "bridge" },
        "containerDefinitions": containers,
    }))
}

/// A placement constraint. Where its expression can't be read it is refused: ECS would have refused it too, and a cluster on which it
/// is passed over is another one than was drawn.
fn constraint(text: &str) -> Result<Value> {
    let Some(expression) = text.strip_prefix("memberOf:") else { return Ok(json!({"type": text})) };
    let expression = expression.replace('+', " ");
    if let Err(problem) = Query::parse(&expression) {
        bail!("`{expression}`: {problem}");
    }
    Ok(json!({"type": "memberOf", "expression": expression}))
}

fn strategy(text: &str) -> Value {
    match text.split_once(':') {
        Some((kind, field)) => json!({"type": kind, "field": field}),
        None => json!({"type": text}),
    }
}

fn number(key: &str, value: &str) -> Result<u32> {
    let number = value.parse().with_context(|| format!("`{key}={value}` is no number"))?;
    ensure!(number <= 1 << 30, "`{key}={value}` is too large");
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(drawing: &str) -> String {
        let snapshot = Snapshot::from_drawing("c", &Drawing::parse(drawing).unwrap());
        snapshot.err().map_or_else(|| "taken".to_owned(), |error| format!("{error:#}"))
    }

    #[test]
    fn a_constraint_that_cannot_be_read_is_refused() {
        let constraint = |text: &str| refused(&format!("a i-1 web\nservice web constraint={text}"));
        for text in ["distinctInstance", "memberOf:attribute:x+==+y", "memberOf:attribute:x+==+y;distinctInstance"] {
            assert_eq!(constraint(text), "taken", "{text}");
        }
        let refusal = constraint("memberOf:attribute:x+==");
        assert!(refusal.contains("web") && refusal.contains("`attribute:x ==`"), "{refusal}");
    }
}
