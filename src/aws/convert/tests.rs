//! What ECS says in words or in shapes of its own, as what it means.

use super::*;

/// Events as ECS gives them, newest first, with seconds.
fn events(messages: &[(i64, &str)]) -> Vec<types::ServiceEvent> {
    let event = |(at, message): &(i64, &str)| {
        types::ServiceEvent::builder().created_at(DateTime::from_secs(*at)).message(*message).build()
    };
    messages.iter().map(event).collect()
}

#[test]
fn a_zone_rebalancing_has_begun_until_ecs_tells_of_its_end() {
    let began = "(service web) is not AZ balanced with 3 tasks in us-east-1b, 1 tasks in us-east-1a. AZ Rebalancing in progress.";
    let starts = "(service web) has started 1 tasks in us-east-1a to AZ Rebalance: (task 0123).";
    let stops = "(service web) has stopped 1 running tasks in us-east-1b due to AZ rebalancing: (task 4567).";
    for (messages, expected) in [
        (&[][..], None),
        (&[(9, "(service web) has started 1 tasks: (task 0123).")], None),
        (&[(9, began)], Some(9)),
        (&[(12, starts), (9, began)], Some(12)),
        (&[(15, stops), (12, starts), (9, began)], Some(15)),
        (&[(13, "(service web) registered 1 targets in (target-group x)"), (12, starts), (9, began)], Some(12)),
        (&[(20, "(service web) is AZ balanced with 2 tasks in us-east-1a, 2 tasks in us-east-1b."), (9, began)], None),
        (&[(20, "(service web) stopped AZ Rebalancing."), (9, began)], None),
        (
            &[
                (
                    20,
                    "(service web) was unable to AZ Rebalance because (task 4567) was unable to scale in due to protection",
                ),
                (9, began),
            ],
            None,
        ),
        (
            &[
                (
                    20,
                    "(service web) is unable to place a task in us-east-1a because no container instance met all of its requirements.",
                ),
                (9, began),
            ],
            None,
        ),
        (&[(20, "(service web) (deployment ecs-svc/1) deployment completed."), (9, began)], None),
        (&[(20, "(service web) has reached a steady state."), (9, began)], None),
        (&[(30, began), (20, "(service web) has reached a steady state."), (9, began)], Some(30)),
    ] {
        let found = zone_rebalancing_began(&events(messages));
        assert_eq!(found, expected.map(|seconds| Timestamp(seconds * 1000)), "{messages:?}");
    }
    let without_time = types::ServiceEvent::builder().message(began).build();
    assert_eq!(zone_rebalancing_began(&[without_time]), None);
}

#[test]
fn a_blue_green_service_has_a_pair_of_target_groups() {
    let alternate = types::AdvancedConfiguration::builder().alternate_target_group_arn("green").build();
    let answer = types::Service::builder()
        .load_balancers(
            types::LoadBalancer::builder().target_group_arn("blue").advanced_configuration(alternate).build(),
        )
        .load_balancers(types::LoadBalancer::builder().target_group_arn("inner").build())
        .load_balancers(types::LoadBalancer::builder().load_balancer_name("classic").build())
        .build();
    let service = service(&answer);
    assert_eq!(service.target_groups, [vec!["blue".to_owned(), "green".to_owned()], vec!["inner".to_owned()]]);
    assert_eq!(service.classic_load_balancers, ["classic"]);
}

#[test]
fn devices_are_whole_gpus_or_told_by_their_kind() {
    let mps = types::SharingStrategy::NvidiaMps(types::NvidiaMpsAllocation::builder().memory(4096).build().unwrap());
    let requirement =
        |kind: types::ResourceType, value: &str| types::ResourceRequirement::builder().r#type(kind).value(value);
    let gpu = |value: &str| requirement(types::ResourceType::Gpu, value);
    let container = |requirement: types::builders::ResourceRequirementBuilder| {
        types::ContainerDefinition::builder().resource_requirements(requirement.build().unwrap()).build()
    };
    for (asked, gpus, devices) in [
        (gpu("1"), 1, None),
        (gpu("4"), 4, None),
        (gpu("ALL"), 1, Some(Devices::AllGpus)),
        (gpu("").sharing_strategy(mps.clone()), 1, Some(Devices::SharedGpu)),
        (gpu("half"), 1, Some(Devices::Unknown)),
        (requirement(types::ResourceType::NeuronDevice, "2"), 0, Some(Devices::Neuron)),
        (requirement(types::ResourceType::InferenceAccelerator, "eia"), 0, Some(Devices::InferenceAccelerators)),
        (requirement("TPU".into(), "1"), 0, Some(Devices::Unknown)),
    ] {
        let shown = format!("{asked:?}");
        let answer = types::TaskDefinition::builder().container_definitions(container(asked)).build();
        let definition = task_definition(&answer);
        assert_eq!((definition.reserves.gpus, definition.devices), (gpus, devices), "{shown}");
    }
}

#[test]
fn a_volume_is_read_only_where_every_container_mounts_it_so() {
    let mount = |volume: &str, read_only: bool| {
        types::MountPoint::builder().source_volume(volume).container_path("/x").read_only(read_only).build()
    };
    let volume = |name: &str| {
        let host = types::HostVolumeProperties::builder().source_path("/data").build();
        types::Volume::builder().name(name).host(host).build()
    };
    let answer = types::TaskDefinition::builder()
        .container_definitions(
            types::ContainerDefinition::builder()
                .mount_points(mount("read", true))
                .mount_points(mount("both", true))
                .build(),
        )
        .container_definitions(types::ContainerDefinition::builder().mount_points(mount("both", false)).build())
        .volumes(volume("read"))
        .volumes(volume("both"))
        .volumes(volume("unmounted"))
        .build();
    let volumes = task_definition(&answer).volumes;
    let read_only: Vec<(&str, bool)> = volumes.iter().map(|it| (it.name.as_str(), it.is_read_only)).collect();
    assert_eq!(read_only, [("read", true), ("both", false), ("unmounted", false)]);
}
