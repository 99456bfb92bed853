{{/* The release's name, with the chart's behind it unless it is in it. Short enough for what is put behind it. */}}
{{- define "postrider.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 30 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* The name of all that is the operator's, and of its Lease. */}}
{{- define "postrider.operator" -}}
{{- include "postrider.fullname" . -}}-operator
{{- end -}}

{{- define "postrider.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "postrider.operator" .) -}}
{{- else -}}
{{- required "serviceAccount.name: found none; expected the ServiceAccount to use, as serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What finds the operator's pods; it never changes. */}}
{{- define "postrider.selector" -}}
app.kubernetes.io/name: postrider-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* On everything that the chart makes. */}}
{{- define "postrider.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "postrider.ownLabels" . }}
{{- end -}}

{{/* Without the chart's version, which would roll pods that stay as they are. */}}
{{- define "postrider.ownLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: postrider
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "postrider.operatorLabels" -}}
{{ include "postrider.selector" . }}
app.kubernetes.io/component: operator
{{ include "postrider.labels" . }}
{{- end -}}

{{/* An image's reference, from (dict "image" … "root" $). */}}
{{- define "postrider.image" -}}
{{- $registry := .image.registry | default .root.Values.image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}:{{ .image.tag | default .root.Chart.AppVersion -}}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The namespaces with Secrets for the operator, as a JSON list; none where a ClusterRole says it. */}}
{{- define "postrider.secretNamespaces" -}}
{{- .Values.secrets.namespaces | default .Values.watchNamespaces | toJson -}}
{{- end -}}

{{/* What values.schema.json can't see. */}}
{{- define "postrider.check" -}}
{{- if .Values.watchNamespaces -}}
{{- range $number, $namespace := .Values.secrets.namespaces -}}
{{- if not (has $namespace $.Values.watchNamespaces) -}}
{{- fail (printf "secrets.namespaces[%d]: found %q; expected one of watchNamespaces (%s), as resources refer to Secrets of their own namespace" $number $namespace (join ", " $.Values.watchNamespaces)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
