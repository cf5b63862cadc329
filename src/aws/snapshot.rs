//! The cluster's snapshot: ECS's own answers, and Auto Scaling's, as they came, less everything that isn't on a list of what a rehearsal needs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::planning::model::{TaskArn, Timestamp};

/// One kind of thing that a snapshot holds.
struct Kind {
    /// Which operation answers with it.
    operation: &'static str,
    /// Under which name, in the answer.
    answered: &'static str,
    /// Under which name, in the snapshot.
    kept: &'static str,
    /// What names one of them.
    arn: &'static str,
    /// What is kept of each, by its path; lists on the way are gone through. Whatever isn't here, is left out: environment,
    /// secrets, overrides, commands, labels, log options, credentials, and what ECS will add one day.
    fields: &'static [&'static str],
}

const KINDS: [Kind; 7] = [
    Kind {
        operation: "DescribeContainerInstances",
        answered: "containerInstances",
        kept: "containerInstances",
        arn: "containerInstanceArn",
        fields: &[
            "containerInstanceArn",
            "ec2InstanceId",
            "status",
            "agentConnected",
            "healthStatus.overallStatus",
            "versionInfo.agentVersion",
            "registeredAt",
            "version",
            "registeredResources.name",
            "registeredResources.type",
            "registeredResources.integerValue",
            "registeredResources.longValue",
            "registeredResources.doubleValue",
            "registeredResources.stringSetValue",
            "remainingResources.name",
            "remainingResources.type",
            "remainingResources.integerValue",
            "remainingResources.longValue",
            "remainingResources.doubleValue",
            "remainingResources.stringSetValue",
            "attributes.name",
            "attributes.value",
            "capacityProviderName",
            "runningTasksCount",
            "pendingTasksCount",
        ],
    },
    Kind {
        operation: "DescribeServices",
        answered: "services",
        kept: "services",
        arn: "serviceArn",
        fields: &[
            "serviceArn",
            "serviceName",
            "clusterArn",
            "status",
            "desiredCount",
            "runningCount",
            "pendingCount",
            "taskDefinition",
            "launchType",
            "capacityProviderStrategy.capacityProvider",
            "capacityProviderStrategy.weight",
            "capacityProviderStrategy.base",
            "schedulingStrategy",
            "deploymentController.type",
            "deploymentConfiguration.strategy",
            "deploymentConfiguration.minimumHealthyPercent",
            "deploymentConfiguration.maximumPercent",
            "deploymentConfiguration.deploymentCircuitBreaker.enable",
            "deploymentConfiguration.deploymentCircuitBreaker.rollback",
            "placementStrategy.type",
            "placementStrategy.field",
            "placementConstraints.type",
            "placementConstraints.expression",
            "availabilityZoneRebalancing",
            "loadBalancers.targetGroupArn",
            "loadBalancers.advancedConfiguration.alternateTargetGroupArn",
            "loadBalancers.advancedConfiguration.productionListenerRule",
            "loadBalancers.loadBalancerName",
            "loadBalancers.containerName",
            "loadBalancers.containerPort",
            "networkConfiguration.awsvpcConfiguration.subnets",
            "healthCheckGracePeriodSeconds",
            "createdAt",
            "deployments.id",
            "deployments.status",
            "deployments.rolloutState",
            "deployments.taskDefinition",
            "deployments.failedTasks",
            "deployments.createdAt",
            "deployments.updatedAt",
            "deployments.networkConfiguration.awsvpcConfiguration.subnets",
            "deployments.vpcLatticeConfigurations.targetGroupArn",
            "deployments.volumeConfigurations.name",
            "deployments.volumeConfigurations.managedEBSVolume.sizeInGiB",
            "taskSets.id",
            "taskSets.status",
            "events.id",
            "events.createdAt",
            "events.message",
            "resourceManagementType",
            "tags.key",
            "tags.value",
        ],
    },
    Kind {
        operation: "DescribeTasks",
        answered: "tasks",
        kept: "tasks",
        arn: "taskArn",
        fields: &[
            "taskArn",
            "clusterArn",
            "group",
            "containerInstanceArn",
            "taskDefinitionArn",
            "capacityProviderName",
            "launchType",
            "lastStatus",
            "desiredStatus",
            "healthStatus",
            "startedBy",
            "createdAt",
            "startedAt",
            "stoppingAt",
            "stoppedAt",
            "stopCode",
            "cpu",
            "memory",
            "version",
        ],
    },
    Kind {
        operation: "GetTaskProtection",
        answered: "protectedTasks",
        kept: "protectedTasks",
        arn: "taskArn",
        fields: &["taskArn", "protectionEnabled", "expirationDate"],
    },
    Kind {
        operation: "DescribeTaskDefinition",
        answered: "taskDefinition",
        kept: "taskDefinitions",
        arn: "taskDefinitionArn",
        fields: &[
            "taskDefinitionArn",
            "family",
            "revision",
            "status",
            "networkMode",
            "cpu",
            "memory",
            "requiresCompatibilities",
            "requiresAttributes.name",
            "requiresAttributes.value",
            "placementConstraints.type",
            "placementConstraints.expression",
            "volumes.name",
            "volumes.host.sourcePath",
            "volumes.dockerVolumeConfiguration.scope",
            "volumes.dockerVolumeConfiguration.driver",
            "volumes.dockerVolumeConfiguration.driverOpts.type",
            "volumes.dockerVolumeConfiguration.driverOpts.device",
            "volumes.dockerVolumeConfiguration.driverOpts.o",
            "volumes.efsVolumeConfiguration.fileSystemId",
            "volumes.fsxWindowsFileServerVolumeConfiguration.fileSystemId",
            "volumes.s3filesVolumeConfiguration.fileSystemArn",
            "volumes.configuredAtLaunch",
            "containerDefinitions.mountPoints.sourceVolume",
            "containerDefinitions.mountPoints.readOnly",
            "runtimePlatform.operatingSystemFamily",
            "runtimePlatform.cpuArchitecture",
            "containerDefinitions.name",
            "containerDefinitions.image",
            "containerDefinitions.cpu",
            "containerDefinitions.memory",
            "containerDefinitions.memoryReservation",
            "containerDefinitions.essential",
            "containerDefinitions.portMappings.containerPort",
            "containerDefinitions.portMappings.hostPort",
            "containerDefinitions.portMappings.protocol",
            "containerDefinitions.resourceRequirements.type",
            "containerDefinitions.resourceRequirements.value",
            "containerDefinitions.resourceRequirements.sharingStrategy.nvidiaMps.memory",
            "inferenceAccelerators.deviceName",
            "inferenceAccelerators.deviceType",
            // That there is a check decides when a task counts as healthy; its command stays where it is.
            "containerDefinitions.healthCheck.interval",
            "containerDefinitions.healthCheck.timeout",
            "containerDefinitions.healthCheck.retries",
            "containerDefinitions.healthCheck.startPeriod",
        ],
    },
    Kind {
        operation: "DescribeCapacityProviders",
        answered: "capacityProviders",
        kept: "capacityProviders",
        arn: "capacityProviderArn",
        fields: &[
            "capacityProviderArn",
            "name",
            "status",
            "type",
            "autoScalingGroupProvider.autoScalingGroupArn",
            "autoScalingGroupProvider.managedScaling.status",
            "autoScalingGroupProvider.managedScaling.targetCapacity",
            "autoScalingGroupProvider.managedTerminationProtection",
        ],
    },
    Kind {
        operation: "DescribeAutoScalingGroups",
        answered: "AutoScalingGroups",
        kept: "autoScalingGroups",
        arn: "AutoScalingGroupARN",
        fields: &["AutoScalingGroupName", "AutoScalingGroupARN", "MinSize", "MaxSize", "DesiredCapacity"],
    },
];

