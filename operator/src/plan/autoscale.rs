//! The autoscaler of a fleet that asks for one.
//! **Owns:** its bounds and manners. **Never:** how many pods there are meanwhile (workload keeps what is there).

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};
use postrider_crds::MailRelay;

use super::{Kind, Object, metadata, name_of, object};
use crate::names;

/// Load that falls may rise again: a fleet shrinks by what it needed least in this time.
const CALM_SECONDS: i32 = 600;

pub(super) fn autoscaler(relay: &MailRelay) -> Option<Object> {
    let wanted = relay.spec.autoscaling.as_ref()?;
    let metadata = metadata(relay, name_of(relay), names::RELAY);
    let one_a_minute = HPAScalingPolicy { type_: "Pods".to_owned(), value: 1, period_seconds: 60 };
    let spec = HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: "Deployment".to_owned(),
            name: name_of(relay).to_owned(),
        },
        min_replicas: Some(wanted.min_replicas),
        max_replicas: wanted.max_replicas,
        metrics: Some(vec![MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(ResourceMetricSource {
                name: "cpu".to_owned(),
                target: MetricTarget {
                    type_: "Utilization".to_owned(),
                    average_utilization: Some(wanted.cpu),
                    ..MetricTarget::default()
                },
            }),
            ..MetricSpec::default()
        }]),
        behavior: Some(HorizontalPodAutoscalerBehavior {
            scale_down: Some(HPAScalingRules {
                stabilization_window_seconds: Some(CALM_SECONDS),
                policies: Some(vec![one_a_minute]),
                ..HPAScalingRules::default()
            }),
            scale_up: None,
        }),
    };
    let autoscaler = HorizontalPodAutoscaler { metadata: metadata.clone(), spec: Some(spec), status: None };
    Some(object(Kind::HorizontalPodAutoscaler, &metadata, &autoscaler))
}
