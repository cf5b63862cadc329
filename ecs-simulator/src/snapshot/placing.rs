//! How a service's tasks are placed, of a snapshot or of a request: strategies, constraints, capacity providers.

use anyhow::Result;

use crate::{place::Place, query::Query};

/// `placementStrategy`, of a snapshot or of a request.
pub(crate) fn read_strategies(place: &Place<'_>) -> Result<Vec<(String, String)>> {
    let strategies = place.list()?;
    if strategies.len() > 5 {
        return place.fail("at most 5 placement strategies are allowed");
    }
    strategies
        .iter()
        .map(|strategy| {
            strategy.object()?;
            let kind = strategy.get("type").one_of(&["spread", "binpack", "random"], "")?;
            let field = strategy.get("field").text_or("")?;
            let is_known = match kind.as_str() {
                "spread" => ["instanceId", "host"].contains(&field.as_str()) || field.starts_with("attribute:"),
                "binpack" => ["cpu", "memory"].contains(&field.to_ascii_lowercase().as_str()),
                _ => true,
            };
            if !is_known && !strategy.get("field").note("is kept, but this version doesn't know it") {
                return strategy.get("field").fail(&format!("is no field to {kind} by"));
            }
            Ok((kind, field))
        })
        .collect()
}

/// `placementConstraints`, of a snapshot or of a request.
pub(crate) fn read_constraints(place: &Place<'_>) -> Result<Vec<(String, String)>> {
    let constraints = place.list()?;
    if constraints.len() > 10 {
        return place.fail("at most 10 placement constraints are allowed");
    }
    constraints
        .iter()
        .map(|constraint| {
            constraint.object()?;
            let kind = constraint.get("type").one_of(&["distinctInstance", "memberOf"], "")?;
            let expression = constraint.get("expression").text_or("")?;
            if kind == "memberOf"
                && let Err(problem) = Query::parse(&expression)
                && !constraint
                    .get("expression")
                    .note(&format!("is kept, but isn't understood ({problem}), so it binds nothing"))
            {
                return constraint.get("expression").fail(&problem);
            }
            Ok((kind, expression))
        })
        .collect()
}

/// `capacityProviderStrategy`, of a snapshot or of a request: provider, weight, base.
pub(crate) fn read_providers(place: &Place<'_>) -> Result<Vec<(String, u32, u32)>> {
    place
        .list()?
        .iter()
        .map(|item| {
            item.object()?;
            let name = item.get("capacityProvider").needed_text()?;
            Ok((name, item.get("weight").count_or(0)?, item.get("base").count_or(0)?))
        })
        .collect()
}

/// The subnets in `networkConfiguration`, of a snapshot or of a request.
pub(crate) fn read_subnets(place: &Place<'_>) -> Result<Vec<String>> {
    place.get("awsvpcConfiguration").get("subnets").list()?.iter().map(Place::needed_text).collect()
}