/// What a snapshot has even where there is none; the rest it has where a run read it.
const ALWAYS_THERE: [&str; 4] = ["containerInstances", "services", "tasks", "taskDefinitions"];
/// Of a service's tags only these decide anything; others may hold whatever their owner likes.
const OUR_TAGS: &str = "ecs-rebalancer:";
/// A service's tasks are started by its deployments; other tasks by whatever text somebody gave.
const A_DEPLOYMENT: &str = "ecs-svc/";

/// What was answered so far, by the name of its list and its ARN: what is described twice counts as it was last.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<&'static str, BTreeMap<String, Value>>);

impl Answers {
    /// Whether a snapshot is made of this operation's answers.
    pub(super) fn wants(operation: &str) -> bool {
        KINDS.iter().any(|kind| kind.operation == operation)
    }

    /// Keeps what belongs in a snapshot of an answer. One that isn't JSON is the SDK's to complain about.
    pub(super) fn keep(&mut self, operation: &str, body: &[u8]) {
        let Some(kind) = KINDS.iter().find(|kind| kind.operation == operation) else { return };
        let Ok(mut answer) = serde_json::from_slice::<Value>(body) else { return };
        let things = match answer.get_mut(kind.answered).map(Value::take) {
            Some(Value::Array(things)) => things,
            Some(thing @ Value::Object(_)) => vec![thing],
            _ => Vec::new(),
        };
        let list = self.0.entry(kind.kept).or_default();
        // A task that is not protected is like one that was not asked about.
        let says_something = |thing: &Value| thing.get("protectionEnabled") != Some(&json!(false));
        for thing in things.into_iter().filter(says_something) {
            if let Some(arn) = thing.get(kind.arn).and_then(Value::as_str).map(str::to_owned) {
                list.insert(arn, without_free_text(pruned(thing, kind.fields)));
            }
        }
    }

