{{/* What belongs to each service that clients call: Service, account, disruption budget. */}}
{{- define "milepost.service" }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ include "milepost.name" . }}
  labels: {{- include "milepost.labels" . | nindent 4 }}
  {{- with .settings.service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .settings.service.type }}
  selector: {{- include "milepost.selector" . | nindent 4 }}
  ports:
    - {name: grpc, port: {{ .settings.service.port }}, targetPort: grpc, appProtocol: kubernetes.io/h2c}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "milepost.name" . }}
  labels: {{- include "milepost.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- if and .root.Values.podDisruptionBudget.enabled (gt (int .settings.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "milepost.name" . }}
  labels: {{- include "milepost.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {{ include "milepost.selector" . | fromYaml | toJson }}}
{{- end }}
{{- end }}
