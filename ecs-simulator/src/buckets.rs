//! ECS's token buckets: one a class of actions, shared by all callers. [ECS developer guide, "Request throttling"]

use std::collections::BTreeMap;

use crate::moment::Moment;

/// Tokens left, by class, in thousandths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buckets(BTreeMap<&'static str, (i64, Moment)>);

/// A class with its burst and its refill a second.
type Class = (&'static str, i64, i64);

fn class(operation: &str) -> Class {
    match operation {
        "ListServices" | "DescribeServices" => ("service read", 100, 20),
        "CreateService" | "UpdateService" | "DeleteService" => ("service modify", 50, 5),
        "ListTasks" | "DescribeTasks" | "ListContainerInstances" | "DescribeContainerInstances" | "ListAttributes" => {
            ("cluster resource read", 100, 20)
        }
        "StopTask"
        | "RunTask"
        | "StartTask"
        | "UpdateContainerInstancesState"
        | "PutAttributes"
        | "DeleteAttributes"
        | "RegisterContainerInstance"
        | "DeregisterContainerInstance" => ("cluster resource modify", 100, 40),
        "DescribeTaskDefinition" | "ListTaskDefinitions" | "ListTaskDefinitionFamilies" => {
            ("task definition read", 50, 20)
        }
        "RegisterTaskDefinition" | "DeregisterTaskDefinition" => ("task definition modify", 20, 1),
        "TagResource" | "UntagResource" => ("tag modify", 20, 10),
        "ListTagsForResource" => ("tag read", 50, 20),
        "GetTaskProtection" | "UpdateTaskProtection" => ("task protection", 200, 80),
        "ListServiceDeployments" | "DescribeServiceDeployments" => ("service deployment read", 50, 20),
        "DescribeCapacityProviders" => ("capacity provider read", 50, 20),
        _ => ("cluster read", 50, 20),
    }
}

impl Buckets {
    /// Takes a token; false where there is none.
    pub(crate) fn take(&mut self, operation: &str, now: Moment) -> bool {
        let (name, burst, refill) = class(operation);
        let (tokens, at) = self.0.entry(name).or_insert((burst * 1000, now));
        *tokens = (*tokens + (now.0 - at.0).max(0) * refill).min(burst * 1000);
        *at = now;
        let has_one = *tokens >= 1000;
        if has_one {
            *tokens -= 1000;
        }
        has_one
    }
}
