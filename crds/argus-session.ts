import { z } from "zod";
import { conditionList } from "./condition.ts";
import { mcpServerList } from "./mcp-servers.ts";
import { webhookList } from "./webhooks.ts";

/** Without a bound the API server estimates the cost of a rule over such a map by the largest request. */
const MAX_ENTRIES = { maxProperties: 32 };

const keyValues = () => z.record(z.string().max(253), z.string().max(1024)).meta(MAX_ENTRIES);
const quantityMap = () =>
  z
    .record(z.string().max(63), z.string().max(32))
    .meta({ ...MAX_ENTRIES, description: "Quantities by resource name, for example cpu: 500m" });

/** S5, the spoof guard: nobody sets our own labels through a template. */
const ownKeysRule = (what: string) => ({
  "x-kubernetes-validations": [
    {
      rule: "self.all(k, !k.startsWith('argus.dev/'))",
      message: `${what} may not start with argus.dev/: those belong to Argus`,
    },
  ],
});
const zeroOrAtLeast = (field: string, least: number) => ({
  rule: `self.${field} == 0 || self.${field} >= ${least}`,
  message: `${field} must be 0 (off) or at least ${least}`,
});

const IANA_ZONE = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/;
const HOUR_MINUTE = /^([01][0-9]|2[0-3]):[0-5][0-9]$/;

const EnvVar = z.object({
  name: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
    .meta({
      "x-kubernetes-validations": [
        {
          rule: "!self.startsWith('ARGUS_')",
          message: "names that start with ARGUS_ belong to Argus: choose another name",
        },
      ],
    }),
  value: z.string().max(4096).optional(),
  valueFrom: z
    .object({
      secretKeyRef: z.object({
        name: z.string().min(1).max(253),
        key: z.string().min(1).max(253),
        optional: z.boolean().optional(),
      }),
    })
    .optional(),
});

