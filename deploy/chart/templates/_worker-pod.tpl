{{/* The pod of a worker, the same in a Deployment and in a ScaledJob. */}}
{{- define "milepost.workerPod" -}}
{{- $v := .root.Values -}}
metadata:
  labels: {{- include "milepost.labels" . | nindent 4 }}
  {{- with $v.worker.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "milepost.name" . }}
  automountServiceAccountToken: {{ .patches }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.worker.terminationGracePeriodSeconds }}
  securityContext: {{- include "milepost.podSecurity" . | nindent 4 }}
  {{- include "milepost.placement" . | nindent 2 }}
  {{- if eq $v.worker.kind "ScaledJob" }}
  restartPolicy: OnFailure
  {{- end }}
  containers:
    - name: sim-worker
      image: {{ include "milepost.image" (merge (dict "component" "sim-worker") .) }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      securityContext: {{- include "milepost.containerSecurity" . | nindent 8 }}
      ports: {{- include "milepost.ports" . | nindent 8 }}
      env:
        {{- include "milepost.environment" . | nindent 8 }}
        - {name: MILEPOST_EVENT_STORE, value: "{{ include "milepost.name" (dict "root" .root "component" "event-store") }}:{{ $v.eventStore.service.port }}"}
        - {name: MILEPOST_POOL, value: {{ $v.worker.pool | quote }}}
        - {name: MILEPOST_SLOTS, value: {{ $v.worker.slots | quote }}}
        - {name: MILEPOST_LEASE_S, value: {{ $v.leaseSeconds | quote }}}
        - {name: MILEPOST_WORK_DIR, value: /var/lib/milepost}
        {{- if .patches }}
        - {name: MILEPOST_POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- end }}
        {{- if eq $v.worker.kind "ScaledJob" }}
        - {name: MILEPOST_IDLE_EXIT_S, value: {{ $v.worker.idleExitSeconds | quote }}}
        {{- end }}
      startupProbe: {{- include "milepost.probe" . | nindent 8 }}
        periodSeconds: 2
        failureThreshold: 60
      readinessProbe: {{- include "milepost.probe" . | nindent 8 }}
        periodSeconds: 10
      # Patient: a restart costs every session of the pod a recovery.
      livenessProbe: {{- include "milepost.probe" . | nindent 8 }}
        periodSeconds: 15
        timeoutSeconds: 10
        failureThreshold: 8
      resources: {{- toYaml $v.worker.resources | nindent 8 }}
      volumeMounts: {{- include "milepost.mounts" . | nindent 8 }}
  volumes:
    {{- include "milepost.volumes" . | nindent 4 }}
    - {name: work, emptyDir: {sizeLimit: {{ $v.worker.workDirSize }}}}
{{- end -}}

{{/* The trigger of KEDA: session-api, asked for the slots that are wanted. */}}
{{- define "milepost.trigger" -}}
- type: {{ .type }}
  {{- if eq .type "external" }}
  metricType: AverageValue
  {{- end }}
  metadata:
    scalerAddress: "{{ include "milepost.name" (dict "root" .root "component" "session-api") }}.{{ .root.Release.Namespace }}.svc:{{ .root.Values.sessionApi.service.port }}"
    pool: {{ .root.Values.worker.pool | quote }}
    slotsPerWorker: {{ .root.Values.worker.slots | quote }}
    {{- if .root.Values.tls.secret }}
    enableTLS: "true"
    {{- end }}
  {{- if .root.Values.tls.secret }}
  authenticationRef: {name: {{ include "milepost.name" (dict "root" .root "component" "worker") }}}
  {{- end }}
{{- end -}}

{{/* With which certificate KEDA asks: ours, because it has none of its own. */}}
{{- define "milepost.triggerAuthentication" }}
{{- with .root.Values.tls.secret }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ include "milepost.name" $ }}
  labels: {{- include "milepost.labels" $ | nindent 4 }}
spec:
  secretTargetRef:
    - {parameter: caCert, name: {{ . | quote }}, key: ca.crt}
    - {parameter: tlsClientCert, name: {{ . | quote }}, key: tls.crt}
    - {parameter: tlsClientKey, name: {{ . | quote }}, key: tls.key}
{{- end }}
{{- end -}}
