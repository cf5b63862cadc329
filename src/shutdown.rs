//! A wish to end, from outside: the edge sets it, the run asks for it and waits with it in mind.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// Sets the wish.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Option<Instant>>);

/// Knows of the wish; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Option<Instant>>);

/// A wish that isn't there yet, and the one who may set it.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(None);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks the run to end.
    pub fn pull(&self) {
        self.0.send_if_modified(|asked| {
            let is_new = asked.is_none();
            asked.get_or_insert_with(Instant::now);
            is_new
        });
    }
}

impl Shutdown {
    /// A wish that never comes.
    pub fn never() -> Self {
        channel().1
    }

    /// Whether the run is asked to end.
    pub fn is_asked(&self) -> bool {
        self.asked_at().is_some()
    }

    /// Since when it is.
    pub fn asked_at(&self) -> Option<Instant> {
        *self.0.borrow()
    }

    /// Waits for the wish, and says when it came.
    pub async fn asked(&self) -> Instant {
        let mut receiver = self.0.clone();
        let asked = receiver.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
        match asked {
            Some(asked) => asked,
            // The other end is gone: the wish never comes.
            None => std::future::pending().await,
        }
    }

    /// Waits for a future, and no longer than until the run is asked to end: then there is none.
    pub async fn unless_asked<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.asked() => None,
            done = future => Some(done),
        }
    }

    /// Sleeps; not on, when the run is asked to end meanwhile.
    pub async fn sleep(&self, span: Duration) {
        if self.is_asked() {
            return tokio::time::sleep(span).await;
        }
        self.unless_asked(tokio::time::sleep(span)).await;
    }
}
