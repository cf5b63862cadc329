//! The one observer of all calls: counts every attempt by its operation, for the report.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;

/// Counts attempts; cheap to clone, all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Observer(Arc<Mutex<BTreeMap<String, u64>>>);

impl Observer {
    /// Attempts by operation, since they were last taken: each cluster's report tells of its own.
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // A panic elsewhere can't leave a counter half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[dyn_dispatch_hint]
impl Intercept for Observer {
    fn name(&self) -> &'static str {
        "ecs-rebalancer's observer"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = bag.load::<Metadata>() {
            *self.lock().entry(operation.name().to_owned()).or_default() += 1;
            tracing::debug!(operation = operation.name(), service = operation.service(), "calling");
        }
        Ok(())
    }
}
