//! Ports and addresses of tasks, as a container agent would give them out: enough to tell targets apart.

use crate::state::Task;

/// The range that Docker takes dynamic host ports from.
const FIRST_DYNAMIC_PORT: u32 = 32_768;
const DYNAMIC_PORTS: u32 = 28_232;

/// Gives the `number`th task its port and address.
pub(crate) fn assign(task: &mut Task, number: u32) {
    task.host_port = u16::try_from(FIRST_DYNAMIC_PORT + number % DYNAMIC_PORTS).unwrap_or(u16::MAX);
    task.address = format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255);
}
