//! The operations that are simulated.

/// An operation that is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The service that it is of.
    pub service: &'static str,
    /// As its API names it.
    pub name: &'static str,
    /// What of it is modelled, as a page tells it.
    pub modelled: &'static str,
}

const fn of(service: &'static str, name: &'static str, modelled: &'static str) -> Operation {
    Operation { service, name, modelled }
}

/// All of them.
pub const OPERATIONS: [Operation; 48] = [
    of("Amazon ECS", "CreateCluster", "the one cluster is answered; another name is refused"),
    of(
        "Amazon ECS",
        "CreateService",
        "placed and kept by the scheduler from then on; blue/green, linear and canary swap target groups",
    ),
    of("Amazon ECS", "DeleteAttributes", "custom attributes go; all or none of a request"),
    of("Amazon ECS", "DeleteService", "`force` or a desired count of 0 is asked for; DRAINING, then INACTIVE"),
    of("Amazon ECS", "DeregisterContainerInstance", "`force` is asked for where tasks run; they are lost"),
    of("Amazon ECS", "DeregisterTaskDefinition", "INACTIVE, and what runs goes on"),
    of(
        "Amazon ECS",
        "DescribeCapacityProviders",
        "those of Auto Scaling groups, with managed scaling and termination protection",
    ),
    of("Amazon ECS", "DescribeClusters", "counts, status, tags"),
    of(
        "Amazon ECS",
        "DescribeContainerInstances",
        "registered and remaining resources, attributes, agent, versions, health",
    ),
    of("Amazon ECS", "DescribeServiceDeployments", "deployments as ListServiceDeployments names them"),
    of("Amazon ECS", "DescribeServices", "counts, deployments, the newest 100 events"),
    of("Amazon ECS", "DescribeTaskDefinition", "as it was registered, or as the snapshot has it"),
    of("Amazon ECS", "DescribeTasks", "every status of a task's life; stopped ones for an hour"),
    of("Amazon ECS", "GetTaskProtection", "with `failures` for what can't be protected"),
    of("Amazon ECS", "ListAttributes", "of container instances, by name and value"),
    of("Amazon ECS", "ListClusters", "the one cluster"),
    of("Amazon ECS", "ListContainerInstances", "by status and by an expression of the cluster query language"),
    of("Amazon ECS", "ListServiceDeployments", "the newest first, by status and time"),
    of("Amazon ECS", "ListServices", "by launch type and scheduling strategy"),
    of("Amazon ECS", "ListTagsForResource", "of clusters, services, tasks, container instances, task definitions"),
    of("Amazon ECS", "ListTaskDefinitionFamilies", "by prefix and status"),
    of("Amazon ECS", "ListTaskDefinitions", "by family, status and order"),
    of("Amazon ECS", "ListTasks", "by service, family, container instance, desired status, `startedBy`"),
    of("Amazon ECS", "PutAttributes", "at most 10 custom ones an instance; answers what it applied"),
    of("Amazon ECS", "RegisterContainerInstance", "as an agent does it, with its resources and attributes"),
    of("Amazon ECS", "RegisterTaskDefinition", "the next revision of the family"),
    of("Amazon ECS", "RunTask", "placed by strategy and constraints, or refused in `failures`"),
    of("Amazon ECS", "StartTask", "on the instances that are named, if it fits"),
    of("Amazon ECS", "StopTask", "the stop signal at once; the scheduler replaces it later"),
    of("Amazon ECS", "TagResource", "at most 50 tags; keys of `aws:` are refused"),
    of("Amazon ECS", "UntagResource", "keys that are there"),
    of(
        "Amazon ECS",
        "UpdateContainerInstancesState",
        "ACTIVE and DRAINING; the tasks of services are replaced elsewhere",
    ),
    of(
        "Amazon ECS",
        "UpdateService",
        "desired count, task definition, forced deployments, strategy and constraints, deployment configuration",
    ),
    of("Amazon ECS", "UpdateTaskProtection", "up to two days; the scheduler may know of it late, or it is refused"),
    of("Amazon SQS", "DeleteMessage", "of the one queue"),
    of("Amazon SQS", "PurgeQueue", "of the one queue"),
    of(
        "Amazon SQS",
        "ReceiveMessage",
        "container instances' events as a rule of EventBridge sends them there, whichever queue is named",
    ),
    of("Application Auto Scaling", "DeregisterScalableTarget", "the desired count stays"),
    of("Application Auto Scaling", "DescribeScalableTargets", "desired counts of services"),
    of("Application Auto Scaling", "RegisterScalableTarget", "a count outside the bounds is moved into them at once"),
    of("Auto Scaling", "DescribeAutoScalingGroups", "the groups behind capacity providers, in pages"),
    of(
        "Auto Scaling",
        "SetDesiredCapacity",
        "instances are launched and register minutes later; those without tasks are taken away",
    ),
    of("CloudWatch", "GetMetricData", "what was published"),
    of("CloudWatch", "GetMetricStatistics", "what was published"),
    of("CloudWatch", "ListMetrics", "what was published"),
    of("CloudWatch", "PutMetricData", "JSON, CBOR and query, with gzip"),
    of(
        "Elastic Load Balancing v2",
        "DescribeTargetGroups",
        "the target groups that services name, with the checks of the switch `target-checks`",
    ),
    of("Elastic Load Balancing v2", "DescribeTargetHealth", "targets as the tasks behind them are"),
];

/// Those whose answers have `failures` for what isn't there, with the member of the input that names what is asked for.
const WITH_FAILURES: [(&str, &str); 6] = [
    ("DescribeCapacityProviders", "capacityProviders"),
    ("DescribeClusters", "clusters"),
    ("DescribeContainerInstances", "containerInstances"),
    ("DescribeServices", "services"),
    ("DescribeTasks", "tasks"),
    ("GetTaskProtection", "tasks"),
];

/// Whether an operation of this name is simulated.
pub(crate) fn is_simulated(name: &str) -> bool {
    OPERATIONS.iter().any(|operation| operation.name == name)
}

/// Whether its answer tells what isn't there.
pub(crate) fn tells_what_is_missing(name: &str) -> bool {
    asked_by(name).is_some()
}

/// The member of its input that names what is asked for.
pub(crate) fn asked_by(name: &str) -> Option<&'static str> {
    WITH_FAILURES.iter().find(|(operation, _)| *operation == name).map(|(_, member)| *member)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Bench;

    #[test]
    fn every_operation_that_is_named_is_simulated() {
        let mut bench = Bench::new("a i-1 web");
        for operation in super::OPERATIONS {
            let name = operation.name;
            let refused = match operation.service {
                "Amazon ECS" => {
                    bench.ecs(name, &json!({"cluster": "none", "clusterName": "none"})).err().unwrap_or_default()
                }
                "Auto Scaling" => bench.query("2011-01-01", name, ""),
                "Elastic Load Balancing v2" => bench.query("2015-12-01", name, ""),
                "CloudWatch" => bench.cloudwatch(name, &json!({})).err().unwrap_or_default(),
                "Amazon SQS" => bench.json(&format!("AmazonSQS.{name}"), &json!({})).err().unwrap_or_default(),
                _ => bench.json(&format!("AnyScaleFrontendService.{name}"), &json!({})).err().unwrap_or_default(),
            };
            assert!(!refused.contains("is not simulated"), "{name}: {refused}");
        }
        assert!(bench.ecs("DeleteCluster", &json!({})).unwrap_err().contains("is not simulated"));
        assert!(bench.query("2015-12-01", "DeleteTargetGroup", "").contains("is not simulated"));
    }
}
