//! Where ECS puts a service's next task, by its documented rules: among container instances that may take one and have capacity for
//! it, on one in the domain with the fewest of the service's tasks, level by level.
//!
//! An example, zones a and b, spread over zones and then container instances: `a: 2 0`, `b: 1`. The next task goes to zone b, which
//! has one; then both zones have two, and the one after it goes to the empty instance of zone a.

use std::collections::BTreeMap;

use super::{
    model::{ContainerInstance, Service},
    placement::{Index, Levels, Requirement},
    provider_parts::{ProviderPart, how_many_fit},
};

/// The tasks in each domain of each level.
pub type Crowds<'a> = BTreeMap<Vec<&'a str>, u32>;

/// A container instance that may take a task.
#[derive(Clone, Debug)]
pub struct Spot<'a> {
    /// The instance.
    pub instance: &'a ContainerInstance,
    /// How many more of the service's tasks fit there.
    pub fitting: u32,
    /// Its domains, level by level.
    path: Vec<&'a str>,
    /// The service's tasks in each of these.
    tasks: Vec<u32>,
}

/// The spots of a service's part on one capacity provider.
pub fn spots<'a>(index: &Index<'a>, service: &Service, part: &ProviderPart<'a>) -> Vec<Spot<'a>> {
    let mut crowds = Crowds::new();
    count(&mut crowds, index, &part.levels, part);
    spots_among(index, service, &part.levels, &part.requirement, &crowds)
}

/// Adds a part's tasks to those in their domains.
pub fn count<'a>(crowds: &mut Crowds<'a>, index: &Index<'a>, levels: &Levels, part: &ProviderPart<'a>) {
    for (instance, tasks) in part.counts(index) {
        let path = levels.leaf(instance);
        for depth in 1..=path.len() {
            *crowds.entry(path[..depth].to_vec()).or_default() += tasks;
        }
    }
}

/// The spots that a requirement admits, where so many of the service's tasks are in each domain.
pub fn spots_among<'a>(
    index: &Index<'a>,
    service: &Service,
    levels: &Levels,
    requirement: &Requirement<'a>,
    crowds: &Crowds<'a>,
) -> Vec<Spot<'a>> {
    let spot = |number: usize| {
        let instance = index.instances[number];
        let path = levels.leaf(instance);
        let tasks = (1..=path.len()).map(|depth| crowds.get(&path[..depth]).copied().unwrap_or(0)).collect();
        Spot { instance, path, tasks, fitting: how_many_fit(index, service, requirement, number) }
    };
    index.eligible(requirement).into_iter().map(spot).collect()
}

/// The spot of the next task: of those that ECS may choose, the one with the most free capacity, then by ARN.
pub fn next_spot(spots: &[Spot<'_>]) -> Option<usize> {
    let is_open = |spot: &usize| spots[*spot].fitting > 0;
    (0..spots.len()).filter(is_open).min_by(|a, b| {
        let (a, b) = (&spots[*a], &spots[*b]);
        let by_capacity = (b.fitting, &a.instance.arn).cmp(&(a.fitting, &b.instance.arn));
        a.tasks.cmp(&b.tasks).then(by_capacity)
    })
}

/// All spots of which ECS takes one for the next task; which one is its own choice.
pub fn equal_spots(spots: &[Spot<'_>]) -> Vec<usize> {
    let open = || (0..spots.len()).filter(|spot| spots[*spot].fitting > 0);
    let fewest = open().map(|spot| &spots[spot].tasks).min();
    open().filter(|spot| Some(&spots[*spot].tasks) == fewest).collect()
}

/// A task comes to a spot.
pub fn take(spots: &mut [Spot<'_>], chosen: usize) {
    spots[chosen].fitting -= 1;
    let path = spots[chosen].path.clone();
    arrive(spots, &path);
}

/// A task came to these domains, whether or not it is on one of the spots.
pub fn arrive(spots: &mut [Spot<'_>], path: &[&str]) {
    for spot in spots {
        let shared = spot.path.iter().zip(path).take_while(|(one, other)| one == other).count();
        for tasks in &mut spot.tasks[..shared] {
            *tasks += 1;
        }
    }
}

impl<'a> Spot<'a> {
    /// Its domains, level by level.
    pub fn path(&self) -> &[&'a str] {
        &self.path
    }
}

/// Where the next so many tasks go, if they can go to these only.
#[cfg(test)]
pub fn fill(mut spots: Vec<Spot<'_>>, number: u32) -> Vec<&ContainerInstance> {
    let mut placed = Vec::new();
    while placed.len() < number as usize {
        let Some(chosen) = next_spot(&spots) else { break };
        take(&mut spots, chosen);
        placed.push(spots[chosen].instance);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::{provider_parts::ServiceParts, testing};

    /// Where so many next tasks of `web` go, and the instances of which ECS may choose for the first.
    #[track_caller]
    fn check(drawing: &str, number: u32, expected: &str) {
        let cluster = testing::cluster(drawing);
        let index = Index::new(&cluster);
        let service_parts = ServiceParts::new(&index, &"web".into()).unwrap();
        let spots = spots(&index, service_parts.service, &service_parts.parts[0]);
        let choice: Vec<&str> = equal_spots(&spots).iter().map(|spot| spots[*spot].instance.arn.short()).collect();
        let placed: Vec<&str> = fill(spots, number).iter().map(|instance| instance.arn.short()).collect();
        assert_eq!(format!("{} of {}", placed.join(" "), choice.join(" ")), expected, "{drawing}");
    }

    #[test]
    fn the_domain_with_the_fewest_comes_first_level_by_level() {
        check("a i-1 web web\na i-2\nb i-3 web", 3, "i-3 i-2 i-3 of i-3");
        check("a i-1 web\na i-2\nb i-3 web\nb i-4", 2, "i-2 i-4 of i-2 i-4");
    }

    #[test]
    fn one_without_capacity_is_passed_over() {
        check("a i-1 web web\nb i-2 cpu=100 memory=100\nservice web cpu=256 memory=256", 1, "i-1 of i-1");
        check("a i-1 web cpu=256 memory=256\nservice web cpu=256 memory=256", 1, " of ");
    }

    #[test]
    fn one_that_the_service_s_own_tasks_close_is_passed_over() {
        let own = "service web constraint=memberOf:not(task:group_==_service:web)";
        check(&format!("a i-1 web\na i-2\nb i-3 web\n{own}"), 3, "i-2 of i-2");
        // With what is foreseen, an instance has as many as it may have.
        let two = "service web constraint=memberOf:runningTasksCount_<_2";
        check(&format!("a i-1 web web web\na i-2\na i-3 api\n{two}"), 5, "i-2 i-3 i-2 of i-2 i-3");
    }

    #[test]
    fn of_equal_ones_the_one_with_the_most_free_capacity_is_foreseen() {
        check("a i-1 cpu=1024\na i-2 cpu=4096\nb i-3 web\nservice web cpu=256", 1, "i-2 of i-1 i-2");
    }
}
