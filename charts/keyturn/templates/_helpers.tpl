{{/* The names: short for a release that is called like the chart. */}}
{{- define "keyturn.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 44 characters leave room for the longest suffix, "-controller-manager", in the 63 of a label and a Service. */}}
{{- define "keyturn.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 44 | trimSuffix "-" }}
{{- else }}
{{- $name := include "keyturn.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 44 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 44 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Cluster-scoped objects have the namespace in their names, so that releases in several namespaces do not collide. */}}
{{- define "keyturn.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "keyturn.fullname" .) }}
{{- end }}

{{- define "keyturn.managerName" -}}
{{- include "keyturn.fullname" . }}-controller-manager
{{- end }}

{{- define "keyturn.serviceName" -}}
{{- include "keyturn.fullname" . }}-webhook
{{- end }}

{{- define "keyturn.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "keyturn.managerName" .) }}
{{- else }}
{{- .Values.serviceAccount.name | required "serviceAccount.name is required with create off: name one that exists" }}
{{- end }}
{{- end }}

{{/* What a Deployment and a Service choose their pods by. It must never change: a Deployment's selector cannot. */}}
{{- define "keyturn.selectorLabels" -}}
app.kubernetes.io/name: {{ include "keyturn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller-manager
{{- end }}

{{- define "keyturn.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
app.kubernetes.io/name: {{ include "keyturn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "keyturn.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* The Secret with a certificate that somebody else keeps current; empty where Keyturn makes its own. */}}
{{- define "keyturn.mountedCertificate" -}}
{{- if and .Values.tls.secretName .Values.tls.certManager.enabled }}
{{- fail "tls.secretName and tls.certManager.enabled exclude each other: set the one whose certificate it shall be" }}
{{- end }}
{{- if .Values.tls.certManager.enabled }}
{{- include "keyturn.fullname" . }}-serving-cert
{{- else }}
{{- .Values.tls.secretName }}
{{- end }}
{{- end }}

{{/* The Secret with the certificate that Keyturn makes itself. Not the one of cert-manager: neither takes the other's. */}}
{{- define "keyturn.ownCertificate" -}}
{{- include "keyturn.fullname" . }}-tls
{{- end }}

{{/* The names that the certificate is good for, as JSON. */}}
{{- define "keyturn.hosts" -}}
{{- $service := printf "%s.%s.svc" (include "keyturn.serviceName" .) .Release.Namespace }}
{{- concat (list $service (printf "%s.cluster.local" $service)) .Values.tls.hosts | uniq | toJson }}
{{- end }}

{{/* The paths to let through for issuers with the given paths in their URLs, as JSON. */}}
{{- define "keyturn.publicPaths" -}}
{{- $paths := list }}
{{- range $issuerPath := .issuerPaths }}
{{- $base := trimSuffix "/" $issuerPath }}
{{- range $endpoint := $.endpoints }}
{{- $paths = append $paths (printf "%s/%s" $base $endpoint) }}
{{- if and $base (eq $endpoint ".well-known") }}
{{- /* RFC 8414 section 3.1 inserts the well-known part in front of the issuer's path. */}}
{{- $paths = append $paths (printf "/.well-known/oauth-authorization-server%s" $base) }}
{{- end }}
{{- end }}
{{- end }}
{{- $paths | uniq | toJson }}
{{- end }}
