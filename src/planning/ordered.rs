//! Ordered maps and sets of what an iterator gives, and sorting.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

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

/// Sorting by one sort for all types, stable; for what is sorted again and again the library's own is quicker.
///
/// The compiler writes the library's anew for each type and each order: 35 of them were a sixtieth of the binary.
pub trait Sortable<T> {
    /// By the items' own order.
    fn put_in_order(&mut self)
    where
        T: Ord,
    {
        self.put_in_order_by(Ord::cmp);
    }

    /// By what is told of each item.
    fn put_in_order_by_key<K: Ord>(&mut self, mut key: impl FnMut(&T) -> K) {
        self.put_in_order_by(|one, other| key(one).cmp(&key(other)));
    }

    /// By what is told of two items.
    fn put_in_order_by(&mut self, compare: impl FnMut(&T, &T) -> Ordering);
}

impl<T> Sortable<T> for [T] {
    fn put_in_order_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let mut places: Vec<usize> = (0..self.len()).collect();
        sort(&mut places, &mut |one, other| compare(&self[one], &self[other]));
        // Each item goes to its place, cycle by cycle.
        for start in 0..places.len() {
            let mut place = start;
            while places[place] != start {
                let from = std::mem::replace(&mut places[place], place);
                self.swap(place, from);
                place = from;
            }
            places[place] = place;
        }
    }
}

fn sort(places: &mut [usize], compare: &mut dyn FnMut(usize, usize) -> Ordering) {
    places.sort_unstable_by(|one, other| compare(*one, *other).then_with(|| one.cmp(other)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_library_does(items in prop::collection::vec((0..9_u8, any::<u8>()), 0..40)) {
            let (mut ours, mut theirs) = (items.clone(), items);
            ours.put_in_order_by_key(|item| item.0);
            theirs.sort_by_key(|item| item.0);
            prop_assert_eq!(&ours, &theirs);
            ours.put_in_order();
            theirs.sort_unstable();
            prop_assert_eq!(ours, theirs);
        }
    }
}
