//! How a metric comes into the registry.
//! **Owns:** a way for each kind of metric. **Never:** a name.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

type Registered<T> = Result<T, prometheus::Error>;

/// Makes metrics that the registry knows. Two of one name are refused: a bug that every test run shows.
pub(super) struct Register<'a>(pub(super) &'a Registry);

impl Register<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> Registered<IntCounter> {
        self.known(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntCounterVec> {
        self.known(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A counter by one label. Each value is there before the first of its kind: without a 0 before it, that would raise no alert.
    pub(super) fn counters_of(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Registered<IntCounterVec> {
        let counter = self.counters(name, help, &[label])?;
        for value in values {
            counter.with_label_values(&[*value]);
        }
        Ok(counter)
    }

    pub(super) fn results(&self, name: &str, help: &str, results: &[&str]) -> Registered<IntCounterVec> {
        self.counters_of(name, help, "result", results)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Registered<IntGauge> {
        self.known(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Registered<IntGaugeVec> {
        self.known(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge of fractions.
    pub(super) fn fraction(&self, name: &str, help: &str) -> Registered<Gauge> {
        self.known(Gauge::new(name, help)?)
    }

    /// The same by labels.
    pub(super) fn fractions(&self, name: &str, help: &str, labels: &[&str]) -> Registered<GaugeVec> {
        self.known(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Registered<Histogram> {
        self.known(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    fn known<M: Collector + Clone + 'static>(&self, metric: M) -> Registered<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
