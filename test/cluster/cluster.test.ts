import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "#test/support/eventually.ts";
import { kubectl } from "#test/support/kubectl.ts";
import { readAudit } from "./audit.ts";
import { type Cluster, useCluster, whyNoCluster } from "./cluster.ts";
import { TOOLS_IMAGE, writeImage, writeToolsRoot } from "./images.ts";
import { ADDRESSES } from "./node-files.ts";

const reason = process.env.KUBECONFIG
  ? "KUBECONFIG names a cluster; these are the tests of the project's own"
  : whyNoCluster();
const WAIT = "--timeout=60s";

if (reason) test.skip(`the project's own cluster (${reason})`, () => {});
else describe("the project's own cluster", { timeout: 120_000 }, ownCluster);

const LEAST = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };

/** What Pod Security's `restricted` demands, as a user whom only the group of the volume lets in. */
const restricted = (
  name: string,
  script: string,
  {
    user = 200_007,
    pod = {},
    container = {},
  }: { user?: number; pod?: object; container?: object } = {},
) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: {
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 1,
    automountServiceAccountToken: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: user,
      runAsGroup: user,
      fsGroup: user,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [
      {
        name: "main",
        image: TOOLS_IMAGE,
        imagePullPolicy: "IfNotPresent",
        command: ["sh", "-c", script],
        securityContext: LEAST,
        ...container,
      },
    ],
    ...pod,
  },
});

