{{/* The operator's flags. */}}
{{- define "keyturn.args" -}}
{{- $args := list }}
{{- if include "keyturn.mountedCertificate" . }}
{{- $args = append $args "--tls-cert-file=/etc/keyturn/tls/tls.crt" }}
{{- $args = append $args "--tls-key-file=/etc/keyturn/tls/tls.key" }}
{{- else }}
{{- $args = append $args (printf "--tls-secret=%s" (include "keyturn.ownCertificate" .)) }}
{{- $args = append $args (printf "--tls-hosts=%s,localhost" (include "keyturn.hosts" . | fromJsonArray | join ",")) }}
{{- end }}
{{- with .Values.watchNamespaces }}
{{- $args = append $args (printf "--namespaces=%s" (join "," .)) }}
{{- end }}
{{- with .Values.trustedProxies }}
{{- $args = append $args (printf "--trusted-proxies=%s" (join "," .)) }}
{{- end }}
{{- with .Values.allowInternalAddresses }}
{{- $args = append $args (printf "--allow-internal-addresses=%s" (join "," .)) }}
{{- end }}
{{- if not .Values.metrics.enabled }}
{{- $args = append $args "--metrics-bind-address=0" }}
{{- end }}
{{- with .Values.leaderElection }}
{{- $args = append $args (printf "--leader-election-lease-duration=%s" .leaseDuration) }}
{{- $args = append $args (printf "--leader-election-renew-deadline=%s" .renewDeadline) }}
{{- $args = append $args (printf "--leader-election-retry-period=%s" .retryPeriod) }}
{{- end }}
{{- $args = append $args (printf "--log-level=%s" .Values.logging.level) }}
{{- $args = append $args (printf "--log-format=%s" .Values.logging.format) }}
{{- $args = append $args (printf "--audit-log=%s" .Values.auditLog) }}
{{- concat $args .Values.extraArgs | toYaml }}
{{- end }}
