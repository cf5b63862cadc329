//! Numbers in sentences: one task is, two tasks are.

/// `1 task is`, `2 tasks are`: a number and what it counts, as a sentence has it.
pub fn counted(number: impl TryInto<u64>, one: &str, many: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// `1 container instance`, `2 container instances`.
pub fn container_instances(number: impl TryInto<u64>) -> String {
    counted(number, "container instance", "container instances")
}

/// `1 task`, `2 tasks`.
pub fn tasks(number: impl TryInto<u64>) -> String {
    counted(number, "task", "tasks")
}
