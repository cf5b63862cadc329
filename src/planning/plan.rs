//! What a run will do: plain data, which `planner` makes, `execute` carries out and reports show.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    imbalance::Measure,
    model::{ContainerInstanceArn, ServiceName},
    policy::Strategy,
    reason::{Fixed, Kept, LeftAlone},
};

pub use super::moves::Move;

/// Rounds in a row that may cure nothing: one that invests, and one that ECS's choice among equals spoils.
pub const PATIENCE: u32 = 2;

/// What a run will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order in which they are taken.
    pub services: Vec<ServicePlan>,
    /// For which services room is made, by those of the services above whose aim that is.
    pub rooms: Vec<Room>,
    /// Where tasks are expected that services lack, and that have room now or are to have it.
    pub places: Vec<(ServiceName, ContainerInstanceArn)>,
    /// The services with misplaced tasks, that fit nowhere or are in the way, that are left alone, and why.
    pub left_alone: BTreeMap<ServiceName, LeftAlone>,
    /// Which container instances come free and why others don't, where that is the aim.
    pub consolidation: Option<Consolidation>,
    /// What the cluster will look like.
    pub predicted: Measure,
}

impl Plan {
    /// All moves.
    pub fn moves(&self) -> impl Iterator<Item = (&ServiceName, &Move)> {
        self.services.iter().flat_map(|service| service.moves.iter().map(move |a_move| (&service.name, a_move)))
    }
}

/// What is done to one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// The service.
    pub name: ServiceName,
    /// How; never `Auto`.
    pub strategy: Strategy,
    /// Task by task, as foreseen: where ECS puts a replacement is ECS's choice.
    pub moves: Vec<Move>,
    /// Restarts beyond one for each move: of a replacement that a later round moves on. Its move is told from where it began to
    /// where it ends.
    pub restarted_again: u32,
    /// How many moves the limits leave it.
    pub allowance: u32,
    /// What it is done for.
    pub aim: Aim,
    /// How many tasks are expected to be started in vain beside the moves, in hundredths.
    pub in_vain_hundredths: u32,
    /// Where the planned tasks leave container instances for others of ECS's own choice: the instances on which no new task may
    /// stay. None where it is steered, or the aim is another.
    pub kept_clear: Option<BTreeSet<ContainerInstanceArn>>,
}

impl ServicePlan {
    /// Tasks that restart, those counted twice that do so twice.
    pub fn restarts(&self) -> u32 {
        u32::try_from(self.moves.len()).unwrap_or(u32::MAX).saturating_add(self.restarted_again)
    }

    /// Services of one turn may be moved at the same time, once those of the turn before have been: room that is made is not to
    /// be taken by others.
    pub fn turn(&self) -> Turn {
        match self.aim {
            Aim::Room { waits: false } => Turn::MakingRoom,
            Aim::Room { waits: true } => Turn::MakingRoomWhereOthersLeft,
            Aim::Spread | Aim::Steered | Aim::Consolidation => Turn::Rest,
            Aim::Level => Turn::Levelling,
        }
    }
}

/// When a service's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// First, those that make room.
    MakingRoom,
    /// Then those that make room by going where others left.
    MakingRoomWhereOthersLeft,
    /// Then all others.
    Rest,
    /// At last the load, once every service is spread.
    Levelling,
}

impl Turn {
    /// In order.
    pub const ALL: [Self; 4] = [Self::MakingRoom, Self::MakingRoomWhereOthersLeft, Self::Rest, Self::Levelling];
}

/// What a service's tasks are moved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Its spread. Which tasks go is decided anew at each look.
    Spread,
    /// The load of the container instances, by ECS's own choice: a new task stays where it landed well, and a task on a fuller
    /// instance goes. Which ones is decided at each landing.
    Level,
    /// The load of the container instances, steered: just the planned tasks go just where they are planned to.
    Steered,
    /// Container instances that come free: the same, or without steering elsewhere as ECS's own choice allows.
    Consolidation,
    /// Tasks of other services that fit nowhere: just the planned tasks go just where they are planned to; or without steering
    /// elsewhere as ECS's own choice allows.
    Room {
        /// Whether one goes where another service's task has to leave first.
        waits: bool,
    },
}

/// Room that is made for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The service.
    pub service: ServiceName,
    /// For how many of its tasks that fit nowhere.
    pub tasks: u32,
    /// How many of its tasks fit nowhere.
    pub lacking: u32,
    /// How many tasks it has once these run.
    pub wanted: u32,
    /// Whose tasks go elsewhere for it.
    pub movers: BTreeSet<ServiceName>,
    /// How many of them.
    pub moves: u32,
}

/// What is to be done so that instances come free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consolidation {
    /// The instances that come free, in the order in which they are emptied.
    pub freed: Vec<Freed>,
    /// Why the others that hold tasks stay, and how many stay for each reason.
    pub kept: BTreeMap<Kept, u32>,
    /// The services whose tasks can't be sent elsewhere, and why.
    pub fixed: BTreeMap<ServiceName, Fixed>,
}

/// A container instance that comes free, and the moves of its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freed {
    /// The instance.
    pub instance: ContainerInstanceArn,
    /// Each task's move.
    pub moves: Vec<(ServiceName, Move)>,
}
