//! Why a task finds no place: which resource is short, by how much, and where it came closest.

use std::fmt;

use super::{
    model::Service,
    parts::{Part, room},
    placement::Index,
};

/// What is short on the instance that comes closest to taking one more task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortage {
    /// The instances that may take the service's tasks at all.
    pub eligible: u32,
    /// The instance that comes closest, by its EC2 id or the end of its ARN; none where no instance is eligible.
    pub closest: Option<String>,
    /// What is short there.
    pub resource: Resource,
    /// By how much.
    pub by: u32,
}

/// What can be short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// CPU units.
    Cpu,
    /// Mebibytes of memory.
    Memory,
    /// GPUs.
    Gpu,
    /// A static host port, or the one task an instance may hold with `distinctInstance`.
    Place,
}

impl fmt::Display for Shortage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(closest) = &self.closest else {
            return formatter.write_str("no room: no other container instance may take its tasks");
        };
        write!(formatter, "no room where a task is missing: closest is {closest}, ")?;
        match self.resource {
            Resource::Cpu => write!(formatter, "{} CPU units short", self.by),
            Resource::Memory => write!(formatter, "{} MiB of memory short", self.by),
            Resource::Gpu => write!(formatter, "{} GPUs short", self.by),
            Resource::Place => formatter.write_str("where its port, network interface or one allowed task is taken"),
        }
    }
}

/// Where one more task of the part comes closest to fitting, among the instances that have no room for it.
pub fn shortage(index: &Index<'_>, service: &Service, part: &Part<'_>) -> Shortage {
    let eligible = index.eligible(&part.requirement);
    let asked = part.requirement.reserves();
    let closest = eligible
        .iter()
        .filter(|instance| room(index, service, part, instance) == 0)
        .map(|instance| {
            let free = instance.remaining;
            let short = [
                (Resource::Cpu, asked.cpu_units.saturating_sub(free.cpu_units), asked.cpu_units),
                (Resource::Memory, asked.memory_mib.saturating_sub(free.memory_mib), asked.memory_mib),
                (Resource::Gpu, asked.gpus.saturating_sub(free.gpus), asked.gpus),
            ];
            // The resource that is short by the largest part of what is asked, in thousandths.
            let worst = short
                .into_iter()
                .filter(|(_, by, _)| *by > 0)
                .map(|(resource, by, asked)| (u64::from(by) * 1000 / u64::from(asked.max(1)), resource, by))
                .max()
                .unwrap_or((1001, Resource::Place, 0));
            (worst, instance)
        })
        .min_by(|(a, one), (b, other)| a.cmp(b).then_with(|| one.arn.cmp(&other.arn)));
    let (resource, by, closest) = match closest {
        None => (Resource::Place, 0, None),
        Some(((_, resource, by), instance)) => {
            let id = &instance.ec2_instance_id;
            (resource, by, Some(if id.is_empty() { instance.arn.short().to_owned() } else { id.clone() }))
        }
    };
    Shortage { eligible: u32::try_from(eligible.len()).unwrap_or(u32::MAX), closest, resource, by }
}
