//! Answers of the AWS CLI pasted whole: `aws ecs describe-services` says `{"services": [...], "failures": []}`, and ten at most.

use anyhow::Result;
use serde_json::{Value, json};

use crate::place::Place;

/// The elements of one of the document's lists: plain, or within whole answers, one or several.
pub(super) fn elements<'a>(root: &Place<'a>, name: &str) -> Result<Vec<Place<'a>>> {
    elements_of(root, name, name)
}

/// The same where the answer's name for the list is another one.
pub(super) fn elements_of<'a>(root: &Place<'a>, name: &str, answered: &str) -> Result<Vec<Place<'a>>> {
    let mut elements = Vec::new();
    collect(&root.get(name), answered, &mut elements)?;
    Ok(elements)
}

fn collect<'a>(place: &Place<'a>, name: &str, elements: &mut Vec<Place<'a>>) -> Result<()> {
    let within = place.get(name);
    if within.exists() {
        return collect(&within, name, elements);
    }
    // DescribeTaskDefinition answers with one.
    if name == "taskDefinitions" && place.get("taskDefinition").exists() {
        elements.push(place.clone());
        return Ok(());
    }
    for element in place.list()? {
        if element.get(name).exists() {
            collect(&element, name, elements)?;
        } else {
            elements.push(element);
        }
    }
    Ok(())
}

/// A document that is one answer of a Describe operation, whole: as a snapshot of just that.
pub(super) fn as_document(document: &Value) -> Option<Value> {
    let key =
        ["taskDefinition", "clusters", "AutoScalingGroups"].into_iter().find(|key| document.get(key).is_some())?;
    Some(match key {
        "taskDefinition" => json!({"taskDefinitions": [document]}),
        "clusters" => json!({"cluster": document}),
        _ => json!({"autoScalingGroups": document}),
    })
}

/// The cluster: plain, or within an answer, which then holds just that one.
pub(super) fn cluster<'a>(root: &Place<'a>) -> Result<Place<'a>> {
    let cluster = root.get("cluster");
    if !cluster.exists() {
        return Ok(cluster);
    }
    cluster.object()?;
    let answer = cluster.get("clusters");
    if !answer.exists() {
        return Ok(cluster);
    }
    let mut clusters = answer.list()?;
    match (clusters.pop(), clusters.is_empty()) {
        (Some(only), true) => only.object().map(|()| only),
        _ => answer.fail("expected one cluster"),
    }
}
