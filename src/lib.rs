//! ecs-rebalancer

pub mod planning;
