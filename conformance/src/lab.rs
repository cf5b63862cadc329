//! Services made in the cluster, looked at, and taken away.
//!
//! Nothing that is read once is believed: a look is two readings in a row that say the same, and what can't change of a task
//! (its instance, when it was created, who started it) is held against every later reading.

mod cleaning;
mod looking;
mod outside;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Debug,
    time::Duration,
};

use aws_sdk_ecs::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::{
        create_service::builders::CreateServiceFluentBuilder, update_service::builders::UpdateServiceFluentBuilder,
    },
    types::{
        AdvancedConfiguration, AvailabilityZoneRebalancing, CanaryConfiguration, CapacityProviderStrategyItem,
        DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentStrategy, LaunchType, LinearConfiguration,
        LoadBalancer, PlacementConstraint, PlacementConstraintType, PlacementStrategy, PlacementStrategyType,
        PropagateTags, Tag,
    },
};
use tokio::time::{Instant, sleep};

use crate::{
    connection::Connection,
    finding::Stop,
    stack::{PREFIX, Stack, TAG},
};

pub use self::{
    cleaning::{clean, is_allowed},
    looking::{Deployment, Instance, Look, Task, Told},
};

pub(crate) use self::looking::not_shown;

/// Between two looks at what is waited for.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);
/// What was just written is read so often, until it is there.
pub(crate) const READS: u32 = 20;
/// Between them.
pub(crate) const BETWEEN_READS: Duration = Duration::from_secs(2);
/// Nothing that a probe waits for takes longer: targets drain for 5 minutes at most, an image is pulled in one.
pub const PATIENCE: Duration = Duration::from_mins(20);
/// Without a health check a task is healthy so long after it runs [API, DeploymentConfiguration: 40 s], and some more.
const SETTLING: Duration = Duration::from_secs(45);

/// Longer than any probe needs; what a killed one protected is free again soon.
const PROTECTED_MINUTES: i32 = 60;

/// The id of a task that isn't there: that is told among `failures`.
pub(crate) const NO_TASK: &str = "00000000000000000000000000000000";

/// A refusal of ECS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As `InvalidParameterException`.
    pub code: String,
    /// In ECS's words.
    pub message: String,
}

/// Where probes run.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The clients.
    pub connection: &'a Connection,
    /// The cluster.
    pub stack: &'a Stack,
    /// How long anything is waited for.
    pub patience: Duration,
    /// Told what is waited for.
    pub tell: &'a dyn Fn(&str),
}

impl Debug for Site<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Site").field("cluster", &self.stack.cluster).finish_non_exhaustive()
    }
}

/// What a probe works with.
pub struct Lab<'a> {
    site: Site<'a>,
    /// The cluster.
    pub stack: &'a Stack,
    probe: &'static str,
    made: Cell<u32>,
    known: RefCell<BTreeMap<String, looking::Known>>,
}

impl Debug for Lab<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Lab").field("probe", &self.probe).finish_non_exhaustive()
    }
}

/// A service to be made.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each asks for a thing of its own, and most plans for none")]
pub struct Plan<'a> {
    /// Its task definition.
    pub definition: &'a str,
    /// How many tasks.
    pub count: i32,
    /// `spread:instanceId`, `binpack:memory`, ...
    pub strategy: &'a [&'a str],
    /// A `memberOf` expression.
    pub constraint: Option<String>,
    /// Behind the stack's target group.
    pub has_targets: bool,
    /// Behind the stack's other target group, whose targets drain for five minutes.
    pub drains_slowly: bool,
    /// Behind the stack's pair of target groups, with deployments of this strategy.
    pub swaps: Option<DeploymentStrategy>,
    /// Over both of the stack's capacity providers, instead of the launch type EC2.
    pub over_providers: bool,
    /// Of the capacity provider that scales by itself.
    pub is_scaled: bool,
    /// ECS evens out its zones.
    pub evens_zones: bool,
    /// minimumHealthyPercent and maximumPercent.
    pub percents: Option<(i32, i32)>,
    /// With a circuit breaker, which doesn't roll back.
    pub breaks: bool,
}

