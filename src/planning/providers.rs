//! Capacity providers: which one ECS takes for a service's next task, by `base` and `weight`
//! [API, CapacityProviderStrategyItem].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    model::{Cluster, Launch, ProviderShare, Service, Task},
    placement::Index,
    provider_parts::is_placed,
    reason::Blocked,
};

/// Why a service whose tasks are on several providers, or may be, is left alone.
pub fn shared_out(index: &Index<'_>, service: &Service) -> Option<Blocked> {
    let tasks = index.tasks_of(service);
    let providers = several(service, tasks)?;
    let next = next(&service.capacity_provider_strategy, &counts(tasks));
    let has_instances =
        next.is_some() && index.instances.iter().any(|instance| instance.capacity_provider.as_deref() == next);
    Some(Blocked::SeveralProviders {
        providers: providers.into_iter().map(str::to_owned).collect(),
        next: next.map(str::to_owned),
        has_instances,
    })
}

/// The providers that a service's tasks are on or may go to, where these are several: then a task that goes is replaced on the one
/// that comes next, and not on its own.
pub fn several<'a>(service: &'a Service, tasks: &[&'a Task]) -> Option<BTreeSet<&'a str>> {
    let takes_tasks = |share: &&ProviderShare| share.weight > 0 || share.base > 0;
    let of_strategy =
        service.capacity_provider_strategy.iter().filter(takes_tasks).map(|share| share.provider.as_str());
    let of_tasks = tasks.iter().filter_map(|task| task.capacity_provider.as_deref());
    let providers: BTreeSet<&str> = of_strategy.chain(of_tasks).collect();
    let is_mixed = tasks.iter().any(|task| task.capacity_provider.is_none());
    (providers.len() > 1 || (is_mixed && !providers.is_empty())).then_some(providers)
}

/// The providers that tasks of a service are on and its strategy does not name any more, with their tasks: none of these is
/// replaced there.
pub fn unnamed<'a>(service: &Service, tasks: &[&'a Task]) -> BTreeMap<&'a str, u32> {
    let named = |provider: &str| service.capacity_provider_strategy.iter().any(|share| share.provider == provider);
    let mut unnamed = counts(tasks);
    unnamed.retain(|provider, _| !service.capacity_provider_strategy.is_empty() && !named(provider));
    unnamed
}

/// Tells which container instances are ECS Managed Instances: those of capacity providers that say so, or of which a task or an
/// instance does. Few runs read the providers, but ECS keeps no Managed Instance without a task.
pub fn tell_managed_instances(cluster: &mut Cluster) {
    let of_instance = |task: &Task| cluster.container_instances.get(task.container_instance.as_ref()?);
    let tasks = cluster.tasks.values().filter(|task| task.launch == Launch::ManagedInstances);
    let by_tasks = tasks.filter_map(|task| of_instance(task)?.capacity_provider.clone());
    let known = cluster.container_instances.values().filter(|instance| instance.is_managed);
    let by_instances = known.filter_map(|instance| instance.capacity_provider.clone());
    let read = cluster.capacity_providers.values().filter(|provider| provider.has_managed_instances);
    let by_themselves = read.map(|provider| provider.name.clone());
    let managed: BTreeSet<String> = by_tasks.chain(by_instances).chain(by_themselves).collect();
    if managed.is_empty() {
        return;
    }
    for instance in cluster.container_instances.values_mut() {
        if !instance.is_managed && instance.capacity_provider.as_ref().is_some_and(|name| managed.contains(name)) {
            Arc::make_mut(instance).is_managed = true;
        }
    }
}

/// How many of a service's tasks each provider has.
pub fn counts<'a>(tasks: &[&'a Task]) -> BTreeMap<&'a str, u32> {
    let mut counts = BTreeMap::new();
    for provider in tasks.iter().filter(|task| is_placed(task)).filter_map(|task| task.capacity_provider.as_deref()) {
        *counts.entry(provider).or_default() += 1;
    }
    counts
}

