{{- define "argus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of all names; 40 characters leave room for what is added to it. */}}
{{- define "argus.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "argus.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "argus.controller" -}}{{ include "argus.fullname" . }}-controller{{- end -}}
{{- define "argus.webhook" -}}{{ include "argus.fullname" . }}-webhook{{- end -}}
{{- define "argus.telegram" -}}{{ include "argus.fullname" . }}-telegram{{- end -}}
{{- define "argus.gateway" -}}{{ include "argus.fullname" . }}-gateway{{- end -}}

{{/* The account of session pods has the name that the controller writes into them (protocol/pod.ts). */}}
{{- define "argus.sessionAccount" -}}argus-session{{- end -}}

{{/* Call with (list $ "component"). */}}
{{- define "argus.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "argus.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "argus.labels" -}}
{{- $root := index . 0 -}}
{{ include "argus.selector" . }}
app.kubernetes.io/part-of: argus
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Call with (list $ .Values.image): repository@digest, else repository:tag, else the release's own tag. */}}
{{- define "argus.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "argus.gatewayUrl" -}}
http://{{ include "argus.gateway" . }}.{{ .Release.Namespace }}.svc:{{ .Values.gateway.service.port }}
{{- end -}}

{{- define "argus.adminSecret" -}}
{{- default (printf "%s-admin" (include "argus.fullname" .)) .Values.adminToken.existingSecret -}}
{{- end -}}

{{/* Name of the Secret with the model's key; empty = there is none. */}}
{{- define "argus.modelSecret" -}}
{{- if .Values.model.existingSecret -}}
{{- .Values.model.existingSecret -}}
{{- else if .Values.model.key -}}
{{- printf "%s-model" (include "argus.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the Telegram bot's token. */}}
{{- define "argus.telegramSecret" -}}
{{- default (printf "%s-telegram" (include "argus.fullname" .)) .Values.telegram.existingSecret -}}
{{- end -}}

{{/* Name of the Secret with the key of the webhook adapter's signatures. */}}
{{- define "argus.webhookSecret" -}}
{{- default (printf "%s-webhook" (include "argus.fullname" .)) .Values.webhook.existingSecret -}}
{{- end -}}

{{- define "argus.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "argus.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Call with (list $ "component" .Values.component): where its pods run. */}}
{{- define "argus.placement" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
affinity:
  {{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "argus.selector" (list $root $component) | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "argus.selector" (list $root $component) | nindent 8 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
