{{/* What the operator may do wherever it serves MailRelays. Secrets apart, and namespaces. */}}
{{- define "postrider.rules" -}}
# The resources that it serves, and what it says of them.
- apiGroups: [postrider.dev]
  resources: [mailrelays, routingrules]
  verbs: [get, list, watch]
# The finalizer that keeps mail from being deleted with its MailRelay.
- apiGroups: [postrider.dev]
  resources: [mailrelays]
  verbs: [patch]
# Where owner references are guarded (OpenShift), whoever sets one must be allowed this.
- apiGroups: [postrider.dev]
  resources: [mailrelays/finalizers]
  verbs: [update]
- apiGroups: [postrider.dev]
  resources: [mailrelays/status, routingrules/status]
  verbs: [patch]
# What it makes of a MailRelay. Server-side apply needs both create and patch.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.metrics.podMonitor.enabled }}
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
# Who is ready, who may send; patch is for the annotation by which the kubelet brings a new configuration at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Secrets: what resources refer to is read; configurations and queues' passwords are written. */}}
{{- define "postrider.secretRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}
