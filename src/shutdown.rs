//! A wish to end, from outside: the edge sets it, the run asks for it and waits with it in mind.

use std::time::Duration;

use tokio::sync::watch;

/// Sets the wish.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Knows of the wish; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A wish that isn't there yet, and the one who may set it.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks the run to end.
    pub fn pull(&self) {
        // Nobody listens any more: then the run has ended.
        let _ = self.0.send(true);
    }
}

impl Shutdown {
    /// A wish that never comes.
    pub fn never() -> Self {
        channel().1
    }

    /// Whether the run is asked to end.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Sleeps; not on, when the run is asked to end meanwhile.
    pub async fn sleep(&self, span: Duration) {
        let mut receiver = self.0.clone();
        if *receiver.borrow_and_update() {
            return tokio::time::sleep(span).await;
        }
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            asked = receiver.changed() => {
                // The other end is gone: the wish never comes.
                if asked.is_err() {
                    tokio::time::sleep(span).await;
                }
            }
        }
    }
}
