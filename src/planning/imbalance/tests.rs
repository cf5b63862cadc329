use super::*;
use crate::planning::testing;

#[test]
fn the_production_fleet_measures_as_counted_apart() {
    let Some(cluster) = testing::production() else { return };
    assert_eq!(definitions_needed(&cluster).len(), 2);
    let measure = measure(&cluster, &Policy::default(), testing::NOW);
    assert_eq!(measure.services.len(), 87);
    assert_eq!((measure.container_instances, measure.empty_instances), (1523, 577));
    assert_eq!((measure.running_tasks, measure.misplaced_tasks), (3863, 317));
    let rounded = |share: Share| format!("{:.1}", share.percent());
    assert_eq!(rounded(measure.task_imbalance), "8.2");
    assert_eq!(rounded(measure.memory_load_imbalance), "46.1");
    assert_eq!(rounded(measure.cpu_load_imbalance), "42.4");
    assert_eq!(measure.load_imbalance, measure.memory_load_imbalance);
}
