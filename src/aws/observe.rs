//! The one observer of all calls: counts every attempt by its operation, for the report, and keeps answers for a snapshot.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef},
            dyn_dispatch_hint,
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use serde_json::Value;

use super::snapshot::Answers;
use crate::planning::model::{TaskArn, Timestamp};

/// Sees every call; cheap to clone, all clones see together.
#[derive(Clone, Debug, Default)]
pub struct Observer(Arc<Mutex<Observed>>);

#[derive(Debug, Default)]
struct Observed {
    attempts: BTreeMap<String, u64>,
    /// What a snapshot is made of, where one is wanted.
    answers: Option<Answers>,
}

impl Observer {
    /// Attempts by operation, since they were last taken: each cluster's report tells of its own.
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.lock().attempts)
    }

    /// From now on, keeps what a snapshot is made of.
    pub fn keep_answers(&self) {
        self.lock().answers = Some(Answers::default());
    }

    /// Keeps what belongs in a snapshot of an answer that didn't come as JSON, written as the same API's JSON would be.
    pub(super) fn keep(&self, operation: &str, answer: &Value) {
        if let Some(answers) = &mut self.lock().answers {
            answers.keep(operation, answer.to_string().as_bytes());
        }
    }

    /// The snapshot of what was answered since [`Observer::keep_answers`], and nothing is kept any more. `own_task` is the
    /// job's own, which is left out.
    pub fn take_snapshot(&self, cluster_name: &str, own_task: Option<&TaskArn>, now: Timestamp) -> Value {
        let answers = self.lock().answers.take().unwrap_or_default();
        answers.document(cluster_name, own_task, now)
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
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
            *self.lock().attempts.entry(operation.name().to_owned()).or_default() += 1;
            tracing::debug!(operation = operation.name(), service = operation.service(), "calling");
        }
        Ok(())
    }
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        if let (Some(operation), true, Some(body)) =
            (bag.load::<Metadata>(), response.status().is_success(), response.body().bytes())
            && Answers::wants(operation.name())
            && let Some(answers) = &mut self.lock().answers
        {
            answers.keep(operation.name(), body);
        }
        Ok(())
    }
}
