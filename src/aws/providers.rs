//! Capacity providers → what they do with instances that came free, and how few their Auto Scaling groups keep.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use aws_sdk_ecs::types::{self, ManagedScalingStatus};
use serde_json::{Value, json};

use super::{
    Clients,
    call::{CallError, persistently},
    limits::Class,
    read::{Vanished, vanished},
};
use crate::planning::model::CapacityProvider;

/// DescribeCapacityProviders takes 100 names, but answers with ten a page [API, DescribeCapacityProviders].
const PROVIDER_BATCH: usize = 10;
/// DescribeAutoScalingGroups takes as many names as it answers with: 50, where no other page is asked for [API].
const GROUP_BATCH: usize = 50;
/// Pages of one batch: as many as it has names, should each come alone. More would be a listing that never ends.
const PAGES: usize = GROUP_BATCH;
/// What stands before the name in a group's ARN.
const GROUP_NAME: &str = ":autoScalingGroupName/";

/// Capacity providers by name, and in a sentence each what of them could not be read: for want of a permission, or because it
/// is not there. A provider that could not be read is missing.
///
/// # Errors
/// Names what was being read of which cluster, and AWS's answer, where that is no want of permission.
pub async fn capacity_providers(
    clients: &Clients,
    cluster: &str,
    names: &BTreeSet<String>,
) -> Result<(BTreeMap<String, CapacityProvider>, Vec<String>)> {
    let mut warnings = Vec::new();
    let described = describe_providers(clients, cluster, names).await.or_else(|error| {
        let what = format!("cannot read capacity providers {} (cluster {cluster})", listed(names));
        warnings.push(unless_denied(&what, error)?);
        anyhow::Ok((Vec::new(), Vec::new()))
    })?;
    let (described, gone) = described;
    warnings.extend(gone.into_iter().map(|gone| {
        format!("container instances name capacity provider {}, which ECS can't describe: {}", gone.arn, gone.reason)
    }));
    let groups: BTreeSet<String> = described.iter().filter_map(group_name).map(str::to_owned).collect();
    let minimums = describe_groups(clients, &groups).await.map(Some).or_else(|error| {
        let what = format!("cannot read how few instances Auto Scaling groups {} keep", listed(&groups));
        warnings.push(unless_denied(&format!("{what} (cluster {cluster})"), error)?);
        anyhow::Ok(None)
    })?;
    let mut providers = BTreeMap::new();
    for answer in &described {
        let name = answer.name().unwrap_or_default().to_owned();
        let group = group_name(answer);
        let minimum = group.and_then(|group| minimums.as_ref()?.get(group).copied());
        if let (Some(group), Some(_), None) = (group, &minimums, minimum) {
            warnings.push(format!("capacity provider {name} is of Auto Scaling group {group}, which does not exist"));
        }
        let provider = CapacityProvider {
            name: name.clone(),
            has_managed_instances: has_managed_instances(answer),
            managed_scaling: is_managed(answer),
            minimum_instances: minimum,
        };
        providers.insert(name, provider);
    }
    Ok((providers, warnings))
}

/// A want of permission as a sentence; everything else is an error.
fn unless_denied(what: &str, error: CallError) -> Result<String> {
    let is_denied = error.is_access_denied();
    if is_denied { Ok(format!("{what}: {error}")) } else { Err(anyhow!(error).context(what.to_owned())) }
}

async fn describe_providers(
    clients: &Clients,
    cluster: &str,
    names: &BTreeSet<String>,
) -> Result<(Vec<types::CapacityProvider>, Vec<Vanished>), CallError> {
    let (mut found, mut gone) = (Vec::new(), Vec::new());
    for batch in batches(names, PROVIDER_BATCH) {
        let mut token = None;
        for _ in 0..PAGES {
            let answer = persistently(clients, Class::CapacityProviderRead, "DescribeCapacityProviders", async || {
                // With the cluster ECS tells of its Managed Instances as well.
                let request = clients.ecs.describe_capacity_providers().cluster(cluster);
                request.set_capacity_providers(Some(batch.clone())).set_next_token(token.clone()).send().await
            })
            .await?;
            found.extend(answer.capacity_providers.unwrap_or_default());
            gone.extend(vanished(answer.failures));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
    }
    Ok((found, gone))
}

/// `MinSize` by the group's name.
async fn describe_groups(clients: &Clients, names: &BTreeSet<String>) -> Result<BTreeMap<String, u32>, CallError> {
    let mut minimums = BTreeMap::new();
    for batch in batches(names, GROUP_BATCH) {
        let mut token = None;
        for _ in 0..PAGES {
            let answer = persistently(clients, Class::Elsewhere, "DescribeAutoScalingGroups", async || {
                let request = clients.auto_scaling.describe_auto_scaling_groups();
                request.set_auto_scaling_group_names(Some(batch.clone())).set_next_token(token.clone()).send().await
            })
            .await?;
            for group in answer.auto_scaling_groups() {
                let (Some(name), Some(minimum)) = (group.auto_scaling_group_name(), group.min_size()) else { continue };
                minimums.insert(name.to_owned(), u32::try_from(minimum).unwrap_or(0));
            }
            let shown: Vec<Value> = answer
                .auto_scaling_groups()
                .iter()
                .map(|group| {
                    json!({
                        "AutoScalingGroupName": group.auto_scaling_group_name(),
                        "AutoScalingGroupARN": group.auto_scaling_group_arn(),
                        "MinSize": group.min_size(),
                        "MaxSize": group.max_size(),
                        "DesiredCapacity": group.desired_capacity(),
                    })
                })
                .collect();
            // This API speaks XML, which a snapshot doesn't.
            clients.observer.keep("DescribeAutoScalingGroups", &json!({"AutoScalingGroups": shown}));
            token = answer.next_token;
            if token.is_none() {
                break;
            }
        }
    }
    Ok(minimums)
}

fn batches(names: &BTreeSet<String>, size: usize) -> Vec<Vec<String>> {
    let names: Vec<String> = names.iter().cloned().collect();
    names.chunks(size).map(<[String]>::to_vec).collect()
}

/// The name of a provider's group. ECS takes and gives an ARN or a name [API, AutoScalingGroupProvider].
fn group_name(provider: &types::CapacityProvider) -> Option<&str> {
    let group = provider.auto_scaling_group_provider()?.auto_scaling_group_arn();
    let name = group.split_once(GROUP_NAME).map_or(group, |(_, name)| name);
    (!name.is_empty()).then_some(name)
}

fn has_managed_instances(provider: &types::CapacityProvider) -> bool {
    provider.r#type() == Some(&types::CapacityProviderType::ManagedInstances)
}

fn is_managed(provider: &types::CapacityProvider) -> bool {
    let scaling = provider.auto_scaling_group_provider().and_then(|of_group| of_group.managed_scaling());
    scaling.and_then(|scaling| scaling.status()) == Some(&ManagedScalingStatus::Enabled)
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
