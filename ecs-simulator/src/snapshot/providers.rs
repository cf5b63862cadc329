//! Capacity providers and their Auto Scaling groups, as the two APIs answer with them; and what there must be where a snapshot
//! doesn't tell.

use std::collections::BTreeSet;

use anyhow::Result;

use super::unique;
use crate::{
    place::Place,
    state::{AutoScalingGroup, CapacityProvider, State, count},
};

/// What stands before the name in a group's ARN.
const GROUP_NAME: &str = ":autoScalingGroupName/";

/// Reads `capacityProviders` and `autoScalingGroups`, and what `tasks` tell of providers. The instances are known by now.
pub(super) fn read(
    providers: &[Place<'_>],
    groups: &[Place<'_>],
    tasks: &[Place<'_>],
    state: &mut State,
) -> Result<()> {
    for place in providers {
        let provider = read_provider(place)?;
        unique(place, state.capacity_providers.insert(provider.name.clone(), provider).is_none())?;
    }
    let mut of_managed_instances = BTreeSet::new();
    for place in tasks {
        if place.get("launchType").text()? == Some("MANAGED_INSTANCES") {
            of_managed_instances.extend(place.get("capacityProviderName").text()?.map(str::to_owned));
        }
    }
    let named: BTreeSet<String> =
        state.instances.values().filter_map(|instance| instance.capacity_provider.clone()).collect();
    for name in named {
        // Managed scaling is on unless somebody turns it off [API, ManagedScaling: consoles and tools all turn it on].
        let of_group =
            || CapacityProvider { group: Some(name.clone()), managed_scaling: true, ..CapacityProvider::new(&name) };
        let plain = || if of_managed_instances.contains(&name) { CapacityProvider::new(&name) } else { of_group() };
        state.capacity_providers.entry(name.clone()).or_insert_with(plain);
    }
    for place in groups {
        let group = read_group(place, state)?;
        unique(place, state.auto_scaling_groups.insert(group.name.clone(), group).is_none())?;
    }
    let named: BTreeSet<String> =
        state.capacity_providers.values().filter_map(|provider| provider.group.clone()).collect();
    for name in named.into_iter().filter(|name| !state.auto_scaling_groups.contains_key(name)).collect::<Vec<_>>() {
        let there = count(state.group_instances(&name).count());
        let group = AutoScalingGroup {
            arn: arn_of(&name, state),
            minimum: 0,
            maximum: there,
            desired: there,
            launching: 0,
            name,
        };
        state.auto_scaling_groups.insert(group.name.clone(), group);
    }
    Ok(())
}

fn read_provider(place: &Place<'_>) -> Result<CapacityProvider> {
    place.object()?;
    let name = place.get("name").needed_text()?;
    let statuses = ["ACTIVE", "INACTIVE", "PROVISIONING", "DEPROVISIONING"];
    let mut provider =
        CapacityProvider { status: place.get("status").one_of(&statuses, "ACTIVE")?, ..CapacityProvider::new(&name) };
    let of_group = place.get("autoScalingGroupProvider");
    if !of_group.exists() {
        return Ok(provider);
    }
    of_group.object()?;
    // By ARN or by name [API, AutoScalingGroupProvider].
    let group = of_group.get("autoScalingGroupArn").needed_text()?;
    provider.group = Some(group.split_once(GROUP_NAME).map_or(group.as_str(), |(_, name)| name).to_owned());
    let scaling = of_group.get("managedScaling");
    if scaling.exists() {
        scaling.object()?;
    }
    provider.managed_scaling = scaling.get("status").one_of(&["ENABLED", "DISABLED"], "DISABLED")? == "ENABLED";
    provider.target_percent = scaling.get("targetCapacity").count_or(100)?;
    if !(1..=100).contains(&provider.target_percent) {
        return scaling.get("targetCapacity").fail("expected a percentage from 1 to 100");
    }
    Ok(provider)
}

fn read_group(place: &Place<'_>, state: &State) -> Result<AutoScalingGroup> {
    place.object()?;
    let name = place.get("AutoScalingGroupName").needed_text()?;
    let there = count(state.group_instances(&name).count());
    let minimum = place.get("MinSize").count_or(0)?;
    let desired = place.get("DesiredCapacity").count_or(there.max(minimum))?;
    Ok(AutoScalingGroup {
        launching: 0,
        arn: place.get("AutoScalingGroupARN").text_or(&arn_of(&name, state))?,
        minimum,
        maximum: place.get("MaxSize").count_or(desired)?,
        desired,
        name,
    })
}

/// The ARN of a group of which only the name is told: in the cluster's own account and Region.
fn arn_of(name: &str, state: &State) -> String {
    let account = state.account().replace(":ecs:", ":autoscaling:");
    format!("{account}:autoScalingGroup:00000000-0000-4000-8000-000000000000{GROUP_NAME}{name}")
}
