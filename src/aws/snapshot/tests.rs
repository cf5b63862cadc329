//! Secrets planted wherever ECS's answers can hold one, and what of an answer is kept.

use super::*;

/// What no snapshot may hold, in whatever form.
const SECRET: &str = "hunter2";

fn task_definition() -> Value {
    json!({"taskDefinition": {
        "taskDefinitionArn": "arn:aws:ecs:us-east-1:111122223333:task-definition/web:1",
        "family": "web",
        "revision": 1,
        "status": "ACTIVE",
        "networkMode": "bridge",
        "executionRoleArn": SECRET,
        "taskRoleArn": SECRET,
        "registeredBy": SECRET,
        "volumes": [
            {"name": "a", "host": {"sourcePath": "/data"}},
            {"name": "b", "dockerVolumeConfiguration": {"scope": "shared", "labels": {SECRET: SECRET}, "driverOpts": {
                SECRET: SECRET, "type": "cifs", "o": "addr=server, bind,username=x,password=hunter2"}}},
            {"name": "c", "efsVolumeConfiguration": {"fileSystemId": "fs-1", "authorizationConfig": {"accessPointId": SECRET}}},
        ],
        "proxyConfiguration": {"containerName": "a", "properties": [{"name": "a", "value": SECRET}]},
        "requiresAttributes": [{"name": "ecs.capability.task-eni", "targetId": SECRET}],
        "containerDefinitions": [{
            "name": "app",
            "image": "app:1",
            "cpu": 256,
            "memoryReservation": 512,
            "essential": true,
            "environment": [{"name": "PASSWORD", "value": SECRET}],
            "environmentFiles": [{"type": "s3", "value": SECRET}],
            "secrets": [{"name": "TOKEN", "valueFrom": SECRET}],
            "command": ["serve", SECRET],
            "entryPoint": [SECRET],
            "credentialSpecs": [SECRET],
            "dockerLabels": {"label": SECRET, SECRET: "x"},
            "dockerSecurityOptions": [SECRET],
            "repositoryCredentials": {"credentialsParameter": SECRET},
            "extraHosts": [{"hostname": SECRET, "ipAddress": SECRET}],
            "logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": SECRET}, "secretOptions": [{"name": "t", "valueFrom": SECRET}]},
            "firelensConfiguration": {"type": "fluentd", "options": {"x": SECRET}},
            "systemControls": [{"namespace": SECRET, "value": SECRET}],
            "mountPoints": [{"sourceVolume": "a", "containerPath": SECRET, "readOnly": true}],
            "healthCheck": {"command": ["CMD-SHELL", SECRET], "interval": 30, "retries": 3},
            "portMappings": [{"containerPort": 80, "hostPort": 0, "protocol": "tcp", "name": SECRET}],
            "resourceRequirements": [{"type": "GPU", "value": "1"}],
        }],
        "tags": [{"key": "k", "value": SECRET}],
    }, "tags": [{"key": "k", "value": SECRET}]})
}

fn tasks() -> Value {
    json!({"tasks": [{
        "taskArn": "arn:aws:ecs:us-east-1:111122223333:task/c/1",
        "clusterArn": "arn:aws:ecs:us-east-1:111122223333:cluster/c",
        "group": "service:web",
        "containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/c/i-1",
        "lastStatus": "RUNNING",
        "startedBy": SECRET,
        "stoppedReason": SECRET,
        "overrides": {
            "taskRoleArn": SECRET,
            "containerOverrides": [{"name": "app", "command": [SECRET], "environment": [{"name": "A", "value": SECRET}]}],
        },
        "attachments": [{"details": [{"name": "a", "value": SECRET}]}],
        "containers": [{"name": "app", "reason": SECRET, "runtimeId": SECRET}],
        "tags": [{"key": "k", "value": SECRET}],
    }], "failures": [{"arn": SECRET}]})
}

fn services() -> Value {
    json!({"services": [{
        "serviceArn": "arn:aws:ecs:us-east-1:111122223333:service/c/web",
        "serviceName": "web",
        "desiredCount": 1,
        "taskDefinition": "arn:aws:ecs:us-east-1:111122223333:task-definition/web:1",
        "createdBy": SECRET,
        "roleArn": SECRET,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": [SECRET]}},
        "deployments": [{"id": "ecs-svc/1", "status": "PRIMARY", "rolloutStateReason": SECRET,
            "serviceConnectConfiguration": {"logConfiguration": {"options": {"token": SECRET}}},
            "volumeConfigurations": [{"name": "a", "managedEBSVolume": {"roleArn": SECRET, "snapshotId": SECRET}}]}],
        "deploymentConfiguration": {"minimumHealthyPercent": 100, "alarms": {"alarmNames": [SECRET]},
            "lifecycleHooks": [{"hookDetails": SECRET}]},
        "serviceRegistries": [{"registryArn": SECRET}],
        "tags": [{"key": "owner-key", "value": SECRET}, {"key": "ecs-rebalancer:enabled", "value": "false"}],
    }]})
}

