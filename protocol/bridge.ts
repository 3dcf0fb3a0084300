import { z } from "zod";

/** Who speaks on :7777. `lane` is the gateway's own runner, `client` a person's connection. */
export const PeerRole = z.enum(["client", "lane"]);
export type PeerRole = z.infer<typeof PeerRole>;

/**
 * First line of every peer. Example:
 * `{"id":1,"method":"bridge/hello","params":{"token":"eyJ…","role":"client","after":41,"boot":"b1"}}`
 * The token is a compact JWS (EdDSA) with the claims of {@link HelloClaims}.
 */
export const HelloParams = z.object({
  token: z.string().max(8192),
  role: PeerRole,
  /** Replay notifications numbered after this one; only together with `boot`. */
  after: z.int().min(0).optional(),
  boot: z.string().max(64).optional(),
});
export type HelloParams = z.infer<typeof HelloParams>;

export const HelloClaims = z.object({
  /** UID of the pod. */
  aud: z.string(),
  /** Seconds since the epoch; at most {@link HELLO_TTL_SECONDS} after iat. */
  exp: z.int(),
  iat: z.int(),
  /** The gateway's start counter. A bridge serves the highest epoch it has seen and refuses lower ones for good. */
  epoch: z.int().min(0),
  /** What the peer may be: a bridge refuses a hello that names another role, or a token that names none. */
  role: PeerRole.optional(),
  /** Nonce: a bridge takes each token once, and none without it. */
  jti: z.string().min(1).max(128).optional(),
});
export type HelloClaims = z.infer<typeof HelloClaims>;
export const HELLO_TTL_SECONDS = 60;

/** hot: the app-server runs; parked = the next app-server line starts it; draining: no new turns. */
export const BridgeState = z.enum([
  "installing",
  "starting",
  "hot",
  "parked",
  "failed",
  "draining",
]);
export type BridgeState = z.infer<typeof BridgeState>;

/** Values that a turn of this session uses where its sender names none. */
export const TurnDefaults = z.object({
  cwd: z.string(),
  approvalPolicy: z.enum(["never", "untrusted", "on-request"]),
  sandbox: z.enum(["read-only", "workspace-write", "danger-full-access"]),
});
export type TurnDefaults = z.infer<typeof TurnDefaults>;

export const HelloResult = z.object({
  /** Changes whenever the bridge process starts; argusSeq counts within one boot. */
  boot: z.string(),
  /** argusSeq of the last notification so far; 0 = none yet. */
  seq: z.int(),
  state: BridgeState,
  /** The pod's projected token: the gateway sends nothing else until its pod UID matches. */
  podToken: z.string(),
  defaults: TurnDefaults,
  /** Whether the app-server is the built-in echo, so that clients can label it. */
  echo: z.boolean(),
  /** SHA-256 of HEARTBEAT.md at the last turn's end; absent = unknown, counts as due. */
  heartbeatDigest: z.string().optional(),
  /** What a person should know before the first turn, e.g. that there is no sandbox and every command asks. */
  warning: z.string().max(1024).optional(),
});
export type HelloResult = z.infer<typeof HelloResult>;

/** `data` of a refused hello. `now` (ms) lets the gateway see a clock skew. */
export const HelloRefusal = z.object({
  reason: z.enum(["malformed", "signature", "audience", "time", "epoch", "role", "used", "busy"]),
  now: z.int(),
  /** Highest epoch seen, when reason is epoch. */
  epoch: z.int().optional(),
});
export type HelloRefusal = z.infer<typeof HelloRefusal>;

/** Notifications that the bridge itself makes; each is numbered like any other. */
export const BRIDGE_NOTIFICATION = {
  /** params {from, to, boot}: notifications from..to (inclusive) are no longer in the ring. Sent to the resuming peer only, unnumbered. */
  gap: "argus/gap",
  /** params {boot, reason}: the app-server was started again; open requests were failed. */
  restarted: "argus/restarted",
  /** params {state, reason?}: the bridge's state changed. */
  state: "argus/bridge/state",
} as const;

const Gauge = z.object({ used: z.number(), limit: z.number() });

/** `GET /status` on the probe port. Untrusted input for its readers: bounded, schema-checked. */
export const BridgeStatus = z.object({
  boot: z.string().max(64),
  seq: z.int(),
  state: BridgeState,
  reason: z.string().max(1024).optional(),
  peers: z.int(),
  busyThreads: z.int(),
  openApprovals: z.int(),
  restarts: z.int(),
  garbageLines: z.int(),
  install: z.object({
    state: z.enum(["none", "running", "done", "failed"]),
    version: z.string().max(64).optional(),
    /** Last 20 lines of the install's output, after a failure. */
    tail: z.string().max(4096).optional(),
  }),
  pids: Gauge.optional(),
  memory: Gauge.optional(),
  disk: Gauge.optional(),
  pidIsolation: z.enum(["UserNamespace", "UniqueUid", "Degraded"]),
  /** A process could not be started for the limit, or the bridge ended the agent for it, since this boot. */
  pidLimitHit: z.boolean().optional(),
  /** The last time that processes of the agent were ended for a limit, by the bridge or the kernel; `at` in ms since the epoch. */
  killed: z
    .object({
      reason: z.enum(["PidLimit", "OOMKilled"]),
      message: z.string().max(512),
      at: z.number(),
    })
    .optional(),
  /** As in bridge/hello's result. */
  warning: z.string().max(1024).optional(),
  /** Set when a hello was refused for time. */
  clockSkewMs: z.number().optional(),
});
export type BridgeStatus = z.infer<typeof BridgeStatus>;

/** Written to the termination log when the bridge ends: the cause of death, as JSON. */
export const TerminationMessage = z.object({
  reason: z.enum([
    "Stopped",
    "InstallFailed",
    "AppServerFailed",
    "PidLimit",
    "OOMKilled",
    "DiskFull",
    "BridgeFailed",
  ]),
  message: z.string().max(2048),
  exitCode: z.int().optional(),
  signal: z.string().max(32).optional(),
  pidLimitHit: z.boolean().optional(),
});
export type TerminationMessage = z.infer<typeof TerminationMessage>;