function ownCluster(): void {
  const namespace = `own-cluster-${Math.random().toString(36).slice(2, 7)}`;
  let cluster: Cluster;

  async function k(args: string[], input?: object): Promise<string> {
    const options = { timeoutMs: 90_000, ...(input && { input: JSON.stringify(input) }) };
    const { code, stdout, stderr } = await kubectl(
      cluster.kubeconfig,
      ["-n", namespace, ...args],
      options,
    );
    expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
    return stdout;
  }
  const apply = (object: object) => k(["apply", "-f", "-"], object);
  /** Runs a script in a pod of its own and answers what it printed. */
  async function output(name: string, script: string): Promise<string> {
    await apply(restricted(name, script));
    await k(["wait", "--for=jsonpath={.status.phase}=Succeeded", `pod/${name}`, WAIT]);
    return k(["logs", name]);
  }

  beforeAll(async () => {
    cluster = await useCluster();
    await k(["create", "namespace", namespace]);
    await k(["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"]);
    await eventually("the account of pods", () => k(["get", "serviceaccount", "default"]));
  }, 180_000);

  afterAll(async () => {
    await k(["delete", "namespace", namespace, "--wait=true", "--timeout=60s"]);
  });

  test("the restricted namespace refuses a pod that asks for more", async () => {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "plain" } };
    const spec = { containers: [{ name: "main", image: TOOLS_IMAGE }] };
    const input = JSON.stringify({ ...pod, spec });
    const args = ["-n", namespace, "apply", "-f", "-"];
    const { code, stderr } = await kubectl(cluster.kubeconfig, args, { input });
    expect([code, stderr]).toEqual([1, expect.stringContaining("violates PodSecurity")]);
  });

  test("a restricted pod writes to a claim of the default class, and its volume goes with the claim", async () => {
    await apply({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data" },
      spec: { accessModes: ["ReadWriteOncePod"], resources: { requests: { storage: "1Gi" } } },
    });
    const pod = { volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }] };
    const container = { volumeMounts: [{ name: "data", mountPath: "/data" }] };
    await apply(
      restricted("writer", "id -u && echo kept > /data/file && cat /data/file", { pod, container }),
    );
    await k(["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/writer", WAIT]);
    expect(await k(["logs", "writer"])).toBe("200007\nkept\n");
    const volume = (await k(["get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"])).trim();
    await k(["delete", "pod/writer", "pvc/data", "--wait"]);
    await k(["wait", "--for=delete", `pv/${volume}`, WAIT]);
  });

  test("a pod reaches another through its service, by name and by address", async () => {
    const server =
      "mkdir /tmp/www && echo hello from the server > /tmp/www/index.html && httpd -f -p 7777 -h /tmp/www";
    const readinessProbe = { httpGet: { path: "/", port: 7777 }, periodSeconds: 1 };
    await apply(restricted("server", server, { container: { readinessProbe } }));
    await apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "argus-gateway" },
      spec: { selector: { app: "server" }, ports: [{ port: 80, targetPort: 7777 }] },
    });
    await k(["wait", "--for=condition=Ready", "pod/server", WAIT]);
    const address = (
      await k(["get", "service", "argus-gateway", "-o", "jsonpath={.spec.clusterIP}"])
    ).trim();
    const script = fetchAll(["argus-gateway", `argus-gateway.${namespace}.svc`, address]);
    expect(await output("client", script)).toBe("hello from the server\n".repeat(3));
    // This machine reaches services too.
    const answer = await fetch(`http://${address}/`, { signal: AbortSignal.timeout(10_000) });
    expect(await answer.text()).toBe("hello from the server\n");
  });

  test("a pod reaches what this machine serves at its end of the link, and nothing beyond", async () => {
    const server = createServer((_, answer) => answer.end("hello from outside\n"));
    await once(server.listen(0, ADDRESSES.HOST_ADDRESS), "listening");
    const { port } = server.address() as AddressInfo;
    const beyond = "nc -w 2 198.18.77.1 80 </dev/null";
    const script = `${fetchAll([`${ADDRESSES.HOST_ADDRESS}:${port}`])}; ${beyond}; true`;
    expect(await output("guest", script)).toMatch(
      /^hello from outside\n.*Network is unreachable\n$/,
    );
    server.close();
  });

  test("a pod that takes more memory than its limit is OOMKilled", async () => {
    const resources = { limits: { memory: "16Mi", cpu: "500m" } };
    await apply(restricted("hog", "tail /dev/zero", { container: { resources } }));
    const path = "jsonpath={.status.containerStatuses[0].state.terminated.reason}";
    await k(["wait", `--for=${path}=OOMKilled`, "pod/hog", WAIT]);
  });

  test("exec runs in the pod, under its user", async () => {
    await apply(restricted("shell", "sleep 600"));
    await k(["wait", "--for=condition=Ready", "pod/shell", WAIT]);
    expect(await k(["exec", "shell", "--", "id", "-u"])).toBe("200007\n");
  });

  test("a user namespace is the pod's own", async () => {
    const pod = { hostUsers: false };
    // Only 65,536 ids are mapped: no user nor group beyond them.
    await apply(restricted("mapped", "cat /proc/self/uid_map", { pod, user: 1000 }));
    await k(["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/mapped", WAIT]);
    expect((await k(["logs", "mapped"])).trim().split(/\s+/)).toEqual([
      "0",
      expect.not.stringMatching(/^0$/),
      "65536",
    ]);
  });

  test("an image made here runs there", async () => {
    const folder = await mkdtemp(join(tmpdir(), "argus-image-"));
    const root = join(folder, "root");
    await writeToolsRoot(root);
    const archive = join(folder, "image.tar");
    const config = { Cmd: ["/bin/echo", "made here"], Env: ["PATH=/bin"], User: "200007" };
    await writeImage({ name: "localhost/made:1", root, config, archive });
    await cluster.own?.importImages(archive);
    await rm(folder, { recursive: true });
    const container = { image: "localhost/made:1", command: null };
    await apply(restricted("made", "", { container }));
    await k(["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/made", WAIT]);
    expect(await k(["logs", "made"])).toBe("made here\n");
  });

  test("the audit log names who asked for what, and how it ended", async () => {
    const before = (await readAudit(cluster.own?.auditLog ?? "")).bytes;
    await k(["create", "configmap", "audited"]);
    const found = await eventually("the entry", async () => {
      const { entries } = await readAudit(cluster.own?.auditLog ?? "", before);
      return entries.find(({ objectRef }) => objectRef?.name === "audited");
    });
    expect(found).toMatchObject({
      verb: "create",
      user: { username: "admin" },
      objectRef: { resource: "configmaps", namespace },
      responseStatus: { code: 201 },
    });
  });
}

/** Asks each once it answers: a service's rules come a moment after it. */
const fetchAll = (hosts: string[]) =>
  hosts.map((host) => `until curl -sf -m 2 http://${host}/; do sleep 0.2; done`).join(" && ");