    /// The document. `own_task`, the job's own, is left out: it is gone when the run is over. What it reserves shows as taken.
    pub(super) fn document(mut self, cluster_name: &str, own_task: Option<&TaskArn>, taken_at: Timestamp) -> Value {
        if let Some(own) = own_task {
            for kept in ["tasks", "protectedTasks"] {
                self.0.get_mut(kept).and_then(|tasks| tasks.remove(own.as_str()));
            }
        }
        let mut cluster = json!({ "clusterName": cluster_name });
        let named = self.0.values().flat_map(BTreeMap::values).find_map(|thing| thing.get("clusterArn").cloned());
        if let Some(arn) = named {
            cluster["clusterArn"] = arn;
        }
        // The one member that isn't ECS's: how young a service is, counts from here.
        let seconds = json!(taken_at.0.div_euclid(1000));
        let mut document = Map::from_iter([("cluster".to_owned(), cluster), ("takenAt".to_owned(), seconds)]);
        for kind in &KINDS {
            let list = self.0.remove(kind.kept).unwrap_or_default();
            if !list.is_empty() || ALWAYS_THERE.contains(&kind.kept) {
                document.insert(kind.kept.to_owned(), list.into_values().collect());
            }
        }
        Value::Object(document)
    }
}

/// What of a value the paths name. A path that ends at an object names nothing: there the object's own members are listed.
fn pruned(value: Value, paths: &[&str]) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| pruned(value, paths)).collect(),
        Value::Object(members) => {
            let kept = members.into_iter().filter_map(|(name, member)| {
                let below: Vec<&str> = paths
                    .iter()
                    .filter_map(|path| path.strip_prefix(name.as_str()))
                    .filter(|rest| rest.is_empty() || rest.starts_with('.'))
                    .map(|rest| rest.trim_start_matches('.'))
                    .collect();
                (!below.is_empty()).then(|| (name, pruned(member, &below)))
            });
            Value::Object(kept.collect())
        }
        plain => plain,
    }
}

/// Options by which a Docker volume is mounted, that tell whether its data is the instance's; others may hold a password.
fn tells_where_data_is(option: &str) -> bool {
    matches!(option, "bind" | "rbind") || option.starts_with("addr=")
}

/// Leaves out what people may have written into fields whose form is free.
fn without_free_text(mut thing: Value) -> Value {
    for volume in thing.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(options)) = volume.pointer_mut("/dockerVolumeConfiguration/driverOpts/o") {
            let kept: Vec<&str> =
                options.split(',').map(str::trim).filter(|option| tells_where_data_is(option)).collect();
            *options = kept.join(",");
        }
    }
    if let Some(Value::Array(tags)) = thing.get_mut("tags") {
        tags.retain(|tag| tag["key"].as_str().is_some_and(|key| key.starts_with(OUR_TAGS)));
    }
    let is_free = thing.get("startedBy").and_then(Value::as_str).is_some_and(|by| !by.starts_with(A_DEPLOYMENT));
    if let (true, Some(members)) = (is_free, thing.as_object_mut()) {
        members.remove("startedBy");
    }
    thing
}

#[cfg(test)]
mod tests;
