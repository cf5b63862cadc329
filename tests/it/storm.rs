//! Seeds: random clusters, strategies, behaviours and faults against the same invariants; a failure prints its seed.