impl<'a> Lab<'a> {
    /// For one probe.
    pub fn new(site: Site<'a>, probe: &'static str) -> Self {
        Self { site, stack: site.stack, probe, made: Cell::new(0), known: RefCell::default() }
    }

    pub(crate) fn ecs(&self) -> &Client {
        &self.site.connection.ecs
    }

    /// All clients.
    pub(crate) fn connection(&self) -> &Connection {
        self.site.connection
    }

    /// How long anything is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.site.patience
    }

    /// Says what is waited for.
    pub(crate) fn tell(&self, what: &str) {
        (self.site.tell)(what);
    }

    /// Makes a service that has its tasks running.
    pub(crate) async fn make(&self, plan: &Plan<'_>) -> Result<(String, Look), Stop> {
        let name = self.create(plan).await?;
        let look = self.steady(&name, plan.count).await?;
        Ok((name, look))
    }

    /// Makes a service, and waits for nothing.
    pub(crate) async fn create(&self, plan: &Plan<'_>) -> Result<String, Stop> {
        let number = self.made.get() + 1;
        self.made.set(number);
        let name = format!("{PREFIX}{}-{number}", self.probe);
        let mut request = self.creation(&name, plan);
        for strategy in plan.strategy {
            request = request.placement_strategy(strategy_of(strategy));
        }
        if let Some(expression) = &plan.constraint {
            request = request.placement_constraints(member_of(expression));
        }
        call("CreateService", request.send()).await?;
        Ok(name)
    }

    /// Puts so many heavy tasks and tiny ones on an instance, and waits until they run.
    pub(crate) async fn load(&self, instance: &Instance, (heavy, tiny): (i32, i32)) -> Result<(), Stop> {
        let definitions = &self.stack.task_definitions;
        for (definition, count) in [(&definitions.heavy, heavy), (&definitions.tiny, tiny)] {
            if count > 0 {
                let constraint = Some(on(instance));
                let name = self.create(&Plan { definition, count, constraint, ..Plan::default() }).await?;
                self.running(&name, count).await?;
            }
        }
        Ok(())
    }

    fn creation(&self, name: &str, plan: &Plan<'_>) -> CreateServiceFluentBuilder {
        let tag = Tag::builder().key(TAG).value(self.probe).build();
        let mut request = self
            .ecs()
            .create_service()
            .cluster(&self.stack.cluster)
            .service_name(name)
            .task_definition(plan.definition)
            .desired_count(plan.count)
            // Else ECS would move tasks by itself.
            .availability_zone_rebalancing(if plan.evens_zones {
                AvailabilityZoneRebalancing::Enabled
            } else {
                AvailabilityZoneRebalancing::Disabled
            })
            .propagate_tags(PropagateTags::Service)
            .tags(tag);
        let providers: &[String] = match plan {
            Plan { over_providers: true, .. } => &self.stack.capacity_providers,
            Plan { is_scaled: true, .. } => std::slice::from_ref(&self.stack.scaled.provider),
            _ => &[],
        };
        if providers.is_empty() {
            request = request.launch_type(LaunchType::Ec2);
        } else {
            let item = |provider| CapacityProviderStrategyItem::builder().capacity_provider(provider).weight(1).build();
            // None lacks what it needs.
            request = request
                .set_capacity_provider_strategy(Some(providers.iter().map(item).filter_map(Result::ok).collect()));
        }
        let targets =
            |group: &str| LoadBalancer::builder().target_group_arn(group).container_name("app").container_port(80);
        if plan.has_targets {
            let group = &self.stack.target_groups[usize::from(plan.drains_slowly)];
            request = request.load_balancers(targets(group).build());
        }
        if let Some(strategy) = &plan.swaps {
            let swap = &self.stack.swap;
            let advanced = AdvancedConfiguration::builder()
                .alternate_target_group_arn(&swap.target_groups[1])
                .production_listener_rule(&swap.listener_rule)
                .role_arn(&swap.role);
            let targets = targets(&swap.target_groups[0]).advanced_configuration(advanced.build());
            request = request.load_balancers(targets.build()).deployment_configuration(swapping(strategy));
        }
        if plan.breaks {
            let breaker = DeploymentCircuitBreaker::builder().enable(true).rollback(false).build();
            let configuration = DeploymentConfiguration::builder().deployment_circuit_breaker(breaker);
            request = request.deployment_configuration(configuration.build());
        }
        if let Some((minimum, maximum)) = plan.percents {
            let percents = DeploymentConfiguration::builder();
            let percents = percents.minimum_healthy_percent(minimum).maximum_percent(maximum);
            request = request.deployment_configuration(percents.build());
        }
        request
    }

    /// Changes a service.
    pub(crate) async fn update(
        &self,
        service: &str,
        change: impl FnOnce(UpdateServiceFluentBuilder) -> UpdateServiceFluentBuilder,
    ) -> Result<(), Stop> {
        let request = self.ecs().update_service().cluster(&self.stack.cluster).service(service);
        call("UpdateService", change(request).send()).await.map(drop)
    }

    /// Sets a service's desired count, and nothing else.
    pub(crate) async fn set_count(&self, service: &str, count: i32) -> Result<(), Stop> {
        let request = self.ecs().update_service().cluster(&self.stack.cluster).service(service).desired_count(count);
        let answer = call("UpdateService", request.send()).await?;
        match answer.service() {
            Some(service) if service.desired_count() == count => Ok(()),
            _ => {
                Err(Stop::contradiction(format!("{service} to have {count} tasks"), format!("{:?}", answer.service())))
            }
        }
    }

    /// Adds one task, waits until it runs, and tells which it is.
    pub(crate) async fn raise_by_one(&self, service: &str, before: &Look) -> Result<(Task, Look), Stop> {
        self.set_count(service, before.desired + 1).await?;
        let after = self.running(service, before.desired + 1).await?;
        let new: Vec<&Task> = after.tasks.values().filter(|task| !before.tasks.contains_key(&task.arn)).collect();
        let stayed = before.tasks.keys().all(|arn| after.tasks.contains_key(arn));
        match new.as_slice() {
            [task] if stayed => Ok(((*task).clone(), after)),
            _ => Err(Stop::contradiction(
                format!("{service} to have {} tasks instead of {}", after.desired, before.desired),
                format!("{} are new, and {}", new.len(), if stayed { "none is gone" } else { "some are gone" }),
            )),
        }
    }

    /// Takes one task away, and tells which it is.
    pub(crate) async fn lower_by_one(&self, service: &str, before: &Look) -> Result<(Task, Look), Stop> {
        self.set_count(service, before.desired - 1).await?;
        let after = self.running(service, before.desired - 1).await?;
        let gone: Vec<&Task> = before.tasks.values().filter(|task| !after.tasks.contains_key(&task.arn)).collect();
        let [task] = gone.as_slice() else {
            return Err(Stop::contradiction(
                format!("{service} to have {} tasks instead of {}", after.desired, before.desired),
                format!("{} are gone", gone.len()),
            ));
        };
        let stopped = self.describe(&task.arn).await?;
        if stopped.is_wanted {
            return Err(Stop::contradiction(
                format!("{service} to have one task less; ListTasks has {} no more", task.arn),
                "DescribeTasks says that it is to run".to_owned(),
            ));
        }
        Ok(((*task).clone(), after))
    }

    /// Whether there is such a thing as protection here.
    ///
    /// # Errors
    /// Names the operation that is missing.
    pub(crate) async fn has_protection(&self) -> Result<(), Stop> {
        let request = self.ecs().get_task_protection().cluster(&self.stack.cluster).tasks(NO_TASK);
        call("GetTaskProtection", request.send()).await.map(drop)
    }

    /// Protects tasks from scale-in for the time of a probe, or no longer.
    pub(crate) async fn protect(&self, tasks: &[&str], is_protected: bool) -> Result<(), Stop> {
        // [API, UpdateTaskProtection: 10]
        for batch in tasks.chunks(10) {
            let tasks = batch.iter().map(|arn| (*arn).to_owned()).collect();
            let request = self.ecs().update_task_protection().cluster(&self.stack.cluster).set_tasks(Some(tasks));
            let request = request.protection_enabled(is_protected).expires_in_minutes(PROTECTED_MINUTES);
            let answer = call("UpdateTaskProtection", request.send()).await?;
            if let Some(failure) = answer.failures().first() {
                return Err(Stop::not_settled(format!("UpdateTaskProtection refused a task: {failure:?}")));
            }
            let known = answer.protected_tasks();
            if known.len() != batch.len() || known.iter().any(|task| task.protection_enabled() != is_protected) {
                return Err(Stop::contradiction(protection(batch, is_protected), format!("{known:?}")));
            }
        }
        Ok(())
    }

    /// Reads the protection of tasks until it is what it was set to.
    pub(crate) async fn is_protected(&self, tasks: &[&str], is_protected: bool) -> Result<(), Stop> {
        // [API, GetTaskProtection: 100]
        for batch in tasks.chunks(100) {
            let mut left = READS;
            loop {
                let arns = batch.iter().map(|arn| (*arn).to_owned()).collect();
                let request = self.ecs().get_task_protection().cluster(&self.stack.cluster).set_tasks(Some(arns));
                let answer = call("GetTaskProtection", request.send()).await?;
                let known = answer.protected_tasks();
                if known.len() == batch.len() && known.iter().all(|task| task.protection_enabled() == is_protected) {
                    break;
                }
                left -= 1;
                if left == 0 {
                    return Err(Stop::contradiction(
                        protection(batch, is_protected),
                        format!("success, and {known:?}"),
                    ));
                }
                sleep(BETWEEN_READS).await;
            }
        }
        Ok(())
    }

    /// Waits so long.
    pub(crate) async fn pause(&self, duration: Duration) {
        sleep(duration).await;
    }

    /// Waits until the service has so many tasks, all running, and none on its way.
    pub(crate) async fn running(&self, service: &str, count: i32) -> Result<Look, Stop> {
        self.until(service, &format!("{count} running tasks"), |look| look.has_running(count)).await
    }

    /// Waits until it has had so many running tasks for long enough that all are healthy, and no deployment is under way.
    pub(crate) async fn steady(&self, service: &str, count: i32) -> Result<Look, Stop> {
        let began = Instant::now();
        let mut before = self.running(service, count).await?;
        loop {
            self.tell(&format!("{service}: {count} tasks to be healthy"));
            sleep(SETTLING).await;
            let look = self.look(service).await?;
            if look.has_running(count) && look.is_complete() && look.tasks.keys().eq(before.tasks.keys()) {
                return Ok(look);
            }
            if began.elapsed() > self.site.patience {
                return Err(Stop::not_settled(format!(
                    "{service} was not steady with {count} tasks: {}",
                    look.shown()
                )));
            }
            before = look;
        }
    }

    /// Waits until the service says that it has reached a steady state, with so many tasks: its targets are healthy then.
    pub(crate) async fn at_rest(&self, service: &str, count: i32) -> Result<Look, Stop> {
        let what = format!("a steady state with {count} tasks");
        self.until(service, &what, |look| {
            let said = look.events.last().is_some_and(|event| event.ends_with("has reached a steady state."));
            said && look.has_running(count) && look.is_complete()
        })
        .await
    }

    /// Waits until a task has stopped.
    pub(crate) async fn stopped(&self, arn: &str) -> Result<Task, Stop> {
        let began = Instant::now();
        self.tell("a task to stop");
        loop {
            let task = self.describe(arn).await?;
            if task.stopped.is_some() {
                return Ok(task);
            }
            if began.elapsed() > self.site.patience {
                return Err(Stop::not_settled(format!("{arn} doesn't stop: {}", task.status)));
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Looks until what is looked for is there.
    pub(crate) async fn until(&self, service: &str, what: &str, is_so: impl Fn(&Look) -> bool) -> Result<Look, Stop> {
        let began = Instant::now();
        self.tell(&format!("{service}: {what}"));
        loop {
            let look = self.look(service).await?;
            if is_so(&look) {
                return Ok(look);
            }
            if began.elapsed() > self.site.patience {
                let seconds = self.site.patience.as_secs();
                let none =
                    if look.tasks.is_empty() { "CreateService and UpdateService start no task here; " } else { "" };
                let what = format!("{none}{service}: {seconds} s were not enough for {what}: {}", look.shown());
                return Err(Stop::not_settled(what));
            }
            sleep(BETWEEN_LOOKS.min(self.site.patience)).await;
        }
    }

    /// Takes a service away with its tasks; what drains goes on draining.
    pub(crate) async fn delete(&self, service: &str) -> Result<(), Stop> {
        let request = self.ecs().delete_service().cluster(&self.stack.cluster).service(service).force(true);
        call("DeleteService", request.send()).await.map(drop)
    }
}

fn protection(tasks: &[&str], is_protected: bool) -> String {
    format!("the protection of {} to be {is_protected}", tasks.join(", "))
}

/// All of the traffic as soon as may be.
fn swapping(strategy: &DeploymentStrategy) -> DeploymentConfiguration {
    let configuration = DeploymentConfiguration::builder().strategy(strategy.clone()).bake_time_in_minutes(0);
    match strategy {
        DeploymentStrategy::Linear => {
            let steps = LinearConfiguration::builder().step_percent(50.0).step_bake_time_in_minutes(0);
            configuration.linear_configuration(steps.build())
        }
        DeploymentStrategy::Canary => {
            let canary = CanaryConfiguration::builder().canary_percent(50.0).canary_bake_time_in_minutes(0);
            configuration.canary_configuration(canary.build())
        }
        _ => configuration,
    }
    .build()
}

/// The expression that this instance alone meets.
pub(crate) fn on(instance: &Instance) -> String {
    format!("ec2InstanceId == {}", instance.ec2)
}

/// `memberOf` and an expression.
pub(crate) fn member_of(expression: &str) -> PlacementConstraint {
    PlacementConstraint::builder().r#type(PlacementConstraintType::MemberOf).expression(expression).build()
}

/// `spread:instanceId` as the API has it.
pub(crate) fn strategy_of(text: &str) -> PlacementStrategy {
    let (kind, field) = text.split_once(':').unwrap_or((text, ""));
    let builder = PlacementStrategy::builder().r#type(PlacementStrategyType::from(kind));
    if field.is_empty() { builder } else { builder.field(field) }.build()
}

/// The answer of a call that is expected to succeed.
pub(crate) async fn call<T, E: ProvideErrorMetadata + Debug + std::error::Error + 'static, R: Debug>(
    operation: &str,
    sent: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> Result<T, Stop> {
    match attempt(operation, sent).await? {
        Ok(answer) => Ok(answer),
        Err(refusal) => Err(Stop::not_settled(format!("{operation}: {}: {}", refusal.code, refusal.message))),
    }
}

/// The refusals that tell of what was asked. [API, common errors and those of each operation]
///
/// Others tell of who asks, or of the moment.
const REFUSALS: [&str; 5] = [
    "ClientException",
    "ConflictException",
    "InvalidParameterException",
    "InvalidParameterValueException",
    // A service by an ARN that ECS doesn't know it by.
    "ServiceNotFoundException",
];

/// The answer of a call that ECS may refuse for what it asks.
pub(crate) async fn tried<T, E: ProvideErrorMetadata + Debug + std::error::Error + 'static, R: Debug>(
    operation: &str,
    sent: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> Result<Result<T, Refusal>, Stop> {
    match attempt(operation, sent).await? {
        Err(refusal) if !REFUSALS.contains(&refusal.code.as_str()) => {
            Err(Stop::not_settled(format!("{operation}: {}: {}", refusal.code, refusal.message)))
        }
        answer => Ok(answer),
    }
}

/// The answer of a call that may be refused.
pub(crate) async fn attempt<T, E: ProvideErrorMetadata + Debug + std::error::Error + 'static, R: Debug>(
    operation: &str,
    sent: impl Future<Output = Result<T, SdkError<E, R>>>,
) -> Result<Result<T, Refusal>, Stop> {
    match sent.await {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match (error.code(), error.message()) {
            (Some(code), message) => {
                Ok(Err(Refusal { code: code.to_owned(), message: message.unwrap_or_default().to_owned() }))
            }
            _ => Err(Stop::not_settled(format!("{operation} is not to be had here: {}", DisplayErrorContext(&error)))),
        },
    }
}
