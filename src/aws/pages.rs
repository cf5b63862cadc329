//! Follows the pages of a list, and stops following where they don't end.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

/// More pages than any cluster has: a million tasks, 200 on each of 5,000 container instances, and those are ECS's quotas.
const MOST: usize = 10_000;
/// So many in a row may name nothing new. A page may be empty, for ECS takes out of it what is not asked for.
const MOST_WITHOUT_NEWS: usize = 20;

/// The pages of one list so far.
#[derive(Debug)]
pub(super) struct Pages {
    operation: &'static str,
    /// What was named, by a number each: of a large cluster the names take megabytes.
    seen: BTreeSet<u64>,
    read: usize,
    without_news: usize,
    token: Option<String>,
}

impl Pages {
    /// Of a list that an operation gives, as `ListTasks`.
    pub(super) fn of(operation: &'static str) -> Self {
        Self { operation, seen: BTreeSet::new(), read: 0, without_news: 0, token: None }
    }

    /// Takes note of what a page names, of which the caller has `next` to follow; an error where the list has no end.
    ///
    /// # Errors
    /// What ECS did instead of ending the list.
    pub(super) fn follow<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a String>,
        next: Option<String>,
    ) -> Result<Option<String>, String> {
        let operation = self.operation;
        self.read += 1;
        let mut is_news = false;
        for id in ids {
            let mut hasher = DefaultHasher::new();
            id.hash(&mut hasher);
            is_news |= self.seen.insert(hasher.finish());
        }
        self.without_news = if is_news { 0 } else { self.without_news + 1 };
        if next.is_some() && self.without_news >= MOST_WITHOUT_NEWS {
            return Err(format!(
                "{operation} gives pages without end: the last {MOST_WITHOUT_NEWS} of {} named nothing new, and another is to follow",
                self.read
            ));
        }
        if next.is_some() && self.read >= MOST {
            return Err(format!("{operation} gives pages without end: {MOST} came, and another is to follow"));
        }
        if next.is_some() && next == self.token {
            return Err(format!("{operation} gives pages without end: it gave the same page token twice"));
        }
        self.token.clone_from(&next);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of pages that each name one thing, with another page always to follow.
    fn endless(named: impl Fn(usize) -> Vec<String>) -> (usize, String) {
        let mut pages = Pages::of("ListTasks");
        for number in 1.. {
            if let Err(told) = pages.follow(&named(number), Some(format!("token-{number}"))) {
                return (number, told);
            }
        }
        unreachable!("counting ends never");
    }

    #[test]
    fn a_list_that_never_ends_is_not_followed() {
        let (same, told) = endless(|_| vec!["task-1".to_owned()]);
        assert_eq!(
            (same, told.as_str()),
            (21, "ListTasks gives pages without end: the last 20 of 21 named nothing new, and another is to follow")
        );
        assert_eq!(endless(|_| Vec::new()).0, 20);
        assert_eq!(endless(|number| vec![number.to_string()]).0, MOST);
        // Two lists of which each page comes from another.
        assert_eq!(endless(|number| vec![(number % 2).to_string()]).0, 22);
    }

    #[test]
    fn empty_pages_between_and_the_last_one_are_none_of_that() {
        let mut pages = Pages::of("ListTasks");
        for number in 0..1_000 {
            let named = if number % 10 == 0 { vec![number.to_string()] } else { Vec::new() };
            let next = Some(format!("token-{number}"));
            assert_eq!(pages.follow(&named, next.clone()), Ok(next));
        }
        let mut pages = Pages::of("ListTasks");
        for number in 0..19 {
            assert!(pages.follow(&[], Some(format!("token-{number}"))).is_ok());
        }
        assert_eq!(pages.follow(&[], None), Ok(None));
    }

    #[test]
    fn a_token_that_comes_again_is_not_followed() {
        let mut pages = Pages::of("ListTasks");
        assert!(pages.follow(&["task-1".to_owned()], Some("same".to_owned())).is_ok());
        let told = pages.follow(&["task-2".to_owned()], Some("same".to_owned()));
        assert_eq!(told.unwrap_err(), "ListTasks gives pages without end: it gave the same page token twice");
    }
}
