//! How unevenly reservations sit on the container instances, whatever the services.

use super::{
    model::{Capacity, ContainerInstance},
    policy::Share,
};

/// What is registered and reserved of one resource, instance by instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    instances: Vec<(u64, u64)>,
    registered: u64,
    reserved: u64,
}

impl Load {
    /// Of one resource of these instances. Reserved = registered − remaining.
    pub fn of<'a>(instances: impl Iterator<Item = &'a ContainerInstance>, resource: fn(&Capacity) -> u32) -> Self {
        let instances: Vec<(u64, u64)> = instances
            .map(|instance| (resource(&instance.registered).into(), instance.reserved(resource).into()))
            .collect();
        let registered = instances.iter().map(|instance| instance.0).sum();
        let reserved = instances.iter().map(|instance| instance.1).sum();
        Self { instances, registered, reserved }
    }

    /// Reserved ÷ registered.
    pub fn reservation(&self) -> Share {
        Share::new(self.reserved, self.registered)
    }

    /// The share of all that is reserved that would have to move until every instance is reserved in the same proportion to
    /// its size: Σ max(0, reservedᵢ − ρ·registeredᵢ) ÷ Σ reserved with ρ = Σ reserved ÷ Σ registered (the Hoover index).
    pub fn imbalance(&self) -> Share {
        // Multiplied by Σ registered, so that all stays whole; then both sides are scaled down to fit.
        let excess: u128 = self
            .instances
            .iter()
            .map(|(registered, reserved)| {
                let has = u128::from(*reserved) * u128::from(self.registered);
                has.saturating_sub(u128::from(self.reserved) * u128::from(*registered))
            })
            .sum();
        let whole = u128::from(self.reserved) * u128::from(self.registered);
        let bits = (128 - whole.leading_zeros()).saturating_sub(64);
        let fit = |number: u128| u64::try_from(number >> bits).unwrap_or(u64::MAX);
        Share::new(fit(excess), fit(whole))
    }
}
