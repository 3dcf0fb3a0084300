import fc from "fast-check";
import { expect, test } from "vitest";
import type { Container, PodSpec } from "#cluster/core-types.ts";
import { resourcesWith } from "#controller/session/container-resources.ts";
import { mergePodSpec } from "#controller/session/merge.ts";
import { buildPod } from "#controller/session/pod.ts";
import { parseQuantity } from "#controller/session/quantity.ts";
import { violations } from "#controller/session/violations.ts";
import { GATEWAY_AUDIENCE, LABEL, POD, RuntimeSpec } from "#protocol/pod.ts";
import { SETTINGS, sessionOf } from "../../support/sessions.ts";

const built = (spec: Parameters<typeof sessionOf>[0] = {}) =>
  buildPod(sessionOf(spec), 200_000, SETTINGS);
const agentOf = (spec?: Parameters<typeof sessionOf>[0]) => built(spec).spec.containers[0];
const envOf = (spec?: Parameters<typeof sessionOf>[0]) =>
  Object.fromEntries((agentOf(spec)?.env ?? []).map(({ name, value }) => [name, value]));
const runtimeOf = (spec?: Parameters<typeof sessionOf>[0]) =>
  RuntimeSpec.parse(JSON.parse(envOf(spec).ARGUS_RUNTIME ?? ""));

test("the pod has its shape: bridge, ports, probes, volumes, token", () => {
  const { metadata, spec } = built();
  expect(metadata.name).toMatch(/^main-[0-9a-f]{8}$/);
  expect(metadata.ownerReferences).toMatchObject([{ kind: "ArgusSession", controller: true }]);
  expect(metadata.labels).toMatchObject({ [LABEL.session]: "main", [LABEL.sessionUid]: "uid-1" });
  expect(spec).toMatchObject({
    hostname: metadata.name,
    serviceAccountName: POD.serviceAccount,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 30,
    restartPolicy: "Always",
  });
  const agent = spec.containers[0];
  expect(agent).toMatchObject({
    name: "agent",
    image: "argus:test",
    command: ["argus", "bridge"],
    ports: [
      { name: "bridge", containerPort: 7777 },
      { name: "probe", containerPort: 7778 },
    ],
    readinessProbe: { httpGet: { path: "/readyz", port: "probe" } },
    livenessProbe: { httpGet: { path: "/livez", port: "probe" } },
  });
  const mounts = Object.fromEntries(
    (agent?.volumeMounts ?? []).map(({ mountPath, name }) => [mountPath, name]),
  );
  expect(mounts[POD.home]).toBe("workspace");
  const token = spec.volumes?.find(({ name }) => name === mounts["/var/run/secrets/argus"]);
  expect(token?.projected).toEqual({
    sources: [
      {
        serviceAccountToken: { path: "token", audience: GATEWAY_AUDIENCE, expirationSeconds: 3600 },
      },
    ],
  });
});

test("what the bridge runs follows the spec", () => {
  expect(runtimeOf()).toMatchObject({
    command: ["codex", "app-server"],
    image: "argus:test",
    approvals: "never",
    workingDir: POD.workspace,
    parkAfterSeconds: 900,
    pids: 256,
    memoryBytes: 2 * 2 ** 30,
  });
  const spec = {
    runtime: { command: ["sh", "-c"], args: ["x"], install: "npm i", workingDir: "/home/argus/x" },
    resources: { limits: { memory: "512Mi" } },
  };
  expect(runtimeOf(spec)).toMatchObject({
    command: ["sh", "-c", "x"],
    install: "npm i",
    workingDir: "/home/argus/x",
    memoryBytes: 512 * 2 ** 20,
  });
});

test("people add environment, labels and sidecars; ours stay as they are", () => {
  const spec = {
    runtime: {
      env: [
        { name: "MINE", value: "1" },
        { name: "HOME", value: "/elsewhere" },
      ],
    },
    podTemplate: {
      metadata: { labels: { team: "a" } },
      spec: {
        nodeSelector: { disk: "fast" },
        serviceAccountName: "mighty",
        automountServiceAccountToken: true,
        terminationGracePeriodSeconds: 120,
        volumes: [{ name: "extra", emptyDir: {} }],
        containers: [
          {
            name: "agent",
            image: "mine:1",
            args: ["sleep"],
            env: [
              { name: "ARGUS_RUNTIME", value: "{}" },
              { name: "ALSO", value: "2" },
            ],
            volumeMounts: [
              { name: "extra", mountPath: "/extra" },
              { name: "extra", mountPath: "/etc/argus/keys" },
            ],
          },
          { name: "side", image: "side:1", securityContext: { runAsNonRoot: false } },
        ],
      },
    },
  };
  const { metadata, spec: pod } = built(spec);
  expect(metadata.labels?.team).toBe("a");
  expect(pod).toMatchObject({
    nodeSelector: { disk: "fast" },
    serviceAccountName: POD.serviceAccount,
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 120,
  });
  const [agent, side] = pod.containers;
  expect(agent).toMatchObject({ image: "mine:1", command: ["argus", "bridge"], args: [] });
  expect(envOf(spec)).toMatchObject({ MINE: "1", ALSO: "2", HOME: POD.home });
  expect(runtimeOf(spec).command).toEqual(["codex", "app-server"]);
  expect(agent?.env?.filter(({ name }) => name === "HOME")).toHaveLength(1);
  const paths = agent?.volumeMounts?.map(({ mountPath }) => mountPath) ?? [];
  expect(paths.filter((path) => path === POD.keysFolder)).toHaveLength(1);
  expect(paths).toContain("/extra");
  expect(side?.securityContext).toEqual({
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    readOnlyRootFilesystem: true,
  });
  expect(side?.resources?.limits).toHaveProperty("memory");
});

