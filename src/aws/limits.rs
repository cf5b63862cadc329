//! ECS's token buckets, mirrored on our side so that no request is thrown away on throttling.
//!
//! A bucket belongs to a class of actions in an account and Region and is shared with everything else there: deployments,
//! consoles, auto scaling. So a tenth of it is left to the others.
//! [Amazon ECS developer guide, "Request throttling for the Amazon ECS API"]

use std::{fmt, sync::Arc, time::Duration};

use leaky_bucket::RateLimiter;

/// The share of each bucket that we use, in percent: the rest is for everything else in the account.
const OUR_SHARE_PERCENT: u32 = 90;

/// A class of actions that share one token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ListServices, DescribeServices.
    ServiceRead,
    /// UpdateService.
    ServiceModify,
    /// ListTasks, DescribeTasks, ListContainerInstances, DescribeContainerInstances, ListAttributes.
    ClusterResourceRead,
    /// StopTask, PutAttributes, DeleteAttributes.
    ClusterResourceModify,
    /// DescribeClusters.
    ClusterRead,
    /// DescribeTaskDefinition.
    TaskDefinitionRead,
    /// RegisterTaskDefinition.
    TaskDefinitionModify,
    /// ListTagsForResource.
    TagRead,
    /// TagResource, UntagResource.
    TagModify,
    /// GetTaskProtection, UpdateTaskProtection.
    TaskProtection,
    /// DescribeCapacityProviders.
    CapacityProviderRead,
    /// Calls of other services than ECS: their limits lie far above what a run needs.
    Elsewhere,
}

impl Class {
    const ALL: [Self; 12] = [
        Self::ServiceRead,
        Self::ServiceModify,
        Self::ClusterResourceRead,
        Self::ClusterResourceModify,
        Self::ClusterRead,
        Self::TaskDefinitionRead,
        Self::TaskDefinitionModify,
        Self::TagRead,
        Self::TagModify,
        Self::TaskProtection,
        Self::CapacityProviderRead,
        Self::Elsewhere,
    ];

    /// Tokens at most, and tokens added a second, as documented.
    const fn bucket(self) -> (u32, u32) {
        match self {
            Self::ServiceRead | Self::ClusterResourceRead => (100, 20),
            Self::ServiceModify => (50, 5),
            Self::ClusterResourceModify => (100, 40),
            Self::ClusterRead | Self::TaskDefinitionRead | Self::TagRead | Self::CapacityProviderRead => (50, 20),
            Self::TaskDefinitionModify => (20, 1),
            Self::TagModify => (20, 10),
            Self::TaskProtection => (200, 80),
            Self::Elsewhere => (500, 500),
        }
    }

    fn limiter(self) -> RateLimiter {
        let (burst, refill_per_second) = self.bucket();
        let ours = (burst * OUR_SHARE_PERCENT / 100) as usize;
        // One token at a time: a coarser refill would make requests go out in bursts of a second's worth.
        let per_token = Duration::from_secs(1).mul_f64(100.0 / f64::from(OUR_SHARE_PERCENT * refill_per_second));
        RateLimiter::builder().max(ours).initial(ours).refill(1).interval(per_token).fair(true).build()
    }
}

/// One limiter a class; cheap to clone, all clones draw from the same buckets.
#[derive(Clone)]
pub struct Limits(Arc<Vec<RateLimiter>>);

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Class::ALL.into_iter().map(Class::limiter).collect()))
    }
}

impl Limits {
    /// Waits until a request of this class may go out.
    pub async fn wait(&self, class: Class) {
        self.of(class).acquire_one().await;
    }

    /// Takes what is left in the bucket: ECS's own has run dry, so ours was too full.
    pub fn drain(&self, class: Class) {
        let limiter = self.of(class);
        while limiter.try_acquire(limiter.balance().max(1)) {}
    }

    fn of(&self, class: Class) -> &RateLimiter {
        &self.0[class as usize]
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(Class::ALL.iter().map(|class| (class, self.of(*class).balance()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_out_at_once_and_the_rest_at_the_refill_rate() {
        let limits = Limits::default();
        let start = Instant::now();
        for _ in 0..18 {
            limits.wait(Class::TagModify).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO, "90 % of a burst of 20");
        for _ in 0..9 {
            limits.wait(Class::TagModify).await;
        }
        assert!((0.98..1.05).contains(&start.elapsed().as_secs_f64()), "9 more at 90 % of 10/s: {:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_throttle_the_burst_is_gone() {
        let limits = Limits::default();
        limits.drain(Class::ServiceRead);
        let start = Instant::now();
        limits.wait(Class::ServiceRead).await;
        assert!(start.elapsed() > Duration::ZERO);
    }

    #[test]
    fn each_class_has_a_limiter_of_its_own() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }
}
