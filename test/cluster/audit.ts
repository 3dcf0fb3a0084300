import { readFile, writeFile } from "node:fs/promises";

/** One request, as the API server's audit log has it. */
export interface AuditEntry {
  /** A watch has two entries: when it starts, and when it ends; everything else has the last alone. */
  stage: "ResponseStarted" | "ResponseComplete" | "Panic";
  verb: string;
  /** Always the user that asked, e.g. `system:serviceaccount:argus:controller`. */
  user: { username: string; groups?: string[] };
  requestURI: string;
  userAgent?: string;
  /** Absent for what is no resource, such as `/readyz`. */
  objectRef?: {
    apiGroup?: string;
    resource: string;
    subresource?: string;
    namespace?: string;
    name?: string;
  };
  responseStatus?: { code: number; reason?: string; message?: string };
  requestReceivedTimestamp: string;
  stageTimestamp: string;
}

/** Metadata of everything but what the cluster's own parts read all the time. */
const POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  omitManagedFields: true,
  rules: [
    {
      level: "None",
      users: [
        "system:apiserver",
        "system:kube-scheduler",
        "system:kube-controller-manager",
        "system:kube-proxy",
        "system:node:argus-node",
        "argus-test:dns",
        "argus-test:provisioner",
      ],
      verbs: ["get", "list", "watch"],
    },
    {
      level: "None",
      users: ["system:node:argus-node"],
      resources: [{ group: "coordination.k8s.io" }],
    },
    {
      level: "None",
      userGroups: ["system:serviceaccounts:kube-system"],
      verbs: ["get", "list", "watch"],
    },
    { level: "None", nonResourceURLs: ["/readyz", "/livez", "/healthz"] },
    { level: "Metadata" },
  ],
};

export async function writeAuditPolicy(path: string): Promise<void> {
  await writeFile(path, JSON.stringify(POLICY), { mode: 0o600 });
}

/** The entries so far, oldest first; `from` skips that many bytes, as a former answer's `bytes` told. */
export async function readAudit(
  path: string,
  from = 0,
): Promise<{ entries: AuditEntry[]; bytes: number }> {
  const text = (await readFile(path)).subarray(from);
  // The last line may still be in the writing.
  const end = text.lastIndexOf(10) + 1;
  const lines = text.toString("utf8", 0, end).split("\n").filter(Boolean);
  return { entries: lines.map((line) => JSON.parse(line) as AuditEntry), bytes: from + end };
}

/** A dry run changes nothing. */
export const isWrite = ({ verb, requestURI }: AuditEntry): boolean =>
  ["create", "update", "patch", "delete", "deletecollection"].includes(verb) &&
  !/[?&]dryRun=/.test(requestURI);
