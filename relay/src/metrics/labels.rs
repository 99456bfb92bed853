//! Series of what is no more: a listener or rule that the configuration lost.
//! **Owns:** finding and removing them. **Never:** decides what is no more.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

/// Removes every series of a metric whose `label` has this value.
pub(super) fn forget<B: MetricVecBuilder>(metric: &MetricVec<B>, label: &str, value: &str) {
    forget_all(metric, &[(label, value)]);
}

/// Removes every series of a metric whose labels have these values.
pub(super) fn forget_all<B: MetricVecBuilder>(metric: &MetricVec<B>, values: &[(&str, &str)]) {
    for family in metric.collect() {
        for series in family.get_metric() {
            let labels: HashMap<&str, &str> =
                series.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if values.iter().all(|(label, value)| labels.get(label) == Some(value)) {
                // Somebody else may have removed it.
                let _ = metric.remove(&labels);
            }
        }
    }
}
