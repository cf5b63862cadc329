//! How many connections there are at a time: when all places are taken, the one that has been silent for longest makes way.
//!
//! A connection is silent until a whole request has come, and again from its answer on. So clients that send nothing, or send it
//! slowly, lock nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    table: Mutex<Table>,
    /// A place has become free, or could be.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    connections: BTreeMap<u64, Connection>,
    /// Grows with each connection that comes or falls silent.
    clock: u64,
}

#[derive(Debug)]
struct Connection {
    leave: Arc<Notify>,
    silent_since: Option<u64>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    leave: Arc<Notify>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, table: Mutex::default(), changed: Notify::new() })
    }

    /// A place for a new connection: a free one, or that of the connection that has been silent for longest. Waits while every
    /// connection has a request under way.
    pub(super) async fn take(self: &Arc<Self>) -> Arc<Place> {
        loop {
            if let Some(place) = self.try_take() {
                return Arc::new(place);
            }
            self.changed.notified().await;
        }
    }

    fn try_take(self: &Arc<Self>) -> Option<Place> {
        let mut table = self.table();
        if table.connections.len() >= self.most {
            let silent = table.connections.iter().filter_map(|(id, connection)| Some((connection.silent_since?, *id)));
            let (_, id) = silent.min()?;
            if let Some(connection) = table.connections.remove(&id) {
                connection.leave.notify_one();
            }
        }
        table.clock += 1;
        let (id, leave) = (table.clock, Arc::new(Notify::new()));
        table.connections.insert(id, Connection { leave: leave.clone(), silent_since: Some(id) });
        Some(Place { places: self.clone(), id, leave })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Ends when this connection is to make way.
    pub(super) async fn is_taken_away(&self) {
        self.leave.notified().await;
    }

    /// A whole request has come: the connection stays until its answer is there.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        if let Some(connection) = self.places.table().connections.get_mut(&self.id) {
            connection.silent_since = None;
        }
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut table = self.0.places.table();
        table.clock += 1;
        let now = table.clock;
        if let Some(connection) = table.connections.get_mut(&self.0.id) {
            connection.silent_since = Some(now);
        }
        self.0.places.changed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().connections.remove(&self.id);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// What a future comes to without waiting.
    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_longest_silent_connection_makes_way() {
        let places = Places::new(2);
        let (first, second) = (now(places.take()).unwrap(), now(places.take()).unwrap());
        drop(first.busy());
        let third = now(places.take()).unwrap();
        assert!(now(second.is_taken_away()).is_some(), "the first has spoken later");
        assert!(now(first.is_taken_away()).is_none() && now(third.is_taken_away()).is_none());
        assert_eq!(places.table().connections.len(), 2);
        drop(second);
        assert_eq!(places.table().connections.len(), 2, "its place was another's already");
    }

    #[test]
    fn a_request_under_way_keeps_its_place() {
        let places = Places::new(2);
        let (first, second) = (now(places.take()).unwrap(), now(places.take()).unwrap());
        let (busy, other) = (first.busy(), second.busy());
        assert!(now(places.take()).is_none(), "everybody is at work");
        drop(other);
        assert!(now(places.take()).is_some());
        assert!(now(second.is_taken_away()).is_some() && now(first.is_taken_away()).is_none());
        drop(busy);
    }
}
