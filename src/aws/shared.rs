//! What thousands of container instances and tasks have in common is kept once, not once for each: so a fleet stays small in
//! memory, from the first page on.

use std::{
    borrow::Borrow,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Attributes = Arc<BTreeMap<String, Option<String>>>;

/// What was met so far.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: RefCell<BTreeSet<Arc<str>>>,
    attributes: RefCell<BTreeSet<Attributes>>,
}

impl Shared {
    /// The text, in the place where it was met first.
    pub(super) fn text(&self, text: &str) -> Arc<str> {
        once(&self.texts, text, || text.into())
    }

    /// Attributes: instances of one kind and zone have the same.
    pub(super) fn attributes(&self, attributes: &BTreeMap<String, Option<String>>) -> Attributes {
        once(&self.attributes, attributes, || Arc::new(attributes.clone()))
    }
}

fn once<T, Key>(met: &RefCell<BTreeSet<T>>, key: &Key, new: impl FnOnce() -> T) -> T
where
    T: Borrow<Key> + Clone + Ord,
    Key: Ord + ?Sized,
{
    let mut met = met.borrow_mut();
    if let Some(known) = met.get(key) {
        return known.clone();
    }
    let new = new();
    met.insert(new.clone());
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_kept_once() {
        let shared = Shared::default();
        let attributes = || BTreeMap::from([("ecs.availability-zone".to_owned(), Some("a".to_owned()))]);
        assert!(Arc::ptr_eq(&shared.text("web"), &shared.text("web")));
        assert!(!Arc::ptr_eq(&shared.text("web"), &shared.text("api")));
        assert!(Arc::ptr_eq(&shared.attributes(&attributes()), &shared.attributes(&attributes())));
        assert_eq!(*shared.attributes(&attributes()), attributes());
    }
}
