{{- define "trident.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "trident.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "trident.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "trident.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change, for selectors and pods. Takes (list $ "component"). */}}
{{- define "trident.selectorLabels" -}}
app.kubernetes.io/name: {{ include "trident.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of an object. On pods they would restart them with each version of the chart. */}}
{{- define "trident.labels" -}}
{{ include "trident.selectorLabels" . }}
app.kubernetes.io/part-of: trident
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Name, namespace and labels. Takes (list $ "component" "-suffix"). */}}
{{- define "trident.metadata" -}}
name: {{ include "trident.fullname" (index . 0) }}{{ index . 2 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "trident.labels" . | nindent 2 }}
{{- end -}}

{{/* Takes (list $ .Values.<component>.image). */}}
{{- define "trident.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s/%s@%s" $root.Values.image.registry $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s/%s:%s" $root.Values.image.registry $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* What every pod says: no token, not root. Takes (list $ "service account"). */}}
{{- define "trident.podBasics" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with index . 1 }}
serviceAccountName: {{ . }}
{{- end }}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "trident.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Variables from Secrets. Takes a map of name to {secret, key}. */}}
{{- define "trident.secretEnv" -}}
{{- range $name, $from := . }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secret }}
      key: {{ $from.key }}
{{- end }}
{{- end -}}

{{/* Where a program of ours finds the store. */}}
{{- define "trident.store" -}}
{{- if eq .Values.store.kind "bucket" -}}{{ .Values.store.url }}{{- else -}}/trident/store{{- end -}}
{{- end -}}

{{- define "trident.storeClaim" -}}
{{- .Values.store.pvc.existingClaim | default (printf "%s-store" (include "trident.fullname" .)) -}}
{{- end -}}

{{/* The volume of the store, if there is one. Takes (list $ readOnly). */}}
{{- define "trident.storeVolume" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.store.kind "pvc" }}
- name: store
  persistentVolumeClaim:
    claimName: {{ include "trident.storeClaim" $root }}
    readOnly: {{ index . 1 }}
{{- else if eq $root.Values.store.kind "init" }}
- name: store
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* Takes (list $ readOnly). */}}
{{- define "trident.storeMount" -}}
{{- if ne (index . 0).Values.store.kind "bucket" }}
- name: store
  mountPath: /trident/store
  readOnly: {{ index . 1 }}
{{- end }}
{{- end -}}

{{/* The init container that fills the store, if that is wanted. */}}
{{- define "trident.storeInit" -}}
{{- if eq .Values.store.kind "init" }}
initContainers:
  - name: store
    image: {{ .Values.store.init.image }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      {{- toYaml .Values.store.init.command | nindent 6 }}
    securityContext:
      {{- include "trident.containerSecurity" . | nindent 6 }}
    resources:
      requests:
        cpu: 100m
        memory: 128Mi
      limits:
        memory: 256Mi
    volumeMounts:
      - name: store
        mountPath: /trident/store
      - name: tmp
        mountPath: /tmp
{{- end }}
{{- end -}}

{{/* The resources of a container that uses Triton's GPUs, if it has any. Takes Triton's values. */}}
{{- define "trident.gpuResources" -}}
{{- $resources := .resources -}}
{{- if .gpu.count -}}
{{- $gpu := dict .gpu.resource (.gpu.count | toString) -}}
{{- $limits := merge (dict) $gpu (.resources.limits | default dict) -}}
{{- $resources = merge (dict "limits" $limits) .resources -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* nodeSelector, tolerations, priority. Takes a component's values. */}}
{{- define "trident.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The Tritons that gateways look after, with commas: each pod by its own name, also those that
     do not run now, or behind a Deployment its one pod by the Service's. */}}
{{- define "trident.tritonTargets" -}}
{{- $name := printf "%s-triton" (include "trident.fullname" .) -}}
{{- if eq .Values.triton.workload "Deployment" -}}
{{- printf "%s.%s.svc:8001" $name .Release.Namespace -}}
{{- else -}}
{{- $count := .Values.triton.replicas | int -}}
{{- if ne .Values.triton.autoscaling.kind "none" -}}
{{- $count = .Values.triton.autoscaling.maxReplicas | int -}}
{{- end -}}
{{- $targets := list -}}
{{- range $number := until $count -}}
{{- $targets = append $targets (printf "%s-%d.%s-headless.%s.svc:8001" $name $number $name $.Release.Namespace) -}}
{{- end -}}
{{- join "," $targets -}}
{{- end -}}
{{- end -}}

{{/* Where spans go over OTLP/gRPC, if anywhere: host:4317. */}}
{{- define "trident.collectorTarget" -}}
{{- if .Values.collector.enabled -}}
{{- printf "%s-collector.%s.svc:4317" (include "trident.fullname" .) .Release.Namespace -}}
{{- else -}}
{{- .Values.collector.existing -}}
{{- end -}}
{{- end -}}

{{/* Seconds that the end of a gateway may take: preStop, the grace for calls, what a worker has
     beyond the grace (10 s) and the rest of its supervisor (5 s) included. */}}
{{- define "trident.gatewayTermination" -}}
{{- add .Values.gateway.preStopSeconds .Values.gateway.gracePeriodSeconds 15 -}}
{{- end -}}

{{- define "trident.egressDns" }}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}

{{/* To the Collector that comes along, by its label; to one that exists, by its ports. */}}
{{- define "trident.egressCollector" -}}
{{- if or .Values.collector.enabled .Values.collector.existing }}
- ports:
    - port: 4317
    - port: 4318
  {{- if .Values.collector.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "trident.selectorLabels" (list . "collector") | nindent 10 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* To buckets and data sets. What hands out the identity of a workload is reached too. */}}
{{- define "trident.egressOutside" }}
- ports:
    {{- range .Values.networkPolicy.egressPorts }}
    - port: {{ . }}
    {{- end }}
  to:
    {{- range .Values.networkPolicy.egressCidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
{{- if eq .Values.store.kind "bucket" }}
- ports:
    - port: 80
    - port: 988
  to:
    - ipBlock:
        cidr: 169.254.0.0/16
{{- end }}
{{- end -}}

{{/* A value as text. Helm reads every number as a float, which it would write as 1e+06. */}}
{{- define "trident.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ printf "%.0f" . }}{{- else if kindIs "map" . -}}{{ toJson . }}{{- else -}}{{ . | toString }}{{- end -}}
{{- end -}}

{{/* What a probe of a gateway asks: gateway values, path beside the metrics, service over gRPC. */}}
{{- define "trident.probe" -}}
{{- $me := index . 0 -}}
{{- if $me.tls.secretName -}}
httpGet:
  path: {{ index . 1 }}
  port: metrics
{{- else -}}
grpc:
  port: {{ $me.port }}
  {{- with index . 2 }}
  service: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Secrets that gateways read as files, by the folder below /trident that they are in. */}}
{{- define "trident.gatewaySecrets" -}}
{{- with .tls.secretName }}
tls: {{ . }}
{{- end }}
{{- with .tls.clientCaSecret }}
client-ca: {{ . }}
{{- end }}
{{- with .keysSecret }}
keys: {{ . }}
{{- end }}
{{- with .permissionsSecret }}
permissions: {{ . }}
{{- end }}
{{- end -}}

{{/* Secrets that `helm test` reads as files, by the folder below /trident that they are in. */}}
{{- define "trident.testSecrets" -}}
{{- with .Values.gateway.tls.secretName }}
tls: {{ . }}
{{- end }}
{{- with .Values.tests.clientTlsSecret }}
client-tls: {{ . }}
{{- end }}
{{- end -}}
