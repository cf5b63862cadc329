//! Placement strategies and constraints: the domains that a service spreads over, the instances that may take a task.
