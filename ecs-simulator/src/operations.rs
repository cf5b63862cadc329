//! The names of the operations that are simulated.

/// Those of Amazon ECS.
pub(crate) const ECS: [&str; 33] = [
    "CreateService",
    "DeleteAttributes",
    "DeleteService",
    "DeregisterContainerInstance",
    "DeregisterTaskDefinition",
    "DescribeCapacityProviders",
    "DescribeClusters",
    "DescribeContainerInstances",
    "DescribeServiceDeployments",
    "DescribeServices",
    "DescribeTaskDefinition",
    "DescribeTasks",
    "GetTaskProtection",
    "ListAttributes",
    "ListClusters",
    "ListContainerInstances",
    "ListServiceDeployments",
    "ListServices",
    "ListTagsForResource",
    "ListTaskDefinitionFamilies",
    "ListTaskDefinitions",
    "ListTasks",
    "PutAttributes",
    "RegisterContainerInstance",
    "RegisterTaskDefinition",
    "RunTask",
    "StartTask",
    "StopTask",
    "TagResource",
    "UntagResource",
    "UpdateContainerInstancesState",
    "UpdateService",
    "UpdateTaskProtection",
];

/// Those of the services beside it.
pub(crate) const BESIDE: [&str; 8] = [
    "DescribeAutoScalingGroups",
    "DescribeScalableTargets",
    "DescribeTargetHealth",
    "GetMetricData",
    "GetMetricStatistics",
    "ListMetrics",
    "PutMetricData",
    "RegisterScalableTarget",
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
    ECS.contains(&name) || BESIDE.contains(&name)
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
    fn every_operation_of_ecs_s_that_is_named_is_simulated() {
        let mut bench = Bench::new("a i-1 web");
        for operation in super::ECS {
            let refused = bench.ecs(operation, &json!({"cluster": "none"})).err().unwrap_or_default();
            assert!(!refused.contains("is not simulated"), "{operation}: {refused}");
        }
        assert!(bench.ecs("CreateCluster", &json!({})).unwrap_err().contains("is not simulated"));
    }
}