/// The provider of the next task: the first that lacks some of its base; else the one that, with it, is furthest below its part of
/// the rest by weight, of equal ones the first of the strategy. None where the strategy names none that takes tasks.
pub fn next<'a>(strategy: &'a [ProviderShare], counts: &BTreeMap<&str, u32>) -> Option<&'a str> {
    let has = |share: &ProviderShare| counts.get(share.provider.as_str()).copied().unwrap_or(0);
    let lacks_base = strategy.iter().find(|share| has(share) < share.base);
    let by_weight = || {
        let rest = |share: &ProviderShare| u64::from(has(share).saturating_sub(share.base)) + 1;
        strategy
            .iter()
            .filter(|share| share.weight > 0)
            .min_by(|one, other| (rest(one) * u64::from(other.weight)).cmp(&(rest(other) * u64::from(one.weight))))
    };
    lacks_base.or_else(by_weight).map(|share| share.provider.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::planning::{model::CapacityProvider, testing};

    /// Puts each task on the capacity provider of its instance, and gives a service the strategy, as `od:0:1 spot:0:1`: the base
    /// and the weight of each.
    pub(in crate::planning) fn share_out(cluster: &mut Cluster, service: &str, drawn: &str) {
        for task in cluster.tasks.values_mut() {
            let instance = task.container_instance.as_ref().map(|arn| &cluster.container_instances[arn]);
            Arc::make_mut(task).capacity_provider = instance.and_then(|instance| instance.capacity_provider.clone());
        }
        cluster.services.get_mut(&service.into()).unwrap().capacity_provider_strategy = strategy(drawn);
    }

    fn strategy(drawn: &str) -> Vec<ProviderShare> {
        let share = |word: &str| {
            let parts: Vec<&str> = word.split(':').collect();
            let [base, weight] = [parts[1], parts[2]].map(|number| number.parse().unwrap());
            ProviderShare { provider: parts[0].to_owned(), base, weight }
        };
        drawn.split_whitespace().map(share).collect()
    }

    #[test]
    fn the_base_comes_first_and_then_the_weights() {
        for (shares, counts, expected) in [
            ("od:0:1 spot:0:1", &[][..], Some("od")),
            ("od:0:1 spot:0:1", &[("od", 1)], Some("spot")),
            ("od:2:1 spot:0:1", &[("od", 1)], Some("od")),
            ("od:2:1 spot:0:1", &[("od", 2)], Some("od")),
            ("od:2:1 spot:0:1", &[("od", 3)], Some("spot")),
            ("od:2:0 spot:0:1", &[("od", 2), ("spot", 4)], Some("spot")),
            ("od:2:0 spot:0:1", &[("od", 1), ("spot", 4)], Some("od")),
            ("od:0:1 spot:0:4", &[("od", 1), ("spot", 3)], Some("spot")),
            ("od:0:1 spot:0:4", &[("od", 1), ("spot", 4)], Some("spot")),
            ("od:0:1 spot:0:4", &[("od", 1), ("spot", 8)], Some("od")),
            ("od:4:0 spot:0:1", &[("od", 4)], Some("spot")),
            ("od:4:0", &[("od", 4)], None),
            ("", &[], None),
        ] {
            let (strategy, counts) = (strategy(shares), counts.iter().copied().collect());
            assert_eq!(next(&strategy, &counts), expected, "{shares} {counts:?}");
        }
    }

    #[test]
    fn tasks_where_their_strategy_sends_none_any_more() {
        let mut cluster =
            testing::cluster("a i-1 web web\nservice web provider=od\na i-2 api\nservice api provider=old");
        let mut told = |shares: &str| {
            let mut told = Vec::new();
            for service in cluster.services.values_mut() {
                service.capacity_provider_strategy = strategy(shares);
            }
            let index = Index::new(&cluster);
            for service in cluster.services.values() {
                let unnamed = unnamed(service, index.tasks_of(service));
                told.extend(
                    unnamed.into_iter().map(|(provider, tasks)| format!("{}: {tasks} on {provider}", service.name)),
                );
            }
            told
        };
        assert_eq!(told("od:0:1 spot:0:1"), ["api: 1 on old"]);
        assert_eq!(told("spot:0:1"), ["api: 1 on old", "web: 2 on od"]);
        assert_eq!(told(""), Vec::<String>::new(), "a launch type has no providers");
    }

    #[test]
    fn managed_instances_are_known_by_their_tasks_by_each_other_or_by_their_provider() {
        let drawing = "a i-1 web\na i-2 provider=od\nb i-3 m provider=mi\nb i-4 provider=mi\nservice m provider=mi";
        let told = |change: &dyn Fn(&mut Cluster)| {
            let mut cluster = testing::cluster(drawing);
            change(&mut cluster);
            tell_managed_instances(&mut cluster);
            let managed = cluster.container_instances.values().filter(|instance| instance.is_managed);
            managed.map(|instance| instance.arn.to_string()).collect::<Vec<_>>().join(" ")
        };
        let provider = |name: &str, has_managed_instances: bool| CapacityProvider {
            name: name.to_owned(),
            has_managed_instances,
            managed_scaling: true,
            minimum_instances: None,
        };
        assert_eq!(told(&|_| {}), "");
        let by_tasks = |cluster: &mut Cluster| {
            let tasks = cluster.tasks.values_mut().filter(|task| task.capacity_provider.is_some());
            tasks.for_each(|task| Arc::make_mut(task).launch = Launch::ManagedInstances);
        };
        assert_eq!(told(&by_tasks), "i-3 i-4");
        let by_another = |cluster: &mut Cluster| {
            let instance = cluster.container_instances.get_mut(&"i-4".into()).unwrap();
            Arc::make_mut(instance).is_managed = true;
        };
        assert_eq!(told(&by_another), "i-3 i-4");
        let by_provider = |cluster: &mut Cluster| {
            let providers = [provider("od", false), provider("mi", true)];
            cluster.capacity_providers = providers.map(|provider| (provider.name.clone(), provider)).into();
        };
        assert_eq!(told(&by_provider), "i-3 i-4");
    }

    #[test]
    fn one_after_another_they_come_to_their_shares() {
        for (shares, tasks, expected) in [
            ("od:0:1 spot:0:1", 10, [5, 5]),
            ("od:2:1 spot:0:1", 10, [6, 4]),
            ("od:1:1 spot:0:3", 9, [3, 6]),
            ("od:2:0 spot:0:1", 6, [2, 4]),
        ] {
            let strategy = strategy(shares);
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for _ in 0..tasks {
                *counts.entry(next(&strategy, &counts).unwrap()).or_default() += 1;
            }
            assert_eq!(["od", "spot"].map(|name| counts[name]), expected, "{shares}");
        }
    }
}
