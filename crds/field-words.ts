type Json = Record<string, unknown>;

/** What fields mean that do not say it where they are declared, by their path below `spec`. */
export const SESSION_WORDS: Record<string, string> = {
  operatingMode:
    "Suspended: the pod is removed, whatever runs in it; its volumes stay as retention says",
  shutdownTime: "From then on nothing runs: the condition Finished is True",
  shutdownPolicy: "At shutdownTime Retain ends the pod, Delete the session itself",
  ttlSecondsAfterFinished: "The session is deleted so long after Finished became True",
  idle: "What happens to a session that nobody uses",
  "idle.suspendAfterSeconds":
    "Remove the pod of a session without open demand after this time; 0 never",
  "idle.wakeOn": "What wakes it; the empty list: only `argus sessions restart`",
  heartbeat:
    "Turns of its own, in which the agent follows HEARTBEAT.md and speaks only when something needs you",
  "heartbeat.intervalSeconds": "Time between two of them; 0 never",
  "heartbeat.activeHours":
    "Only between these times of day; a start after the end means over midnight",
  "heartbeat.activeHours.start": "HH:MM",
  "heartbeat.activeHours.end": "HH:MM",
  "heartbeat.timeZone": "IANA name, for example Europe/Helsinki",
  runtime: "The app-server that the session runs",
  "runtime.args": "Arguments after the command",
  "runtime.protocol": "What the app-server speaks over stdio",
  "runtime.env": "Variables of the app-server",
  "runtime.env[].name": "Name of the variable",
  "runtime.env[].value": "Its value",
  "runtime.env[].valueFrom": "Where its value comes from",
  "runtime.env[].valueFrom.secretKeyRef": "A key of a Secret in the session's namespace",
  turn: "How long a turn that the gateway started may give no sign of life before it is stopped and its sender told",
  "turn.silenceSeconds": "While no command runs; while an approval waits there is no limit",
  "turn.commandSilenceSeconds": "While a command runs",
  mcpServers: "MCP servers whose tools the agent gets beside Argus's own, through the gateway",
  resources: "Requests and limits of the agent's container",
  limits: "Limits that Kubernetes has no field for",
  podTemplate: "Merged into the pod that Argus makes",
  "podTemplate.metadata": "Labels and annotations of the pod",
  "podTemplate.spec": "A part of a pod's spec",
  volumeClaimTemplates: "Volumes of the session; without any it gets a workspace of 5Gi",
  persistentVolumeClaimRetentionPolicy: "What becomes of the volumes",
  "persistentVolumeClaimRetentionPolicy.whenDeleted": "When the session is deleted",
  "persistentVolumeClaimRetentionPolicy.whenSuspended": "When the session is suspended",
  "persistentVolumeClaimRetentionPolicy.confirmDataLoss": "Allows whenSuspended: Delete",
  service: "A headless Service for the pod, under the pod's name",
  networkPolicyManagement: "Unmanaged: no network policy of Argus holds for the pod",
  networkPolicy:
    "What the pod may reach, and who may reach it, besides Argus itself; the cluster's network must enforce it",
  "networkPolicy.egressMode":
    "PublicOnly: public addresses; Open: all but metadata addresses; Listed: what egress lists",
};

export const CRON_WORDS: Record<string, string> = {
  "": "A schedule that sends a session a message. Names and meanings are those of a CronJob where both have them",
  suspend:
    "True: no slot is posted. What is resumed posts its latest slot at once, if the deadline allows it",
  startingDeadlineSeconds:
    "A slot that could not be posted for longer than this is skipped; without it the latest one is never too late",
  concurrencyPolicy:
    "While an earlier message of this schedule waits or runs: Allow queues another one, Forbid skips, Replace exchanges one that still waits",
  sessionRef: "The session that gets the message",
  "sessionRef.name": "Its name, in the same namespace",
  event: "What it gets",
  "event.text": "The message",
};

/** `schema` with these descriptions where it has none. Throws for a path that it does not have. */
export function described(schema: Json, words: Record<string, string>): Json {
  for (const [path, text] of Object.entries(words)) {
    const node = at(schema, path);
    if (!node) throw new Error(`${path}: the schema has no such field`);
    node.description ??= text;
  }
  return schema;
}

function at(schema: Json, path: string): Json | undefined {
  if (!path) return schema;
  return path.split(".").reduce<Json | undefined>((node, step) => {
    const properties = node?.properties as Record<string, Json> | undefined;
    const child = properties?.[step.replace("[]", "")];
    return step.endsWith("[]") ? (child?.items as Json | undefined) : child;
  }, schema);
}
