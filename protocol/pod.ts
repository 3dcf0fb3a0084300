import { z } from "zod";

/**
 * The shape of a session pod: the seam between the controller, which writes it, the kubelet, which runs it,
 * and the bridge, which wakes up inside. Paths are those inside the container.
 */
export const POD = {
  container: "agent",
  /** Named ports; readers always look the number up by name in the pod's spec. */
  ports: { bridge: { name: "bridge", number: 7777 }, probe: { name: "probe", number: 7778 } },
  /** HOME of the agent, on the session's volume. Codex keeps its state in `.codex` under it. */
  home: "/home/argus",
  workspace: "/home/argus/workspace",
  temporary: "/tmp",
  /** Projected service-account token, audience {@link GATEWAY_AUDIENCE}. */
  tokenFile: "/var/run/secrets/argus/token",
  /** A ConfigMap of the gateway's public keys: file name = key id, content = SPKI PEM (Ed25519). */
  keysFolder: "/etc/argus/keys",
  serviceAccount: "argus-session",
  /** ConfigMap that the gateway publishes its public keys in, one per namespace. */
  keysConfigMap: "argus-gateway-keys",
} as const;

/** Audience of pods', bot's and controller's projected tokens. */
export const GATEWAY_AUDIENCE = "argus-gateway";

/** Labels and annotations that Argus sets on its children. */
export const LABEL = {
  session: "argus.dev/session",
  /** UID of the ArgusSession: selects its children, also after the session is gone. */
  sessionUid: "argus.dev/session-uid",
  /** Annotation: the session's name, which a label value may be too short for. */
  sessionName: "argus.dev/session-name",
  component: "argus.dev/component",
  /** Which part of Argus a pod is: `gateway`, `controller`, `session`; the name that all charts use. */
  part: "app.kubernetes.io/component",
  /** `managed`: the shared network policies hold for the pod. */
  network: "argus.dev/network",
  /** The egress mode of the pod. */
  egress: "argus.dev/egress",
  /** Hash of what people wrote: a pod with another one is replaced. */
  specHash: "argus.dev/spec-hash",
  /** Hash of the whole pod: with another one an update waits for the next start. */
  podHash: "argus.dev/pod-hash",
  /** Annotation of a session, a time: its pod is made anew for each new value. */
  restartAt: "argus.dev/restart-at",
} as const;

/** What the bridge does, as JSON in ARGUS_RUNTIME; the controller derives it from the session's spec. */
export const RuntimeSpec = z.object({
  command: z.array(z.string()).min(1),
  protocol: z.enum(["codex", "acp", "jsonl"]),
  install: z.string().optional(),
  /** Image reference; part of the version of `install`. */
  image: z.string(),
  approvals: z.enum(["never", "untrusted"]),
  workingDir: z.string(),
  parkAfterSeconds: z.int().min(0),
  pids: z.int().min(0),
  /** Bytes; 0 = unknown. */
  memoryBytes: z.int().min(0),
  /** Codex model name; empty = Codex's own default. */
  model: z.string().optional(),
  /** Shell text that prints what is said in the sound file `$1`; absent = nobody listens. */
  transcribe: z.string().optional(),
  /** Names of the session's own MCP servers; the gateway knows the rest. */
  mcpServers: z.array(z.string().regex(/^[A-Za-z0-9_-]+$/)).optional(),
});
export type RuntimeSpec = z.infer<typeof RuntimeSpec>;

/** Environment of the container. The bridge hands none of the ARGUS_* names but those marked to the agent. */
export const POD_ENV = {
  /** Session name; also given to the agent. */
  session: "ARGUS_SESSION",
  namespace: "ARGUS_NAMESPACE",
  /** UID of the ArgusSession. */
  sessionUid: "ARGUS_SESSION_UID",
  /** UID of the pod (downward API); the audience of bridge/hello. Also given to the agent: it marks the pod's processes. */
  podUid: "ARGUS_POD_UID",
  podName: "ARGUS_POD_NAME",
  /** Address to listen on (downward API status.podIP). */
  podIp: "ARGUS_POD_IP",
  runtime: "ARGUS_RUNTIME",
  /** The session's process limit, for the launcher that sets the container's. */
  pids: "ARGUS_PIDS",
  /** Base URL of the gateway, for the model proxy and MCP. */
  gatewayUrl: "ARGUS_GATEWAY_URL",
  home: "HOME",
  workspace: "ARGUS_WORKSPACE",
  temporary: "TMPDIR",
  tokenFile: "ARGUS_TOKEN_FILE",
  keysFolder: "ARGUS_KEYS_FOLDER",
  terminationLog: "ARGUS_TERMINATION_LOG",
} as const;