fn container_instances() -> Value {
    json!({"containerInstances": [{
        "containerInstanceArn": "arn:aws:ecs:us-east-1:111122223333:container-instance/c/i-1",
        "status": "ACTIVE",
        "agentConnected": true,
        "attachments": [{"details": [{"name": "a", "value": SECRET}]}],
        "versionInfo": {"agentVersion": "1.75.0", "dockerVersion": SECRET},
        "healthStatus": {"details": [{"type": SECRET}]},
        "tags": [{"key": "k", "value": SECRET}],
    }]})
}

fn capacity_providers() -> Value {
    json!({"capacityProviders": [{
        "capacityProviderArn": "arn:aws:ecs:us-east-1:111122223333:capacity-provider/od",
        "name": "od",
        "autoScalingGroupProvider": {"autoScalingGroupArn": "g", "managedScaling": {"status": "ENABLED", "more": SECRET}},
        "managedInstancesProvider": {"infrastructureRoleArn": SECRET, "instanceLaunchTemplate": {"x": SECRET}},
        "updateStatusReason": SECRET,
        "tags": [{"key": "k", "value": SECRET}],
    }]})
}

fn auto_scaling_groups() -> Value {
    json!({"AutoScalingGroups": [{
        "AutoScalingGroupName": "g",
        "AutoScalingGroupARN": "arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:1:autoScalingGroupName/g",
        "MinSize": 2,
        "LaunchTemplate": {"LaunchTemplateName": SECRET},
        "Tags": [{"Key": "k", "Value": SECRET}],
    }]})
}

fn planted() -> Answers {
    let mut answers = Answers::default();
    let planted = [
        ("DescribeTaskDefinition", task_definition()),
        ("DescribeTasks", tasks()),
        ("DescribeServices", services()),
        ("DescribeContainerInstances", container_instances()),
        ("DescribeCapacityProviders", capacity_providers()),
        ("DescribeAutoScalingGroups", auto_scaling_groups()),
        ("ListTasks", json!({"taskArns": [SECRET]})),
    ];
    for (operation, answer) in planted {
        assert!(answer.to_string().contains(SECRET));
        answers.keep(operation, answer.to_string().as_bytes());
    }
    answers
}

#[test]
fn no_planted_secret_gets_into_a_snapshot() {
    let document = planted().document("c", None, Timestamp(1_500));
    let text = document.to_string();
    assert!(!text.contains(SECRET), "{document:#}");
    assert!(!text.contains("owner-key"), "a tag that isn't ours: {document:#}");
}

#[test]
fn what_a_rehearsal_needs_is_kept() {
    let document = planted().document("c", None, Timestamp(1_500));
    assert_eq!(document["cluster"]["clusterArn"], "arn:aws:ecs:us-east-1:111122223333:cluster/c");
    assert_eq!(document["takenAt"], json!(1), "in seconds");
    let container = &document["taskDefinitions"][0]["containerDefinitions"][0];
    assert_eq!((&container["cpu"], &container["memoryReservation"]), (&json!(256), &json!(512)));
    assert_eq!(container["healthCheck"], json!({"interval": 30, "retries": 3}));
    assert_eq!(container["mountPoints"], json!([{"sourceVolume": "a", "readOnly": true}]));
    let options = &document["taskDefinitions"][0]["volumes"][1]["dockerVolumeConfiguration"]["driverOpts"];
    assert_eq!(options, &json!({"type": "cifs", "o": "addr=server,bind"}), "where the data is, and no password");
    assert_eq!(container["resourceRequirements"], json!([{"type": "GPU", "value": "1"}]));
    assert_eq!(
        document["services"][0]["tags"],
        json!([{"key": "ecs-rebalancer:enabled", "value": "false"}]),
        "what the owner says about us"
    );
    let of_group = &document["capacityProviders"][0]["autoScalingGroupProvider"];
    assert_eq!(of_group, &json!({"autoScalingGroupArn": "g", "managedScaling": {"status": "ENABLED"}}));
    assert_eq!(document["autoScalingGroups"][0]["MinSize"], 2);
    assert_eq!(document["containerInstances"][0]["versionInfo"], json!({"agentVersion": "1.75.0"}));
}

#[test]
fn the_job_s_own_task_is_left_out_and_what_is_seen_twice_is_there_once() {
    let mut answers = planted();
    answers.keep("DescribeTasks", tasks().to_string().as_bytes());
    answers.keep("DescribeTasks", b"no JSON");
    let own = TaskArn::from("arn:aws:ecs:us-east-1:111122223333:task/c/1");
    let mut again = planted();
    again.keep("DescribeTasks", tasks().to_string().as_bytes());
    assert_eq!(answers.document("c", None, Timestamp(1_500))["tasks"].as_array().map(Vec::len), Some(1));
    assert_eq!(again.document("c", Some(&own), Timestamp(0))["tasks"], json!([]));
}

#[test]
fn every_path_of_the_list_is_a_plain_value_of_its_own() {
    for kind in &KINDS {
        for path in kind.fields {
            let is_inner =
                kind.fields.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
            assert!(!is_inner, "{path} names an object, of which everything would be kept");
        }
    }
}
