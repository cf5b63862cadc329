//! Ordered maps and sets of what an iterator gives.

use std::collections::{BTreeMap, BTreeSet};

/// `collect` into an ordered map or set, entry by entry.
///
/// The library's own sorts all entries first, by a sort that the compiler writes anew for each type: together with sorting
/// `Vec`s, a twentieth of the binary.
pub trait Ordered: Iterator + Sized {
    /// The pairs as a map; of equal keys the last counts.
    fn into_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            map.insert(key, value);
        }
        map
    }

    /// The items as a set.
    fn into_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        for item in self {
            set.insert(item);
        }
        set
    }
}

impl<I: Iterator> Ordered for I {}
