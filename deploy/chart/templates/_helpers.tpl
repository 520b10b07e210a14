{{/* Name of an object: <release>-<component>, or the chart's name where no component is given. */}}
{{- define "milepost.name" -}}
{{- printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .component -}}
{{- end -}}

{{/* Labels a component is selected by; they never change. */}}
{{- define "milepost.selector" -}}
app.kubernetes.io/name: milepost
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "milepost.labels" -}}
{{ include "milepost.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "milepost.image" -}}
{{ .root.Values.image.repository }}/{{ .component }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{/* Pod security `restricted`, and more. */}}
{{- define "milepost.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "milepost.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
privileged: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* One environment variable from a secret. */}}
{{- define "milepost.secretVariable" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret.name | quote }}, key: {{ .secret.key | quote }}}}
{{- end -}}

{{/* Settings all services have. */}}
{{- define "milepost.environment" -}}
{{- $v := .root.Values -}}
- {name: MILEPOST_LISTEN, value: "0.0.0.0:7400"}
- {name: MILEPOST_METRICS_LISTEN, value: "0.0.0.0:9400"}
- {name: MILEPOST_LOG_LEVEL, value: {{ $v.logLevel | quote }}}
- {name: MILEPOST_MAX_CONNECTION_AGE_S, value: {{ $v.maxConnectionAge | quote }}}
{{- if $v.broker.secret.name }}
{{ include "milepost.secretVariable" (dict "name" "MILEPOST_NATS_URL" "secret" $v.broker.secret) }}
{{- else }}
- {name: MILEPOST_NATS_URL, value: {{ $v.broker.url | quote }}}
{{- end }}
- {name: MILEPOST_STREAM_REPLICAS, value: {{ $v.broker.replicas | quote }}}
{{- if $v.auth.sharedKey.name }}
{{ include "milepost.secretVariable" (dict "name" "MILEPOST_AUTH_SHARED_KEY" "secret" $v.auth.sharedKey) }}
{{- end }}
{{- if $v.auth.serviceKey.name }}
{{ include "milepost.secretVariable" (dict "name" "MILEPOST_AUTH_SERVICE_KEY" "secret" $v.auth.serviceKey) }}
{{- end }}
{{- with $v.auth.jwks }}
- {name: MILEPOST_AUTH_JWKS, value: {{ . | quote }}}
{{- end }}
{{- with $v.auth.issuer }}
- {name: MILEPOST_AUTH_ISSUER, value: {{ . | quote }}}
{{- end }}
{{- with $v.auth.audience }}
- {name: MILEPOST_AUTH_AUDIENCE, value: {{ . | quote }}}
{{- end }}
{{- if $v.auth.insecure }}
- {name: MILEPOST_INSECURE, value: "true"}
{{- end }}
{{- if $v.tls.secret }}
- {name: MILEPOST_TLS_CERT, value: /etc/milepost/tls/tls.crt}
- {name: MILEPOST_TLS_KEY, value: /etc/milepost/tls/tls.key}
- {name: MILEPOST_TLS_CA, value: /etc/milepost/tls/ca.crt}
{{- if $v.tls.mutual }}
- {name: MILEPOST_TLS_CLIENT_CA, value: /etc/milepost/tls/ca.crt}
{{- end }}
{{- end }}
{{- with $v.telemetry.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .settings.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* A probe. The kubelet's gRPC probe speaks no TLS: there it is asked whether the port is open. */}}
{{- define "milepost.probe" -}}
{{- if .root.Values.tls.secret }}
tcpSocket: {port: grpc}
{{- else }}
grpc: {port: 7400, service: {{ .service | quote }}}
{{- end }}
{{- end -}}

{{- define "milepost.ports" -}}
- {name: grpc, containerPort: 7400}
- {name: metrics, containerPort: 9400}
{{- end -}}

{{- define "milepost.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: work, mountPath: /var/lib/milepost}
{{- if .root.Values.tls.secret }}
- {name: tls, mountPath: /etc/milepost/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "milepost.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- with .root.Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* Where a component's pods go. */}}
{{- define "milepost.placement" -}}
{{- with .settings.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: {matchLabels: {{ include "milepost.selector" $ | fromYaml | toJson }}}
  {{- end }}
{{- end -}}
