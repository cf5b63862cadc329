//! stub
/// s
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricsScope {
    /// o
    Off,
    /// c
    Cluster,
    /// i
    Imbalanced,
    /// a
    All,
}
