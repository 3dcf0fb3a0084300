import { randomBytes, randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import type { ProcessMark } from "#lib/process-record.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { eventually } from "#test/support/eventually.ts";
import { writeAuditPolicy } from "./audit.ts";
import { programPath } from "./binaries.ts";
import { writeCertificates } from "./certificates.ts";
import { Daemon } from "./daemon.ts";

export interface ControlPlaneOptions {
  /** Default: a new temporary folder, removed by `close`. */
  folder?: string;
  /** Where the API server listens; default: a loopback address of its own, so that several can run at once. */
  address?: string;
  /** It outlives this process; its processes have this variable to be found by. */
  detached?: ProcessMark;
  /** What the controller-manager runs, e.g. `["*"]`; default: see CONTROLLERS. */
  controllers?: string[];
  scheduler?: boolean;
  /** Start the controller-manager too; default true. */
  controllerManager?: boolean;
  apiServerArgs?: string[];
}

/** Users beside the admin: name → groups. Their tokens are made at the start. */
const USERS = {
  admin: ["system:masters"],
  "system:kube-controller-manager": [],
  "system:kube-scheduler": [],
  "system:kube-proxy": [],
  "system:node:argus-node": ["system:nodes"],
  "argus-test:dns": ["system:masters"],
  "argus-test:provisioner": ["system:masters"],
} as const;
export type User = keyof typeof USERS;

/** Without a node: owners' ends, namespaces' ends, and the service account and CA that each namespace gets. */
const CONTROLLERS = [
  "garbage-collector-controller",
  "namespace-controller",
  "serviceaccount-controller",
  "root-ca-certificate-publisher-controller",
  "persistentvolume-binder-controller",
  "persistentvolumeclaim-protection-controller",
  "resourcequota-controller",
];

export const SERVICE_RANGE = "198.19.0.0/16";
const PORT = 6443;
const START_MS = 60_000;
const STOP_GRACE_MS = 5_000;
const ADDRESS_TRIES = 3;

/** A real kube-apiserver on a real etcd, alone: no node, no root needed. */
export class ControlPlane {
  readonly folder: string;
  readonly server: string;
  readonly address: string;
  readonly caPem: string;
  readonly tokens: Record<User, string>;
  /** JSON lines, see audit.ts. */
  readonly auditLog: string;
  readonly etcd: Daemon;
  readonly apiServer: Daemon;
  readonly controllerManager: Daemon;
  readonly scheduler: Daemon;
  readonly #agent: Agent;
  readonly #ownFolder: boolean;

  constructor(made: Made) {
    const { folder, address, caPem, tokens, options } = made;
    this.folder = folder;
    this.address = address;
    this.server = `https://${address}:${PORT}`;
    this.caPem = caPem;
    this.tokens = tokens;
    this.auditLog = join(folder, "audit.log");
    this.#ownFolder = options.folder === undefined;
    this.#agent = new Agent({ connect: { ca: caPem } });
    const daemon = (name: string, args: string[]) =>
      new Daemon({
        name,
        command: programPath(name),
        args,
        log: join(folder, "logs", `${name}.log`),
        detached: options.detached,
      });
    this.etcd = daemon("etcd", etcdArgs(made));
    this.apiServer = daemon("kube-apiserver", apiServerArgs(made, this.auditLog));
    this.controllerManager = daemon("kube-controller-manager", managerArgs(made));
    this.scheduler = daemon("kube-scheduler", [
      `--kubeconfig=${kubeconfigPath(folder, "system:kube-scheduler")}`,
      "--secure-port=0",
      "--leader-elect=false",
    ]);
  }

  /** The admin's. */
  get token(): string {
    return this.tokens.admin;
  }

  /** Path of a user's kubeconfig, the admin's by default. */
  kubeconfig(user: User = "admin"): string {
    return kubeconfigPath(this.folder, user);
  }

  get daemons(): Daemon[] {
    return [this.scheduler, this.controllerManager, this.apiServer, this.etcd];
  }

  /** Starts etcd and the API server and waits until it is ready. */
  async startServer(): Promise<void> {
    await this.etcd.start();
    await this.apiServer.start();
    await this.ready();
  }

  /** Resolves when the API server says so; throws with its log when it ended instead. */
  async ready(): Promise<void> {
    let ended: unknown;
    await eventually(
      "kube-apiserver is ready",
      async () => {
        try {
          for (const daemon of [this.etcd, this.apiServer]) daemon.assertRunning();
        } catch (error) {
          ended = error;
          return true;
        }
        return (await this.#status("/readyz")) === 200;
      },
      START_MS,
    );
    if (ended) throw ended;
  }

  async #status(path: string): Promise<number> {
    const answer = await request(`${this.server}${path}`, {
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.token}` },
    });
    await answer.body.dump();
    return answer.statusCode;
  }

  /** Stops everything and removes a folder that it made. */
  async close(): Promise<void> {
    await this.#agent.destroy();
    for (const daemon of this.daemons) await daemon.stop(STOP_GRACE_MS);
    if (this.#ownFolder) await rm(this.folder, { recursive: true, force: true });
  }
}

interface Made {
  folder: string;
  address: string;
  etcdAddress: string;
  caPem: string;
  tokens: Record<User, string>;
  options: ControlPlaneOptions;
}

/** Starts one and waits until it serves. Throws with the end of the log of what did not start. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  for (let left = ADDRESS_TRIES; ; ) {
    const plane = new ControlPlane(await prepare(options));
    try {
      await plane.startServer();
      if (options.controllerManager !== false) await plane.controllerManager.start();
      if (options.scheduler) await plane.scheduler.start();
      return plane;
    } catch (error) {
      await plane.close();
      left -= 1;
      // Somebody else may have drawn the same address.
      if (left === 0 || !/address already in use/.test(String(error))) throw error;
    }
  }
}

async function prepare(options: ControlPlaneOptions): Promise<Made> {
  const folder = options.folder ?? (await ownFolder());
  const etcdAddress = `127.79.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  const address = options.address ?? etcdAddress;
  await mkdir(join(folder, "logs"), { recursive: true, mode: 0o700 });
  // The first address of the service range is `kubernetes.default`.
  const caPem = await writeCertificates(join(folder, "pki"), [address, "198.19.0.1"]);
  const tokens = Object.fromEntries(
    Object.keys(USERS).map((user) => [user, randomBytes(24).toString("base64url")]),
  ) as Record<User, string>;
  const made = { folder, address, etcdAddress, caPem, tokens, options };
  await writeAccess(made);
  await writeAuditPolicy(join(folder, "audit-policy.json"));
  return made;
}

const OWN_FOLDER = "argus-control-plane-";

/** A new folder named after this process; those of killed ones, 130 MB each, are removed. */
async function ownFolder(): Promise<string> {
  for (const name of await readdir(tmpdir())) {
    const [, pid] = new RegExp(`^${OWN_FOLDER}(\\d+)-`).exec(name) ?? [];
    if (!pid || existsSync(`/proc/${pid}`)) continue;
    // Another user's stays.
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined);
  }
  return mkdtemp(join(tmpdir(), `${OWN_FOLDER}${process.pid}-`));
}

async function writeAccess({ folder, address, caPem, tokens }: Made): Promise<void> {
  const server = `https://${address}:${PORT}`;
  const lines = Object.entries(USERS).map(
    ([user, groups]) => `${tokens[user as User]},${user},${user},"${groups.join(",")}"`,
  );
  await writeFile(join(folder, "tokens.csv"), lines.join("\n"), { mode: 0o600 });
  for (const user of Object.keys(USERS) as User[]) {
    const token = tokens[user];
    const text = kubeconfigYaml({ server, caPem, token, user, namespace: "default" });
    await writeFile(kubeconfigPath(folder, user), text, { mode: 0o600 });
  }
}

export const kubeconfigPath = (folder: string, user: User) =>
  join(folder, user === "admin" ? "kubeconfig" : `${user.replaceAll(":", "-")}.kubeconfig`);

function etcdArgs({ folder, etcdAddress }: Made): string[] {
  const [client, peer] = [`http://${etcdAddress}:2379`, `http://${etcdAddress}:2380`];
  return [
    "--name=argus",
    `--data-dir=${join(folder, "etcd")}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=argus=${peer}`,
    "--unsafe-no-fsync",
    "--log-level=warn",
  ];
}

function apiServerArgs({ folder, address, etcdAddress, options }: Made, auditLog: string) {
  const pki = (name: string) => join(folder, "pki", name);
  return [
    `--etcd-servers=http://${etcdAddress}:2379`,
    `--bind-address=${address}`,
    `--advertise-address=${address}`,
    `--secure-port=${PORT}`,
    `--cert-dir=${join(folder, "pki")}`,
    `--tls-cert-file=${pki("server.crt")}`,
    `--tls-private-key-file=${pki("server.key")}`,
    `--client-ca-file=${pki("ca.crt")}`,
    `--token-auth-file=${join(folder, "tokens.csv")}`,
    "--authorization-mode=Node,RBAC",
    `--service-account-key-file=${pki("accounts.pub")}`,
    `--service-account-signing-key-file=${pki("accounts.key")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-cluster-ip-range=${SERVICE_RANGE}`,
    `--kubelet-client-certificate=${pki("kubelet-client.crt")}`,
    `--kubelet-client-key=${pki("kubelet-client.key")}`,
    "--kubelet-preferred-address-types=InternalIP",
    // A loopback address is no endpoint for pods, and without a node there are none.
    `--endpoint-reconciler-type=${options.address ? "lease" : "none"}`,
    "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
    "--allow-privileged",
    `--audit-policy-file=${join(folder, "audit-policy.json")}`,
    `--audit-log-path=${auditLog}`,
    // Never rotated: whoever counts reads one file.
    "--audit-log-maxsize=10000",
    ...(options.apiServerArgs ?? []),
  ];
}

function managerArgs({ folder, options }: Made): string[] {
  return [
    `--kubeconfig=${kubeconfigPath(folder, "system:kube-controller-manager")}`,
    `--controllers=${(options.controllers ?? CONTROLLERS).join(",")}`,
    `--service-account-private-key-file=${join(folder, "pki", "accounts.key")}`,
    `--root-ca-file=${join(folder, "pki", "ca.crt")}`,
    "--use-service-account-credentials",
    "--leader-elect=false",
    "--secure-port=0",
  ];
}
