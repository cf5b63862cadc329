//! What every page holds, whatever the run was.

use super::*;

#[test]
fn numbers_are_grouped_by_thousands() {
    for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(grouped(number), expected);
    }
}