test("several volume claim templates: the workspace is the home, the others are there to be mounted", () => {
  const template = (name: string) => ({ metadata: { name }, spec: {} });
  const { spec } = built({ volumeClaimTemplates: [template("cache"), template("workspace")] });
  const home = spec.containers[0]?.volumeMounts?.find(({ mountPath }) => mountPath === POD.home);
  expect(home?.name).toBe("workspace");
  expect(spec.volumes?.map(({ name }) => name)).toContain("cache");
});

const REFUSED: [string, Record<string, unknown>][] = [
  ["hostNetwork", { hostNetwork: true }],
  ["hostPID", { hostPID: true }],
  ["shareProcessNamespace", { shareProcessNamespace: true }],
  ["hostPath", { volumes: [{ name: "x", hostPath: { path: "/" } }] }],
  ["hostPath", { volumes: [{ name: "x", emptyDir: {}, hostPath: { path: "/" } }] }],
  ["argus-", { volumes: [{ name: "argus-keys", emptyDir: {} }] }],
  ["privileged", { containers: [{ name: "agent", securityContext: { privileged: true } }] }],
  ["runAsUser", { initContainers: [{ name: "i", securityContext: { runAsUser: 0 } }] }],
  [
    "capabilities.add",
    { containers: [{ name: "s", securityContext: { capabilities: { add: ["X"] } } }] },
  ],
  ["hostPort", { containers: [{ name: "s", ports: [{ containerPort: 1, hostPort: 1 }] }] }],
  ["command", { containers: [{ name: "agent", command: ["sh"] }] }],
  ["containers must be a list", { containers: "many" }],
  ["volumes must be a list", { volumes: [{ emptyDir: {} }] }],
];

test.each(REFUSED)("%s in a podTemplate is refused in words", (word, spec) => {
  expect(violations(sessionOf({ podTemplate: { spec } })).join()).toContain(word);
});

test("whatever a podTemplate holds, the pod is refused or restricted", () => {
  const anything = fc.object({
    key: fc.constantFrom(...KEYS),
    maxDepth: 4,
    withNullPrototype: false,
  });
  const list = fc.array(
    fc.record({
      name: fc.constantFrom("agent", "x"),
      securityContext: anything,
      resources: fc.constant({}),
      env: fc.oneof(anything, fc.constant([])),
      ports: fc.oneof(anything, fc.constant([])),
    }),
  );
  const template = fc.record(
    {
      containers: fc.oneof(anything, list),
      initContainers: fc.oneof(anything, list),
      volumes: fc.oneof(anything, fc.array(anything)),
      securityContext: anything,
      hostNetwork: fc.boolean(),
      serviceAccountName: fc.string(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(template, (spec) => {
      const session = sessionOf({ podTemplate: { spec } });
      if (violations(session).length > 0) return;
      const pod = buildPod(session, 200_000, SETTINGS);
      expectRestricted(pod.spec);
    }),
    { numRuns: 2000 },
  );
});

const KEYS = [
  "name",
  "privileged",
  "runAsUser",
  "capabilities",
  "add",
  "hostPath",
  "emptyDir",
  "runAsNonRoot",
];

function expectRestricted(spec: PodSpec): void {
  expect(spec.hostNetwork).not.toBe(true);
  expect(spec.serviceAccountName).toBe(POD.serviceAccount);
  expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 200_000 });
  expect(spec.volumes?.every((volume) => !("hostPath" in volume))).toBe(true);
  const all: Container[] = [...spec.containers, ...(spec.initContainers ?? [])];
  for (const { securityContext, resources } of all) {
    expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false });
    expect(securityContext).not.toHaveProperty("runAsUser");
    expect(resources?.limits).toHaveProperty("ephemeral-storage");
  }
  expect(spec.containers[0]?.command).toEqual(["argus", "bridge"]);
}

test.each([
  ["100m", 0.1],
  ["2", 2],
  ["1.5Gi", 1.5 * 2 ** 30],
  ["1e3", 1000],
  ["10E", 1e19],
  ["5k", 5000],
  ["much", undefined],
  ["1 Gi", undefined],
  ["", undefined],
])("quantity %s is %s", (text, value) => {
  expect(parseQuantity(text)).toBe(value);
});

test("a default never contradicts what was wanted", () => {
  expect(resourcesWith({ limits: { memory: "64Mi" } }).requests.memory).toBe("64Mi");
  expect(resourcesWith({ requests: { cpu: "8" } }).limits.cpu).toBe("8");
  expect(resourcesWith({ limits: { "nvidia.com/gpu": "1" } }).limits).toMatchObject({
    "nvidia.com/gpu": "1",
    cpu: "2",
  });
});

test("merging lists by key, replacing others, keeps both inputs as they were", () => {
  const base = { containers: [{ name: "a", env: [{ name: "X", value: "1" }] }], tolerations: [1] };
  const over = { containers: [{ name: "a", env: [{ name: "Y", value: "2" }] }], tolerations: [2] };
  const before = structuredClone(base);
  expect(mergePodSpec(base, over)).toEqual({
    containers: [
      {
        name: "a",
        env: [
          { name: "X", value: "1" },
          { name: "Y", value: "2" },
        ],
      },
    ],
    tolerations: [2],
  });
  expect(base).toEqual(before);
});

test("an install script with $ reaches the bridge as it was written", () => {
  const install = 'echo $HOME "$(date)" $$ $(ARGUS_SESSION)';
  const kubernetesReads =
    envOf({ runtime: { install } }).ARGUS_RUNTIME?.replaceAll("$$", "$") ?? "";
  expect(RuntimeSpec.parse(JSON.parse(kubernetesReads)).install).toBe(install);
});