const Runtime = z.object({
  image: z.string().min(1).max(512).optional().meta({
    description: "Container image of the session; the installation's default when absent",
  }),
  command: z.array(z.string().max(1024)).max(32).optional().meta({
    description: "The app-server's command (JSON lines over stdio); default: codex app-server",
  }),
  args: z.array(z.string().max(1024)).max(32).optional(),
  install: z.string().max(4096).optional().meta({
    description:
      "Shell text, run once per version (hash of the text and the image) as the session's user",
  }),
  transcribe: z.string().max(4096).optional().meta({
    description:
      "Shell text that prints what is said in the sound file $1; run for voice messages as the session's user. The installation's when absent, nobody listens when empty",
  }),
  protocol: z.enum(["codex", "acp", "jsonl"]).default("codex"),
  env: z
    .array(EnvVar)
    .max(64)
    .optional()
    .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
  workingDir: z
    .string()
    .max(256)
    .regex(/^\//)
    .optional()
    .meta({ description: "Absolute; default: the workspace" }),
});

const Idle = z
  .object({
    parkAfterSeconds: z.int32().min(0).default(900).meta({
      description: "Stop the idle app-server after this time; 0 never. Any line starts it again",
    }),
    suspendAfterSeconds: z.int32().min(0).default(0),
    wakeOn: z
      .array(z.enum(["Message", "Node", "Cron"]))
      .max(3)
      .default(["Message", "Node", "Cron"])
      .meta({ "x-kubernetes-list-type": "set" }),
  })
  .meta({
    "x-kubernetes-validations": [
      zeroOrAtLeast("parkAfterSeconds", 30),
      zeroOrAtLeast("suspendAfterSeconds", 30),
    ],
  });

const Heartbeat = z
  .object({
    intervalSeconds: z.int32().min(0).default(1800),
    activeHours: z
      .object({ start: z.string().regex(HOUR_MINUTE), end: z.string().regex(HOUR_MINUTE) })
      .optional(),
    timeZone: z.string().max(64).regex(IANA_ZONE).optional(),
  })
  .meta({ "x-kubernetes-validations": [zeroOrAtLeast("intervalSeconds", 60)] });

const Retention = z
  .object({
    whenDeleted: z.enum(["Retain", "Delete"]).default("Retain"),
    whenSuspended: z.enum(["Retain", "Delete"]).default("Retain"),
    confirmDataLoss: z.boolean().default(false),
  })
  .meta({
    "x-kubernetes-validations": [
      {
        rule: "self.whenSuspended != 'Delete' || self.confirmDataLoss",
        message: "whenSuspended: Delete loses the workspace; set confirmDataLoss: true to allow it",
      },
    ],
  });

const VolumeClaimTemplate = z.object({
  metadata: z.object({
    name: z.string().min(1).max(63),
    labels: keyValues().optional(),
    annotations: keyValues().optional(),
  }),
  spec: z.object({
    accessModes: z.array(z.string().max(32)).max(4).optional(),
    storageClassName: z.string().max(253).optional(),
    volumeMode: z.string().max(16).optional(),
    volumeName: z.string().max(253).optional(),
    resources: z
      .object({ requests: quantityMap().optional(), limits: quantityMap().optional() })
      .optional(),
  }),
});

const networkRules = () =>
  z
    .array(z.looseObject({}).meta({ "x-kubernetes-preserve-unknown-fields": true }))
    .max(16)
    .optional();

export const ArgusSessionSpec = z
  .object({
    operatingMode: z.enum(["Running", "Suspended"]).default("Running"),
    shutdownTime: z.iso.datetime().optional(),
    shutdownPolicy: z.enum(["Delete", "Retain"]).default("Retain"),
    ttlSecondsAfterFinished: z.int32().min(0).optional(),
    idle: Idle.prefault({ parkAfterSeconds: 900, suspendAfterSeconds: 0 }),
    heartbeat: Heartbeat.prefault({ intervalSeconds: 1800 }),
    runtime: Runtime.prefault({}),
    approvals: z.enum(["never", "untrusted"]).default("never").meta({
      description: "never: the agent runs commands unasked; untrusted: unknown commands ask first",
    }),
    turn: z
      .object({
        silenceSeconds: z.int32().min(30).default(600),
        commandSilenceSeconds: z.int32().min(30).default(3600),
      })
      .prefault({}),
    mcpServers: mcpServerList(),
    webhooks: webhookList(),
    resources: z
      .object({ requests: quantityMap().optional(), limits: quantityMap().optional() })
      .prefault({}),
    limits: z
      .object({
        pids: z.int32().min(64).max(16384).default(256).meta({
          description: "Processes and threads of the agent",
        }),
      })
      .prefault({}),
    podTemplate: z
      .object({
        metadata: z
          .object({
            labels: keyValues().optional().meta(ownKeysRule("labels")),
            annotations: keyValues().optional().meta(ownKeysRule("annotations")),
          })
          .optional(),
        spec: z.looseObject({}).optional().meta({ "x-kubernetes-preserve-unknown-fields": true }),
      })
      .optional(),
    volumeClaimTemplates: z.array(VolumeClaimTemplate).max(4).optional(),
    persistentVolumeClaimRetentionPolicy: Retention.prefault({
      whenSuspended: "Retain",
      confirmDataLoss: false,
    }),
    service: z.boolean().default(false),
    networkPolicyManagement: z.enum(["Managed", "Unmanaged"]).default("Managed"),
    networkPolicy: z
      .object({
        egressMode: z.enum(["Open", "PublicOnly", "Listed"]).default("PublicOnly"),
        ingress: networkRules(),
        egress: networkRules(),
      })
      .prefault({}),
    tokenGeneration: z
      .int()
      .min(0)
      .default(0)
      .meta({
        "x-kubernetes-validations": [
          { rule: "self >= oldSelf", message: "tokenGeneration may only grow" },
        ],
        description: "Raising it revokes every client token that names this session",
      }),
  })
  .meta({
    "x-kubernetes-validations": [
      {
        rule: "has(self.volumeClaimTemplates) == has(oldSelf.volumeClaimTemplates) && (!has(self.volumeClaimTemplates) || self.volumeClaimTemplates == oldSelf.volumeClaimTemplates)",
        message: "volumeClaimTemplates cannot be changed: create a new session",
      },
    ],
  });
export type ArgusSessionSpec = z.infer<typeof ArgusSessionSpec>;
export type ArgusSessionSpecInput = z.input<typeof ArgusSessionSpec>;

/** How the pod last ended. Kept over a restart and a resume. */
export const LastTermination = z.object({
  reason: z.string().max(128),
  exitCode: z.int32().optional(),
  signal: z.int32().optional(),
  oomKilled: z.boolean().optional(),
  pidLimitHit: z.boolean().optional(),
  finishedAt: z.iso.datetime().optional(),
  message: z.string().max(4096).optional(),
});

export const ArgusSessionStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditionList().optional(),
  podName: z.string().max(253).optional(),
  podIPs: z.array(z.string().max(64)).max(4).optional(),
  nodeName: z.string().max(253).optional(),
  runAsUser: z.int().optional(),
  activity: z
    .object({ demand: z.enum(["None", "Open"]), since: z.iso.datetime().optional() })
    .optional(),
  lastTermination: LastTermination.optional(),
});
export type ArgusSessionStatus = z.infer<typeof ArgusSessionStatus>;

/** Condition types of a session and what True means. */
export const SESSION_CONDITIONS = {
  Ready: "a message sent now reaches the agent",
  Suspended: "no pod of ours exists and none is wanted",
  PodScheduled: "the pod has a node",
  BridgeReady: "the bridge answers its readiness endpoint, which asks the app-server",
  RuntimeInstalled: "spec.runtime.install ran for this version (or there is none)",
  Finished: "nothing will run again without a change of the spec",
  UpdateAvailable: "the installation would make another pod today; the next start brings it",
  PidPressure: "more than 85 % of the process limit is in use",
  MemoryPressure: "more than 85 % of the memory limit is in use",
  DiskPressure: "more than 85 % of the volume is in use",
  PidIsolation: "the process limit holds as asked",
} as const;
export type SessionConditionType = keyof typeof SESSION_CONDITIONS;
