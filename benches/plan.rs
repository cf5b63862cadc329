//! How long the measure and the plan take as clusters grow to ECS's quotas: 5,000 container instances, 5,000 services.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ecs_rebalancer::planning::{
    imbalance::{definitions_needed, measure},
    model::{
        Capacity, Cluster, ContainerInstance, ContainerInstanceStatus, Deployment, DeploymentController,
        DeploymentStrategy, Health, Launch, SchedulingStrategy, Service, ServiceStatus, Task, TaskDefinition,
        TaskStatus, Timestamp,
    },
    planner::plan,
    policy::Policy,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const LONG_AGO: Timestamp = Timestamp(1_700_000_000_000);

/// A cluster of so many container instances in three zones, a service for each, and twenty tasks a service.
///
/// Every third instance came back empty, so that services are uneven in earnest.
fn fleet(instances: u32) -> Cluster {
    let mut cluster = Cluster {
        name: "fleet".to_owned(),
        container_instances: (0..instances).map(instance).map(|it| (it.arn.clone(), it)).collect(),
        services: BTreeMap::new(),
        tasks: BTreeMap::new(),
        task_definitions: BTreeMap::new(),
    };
    let arns: Vec<_> = cluster.container_instances.keys().cloned().collect();
    let mut chance = 1;
    for number in 0..instances {
        let definition = definition(number);
        let service = service(number, &definition);
        for _ in 0..20 {
            let arn = &arns[pick(&mut chance, instances) / 3 * 3];
            let instance = cluster.container_instances.get_mut(arn).expect("it was made above");
            instance.remaining.cpu_units -= definition.reserves.cpu_units;
            instance.remaining.memory_mib -= definition.reserves.memory_mib;
            let task = task(cluster.tasks.len(), &service, instance);
            cluster.tasks.insert(task.arn.clone(), task);
        }
        cluster.services.insert(service.name.clone(), service);
        cluster.task_definitions.insert(definition.arn.clone(), definition);
    }
    cluster
}

/// A number below `bound`, by Knuth's linear congruential generator: the same ones in every run.
fn pick(chance: &mut u64, bound: u32) -> usize {
    *chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from((*chance >> 33) % u64::from(bound)).unwrap_or_default()
}

fn instance(number: u32) -> ContainerInstance {
    let capacity = Capacity { cpu_units: 65_536, memory_mib: 262_144, gpus: 0 };
    let zone = ["a", "b", "c"][number as usize % 3];
    let trunk = format!("trunk-assoc-{number:08x}");
    let attributes =
        [("ecs.availability-zone", zone), ("ecs.instance-type", "m5.16xlarge"), ("ecs.awsvpc-trunk-id", &trunk)];
    ContainerInstance {
        arn: format!("arn:aws:ecs:us-east-1:111122223333:container-instance/fleet/{number:08x}").as_str().into(),
        ec2_instance_id: format!("i-{number:08x}"),
        status: ContainerInstanceStatus::Active,
        agent_connected: true,
        agent_version: "1.89.0".to_owned(),
        registered_at: Some(LONG_AGO),
        running_tasks_count: 0,
        pending_tasks_count: 0,
        registered: capacity,
        remaining: capacity,
        taken_tcp_ports: BTreeSet::new(),
        taken_udp_ports: BTreeSet::new(),
        reserved_tcp_ports: BTreeSet::new(),
        reserved_udp_ports: BTreeSet::new(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into(),
        capacity_provider: None,
    }
}

fn definition(number: u32) -> TaskDefinition {
    TaskDefinition {
        arn: format!("arn:aws:ecs:us-east-1:111122223333:task-definition/service-{number}:1").as_str().into(),
        reserves: Capacity { cpu_units: 64 + number % 64, memory_mib: 128 + number % 512, gpus: 0 },
        tcp_host_ports: BTreeSet::new(),
        udp_host_ports: BTreeSet::new(),
        takes_network_interface: false,
        placement_constraints: Vec::new(),
        required_attributes: BTreeMap::new(),
        os_family: None,
        cpu_architecture: None,
        has_health_check: false,
    }
}

fn service(number: u32, definition: &TaskDefinition) -> Service {
    let name = format!("service-{number}");
    let deployment = Deployment {
        id: format!("ecs-svc/{number}"),
        status: "PRIMARY".to_owned(),
        rollout_state: "COMPLETED".to_owned(),
        task_definition: definition.arn.clone(),
        failed_tasks: 0,
        created_at: Some(LONG_AGO),
        updated_at: Some(LONG_AGO),
    };
    Service {
        name: name.as_str().into(),
        arn: format!("arn:aws:ecs:us-east-1:111122223333:service/fleet/{name}"),
        status: ServiceStatus::Active,
        scheduling_strategy: SchedulingStrategy::Replica,
        launch: Launch::Ec2,
        deployment_controller: DeploymentController::Ecs,
        deployment_strategy: DeploymentStrategy::Rolling,
        managed_by_ecs: false,
        desired_count: 20,
        running_count: 20,
        pending_count: 0,
        minimum_healthy_percent: 100,
        maximum_percent: 200,
        placement_strategy: Vec::new(),
        placement_constraints: Vec::new(),
        availability_zone_rebalancing: false,
        availability_zone_rebalancing_in_progress: false,
        newest_failure: None,
        deployments: vec![deployment],
        task_sets: 0,
        task_definition: definition.arn.clone(),
        target_groups: Vec::new(),
        classic_load_balancers: Vec::new(),
        health_check_grace_period_seconds: 0,
        created_at: Some(LONG_AGO),
        tags: BTreeMap::new(),
    }
}

fn task(number: usize, service: &Service, instance: &ContainerInstance) -> Task {
    Task {
        arn: format!("arn:aws:ecs:us-east-1:111122223333:task/fleet/{number:08x}").as_str().into(),
        service: Some(service.name.clone()),
        group: format!("service:{}", service.name),
        container_instance: Some(instance.arn.clone()),
        task_definition: service.task_definition.clone(),
        capacity_provider: None,
        launch: Launch::Ec2,
        last_status: TaskStatus::Running,
        health: Health::Unknown,
        started_by: service.deployments[0].id.clone(),
        host_ports: BTreeSet::new(),
        addresses: BTreeSet::new(),
        cpu_units: None,
        memory_mib: None,
        created_at: Some(LONG_AGO),
        started_at: Some(LONG_AGO),
    }
}

fn growing_fleets(criterion: &mut Criterion) {
    let policy = Policy::default();
    let mut group = criterion.benchmark_group("fleet");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for instances in [10, 1_000, 5_000] {
        let cluster = fleet(instances);
        // Per task, so that what grows faster than the cluster shows.
        group.throughput(Throughput::Elements(cluster.tasks.len() as u64));
        let measured = measure(&cluster, &policy, NOW);
        eprintln!("{instances} instances: {} misplaced, {} stuck", measured.misplaced_tasks, measured.stuck_tasks);
        group.bench_with_input(BenchmarkId::new("measure", instances), &cluster, |bencher, cluster| {
            bencher.iter(|| measure(black_box(cluster), &policy, NOW));
        });
        group.bench_with_input(BenchmarkId::new("definitions_needed", instances), &cluster, |bencher, cluster| {
            bencher.iter(|| definitions_needed(black_box(cluster)));
        });
        group.bench_with_input(BenchmarkId::new("plan", instances), &cluster, |bencher, cluster| {
            bencher.iter(|| plan(black_box(cluster), &measured, &policy, NOW));
        });
    }
}

criterion_group!(benches, growing_fleets);
criterion_main!(benches);
