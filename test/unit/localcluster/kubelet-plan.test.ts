import { expect, test } from "vitest";
import {
  type ContainerWorld,
  expand,
  neededByEnv,
  planContainer,
} from "#localcluster/kubelet/container-plan.ts";
import { rewriteWord } from "#localcluster/kubelet/paths.ts";
import type { Container, Keyed, Pod } from "#localcluster/kubelet/pod.ts";
import { parseQuantity } from "#localcluster/kubelet/quantity.ts";

const mappings = [
  { inside: "/home/argus", outside: "/data/claim" },
  { inside: "/home/argus/cache", outside: "/data/cache" },
  { inside: "/tmp", outside: "/data/tmp" },
];
const base64 = (text: string) => Buffer.from(text).toString("base64");

const world: ContainerWorld = {
  podIp: "127.77.0.9",
  hostIp: "127.0.0.1",
  nodeName: "local",
  keyed: new Map<string, Keyed>([
    [
      "secrets/keys",
      { metadata: { name: "keys" }, data: { api: base64("s3cret"), "b.c": "eA==" } },
    ],
    ["configmaps/words", { metadata: { name: "words" }, data: { greeting: "hello $(NAME)" } }],
  ]),
  mappings,
  environment: { PATH: "/tmp/tools:/usr/bin", LANG: "C.UTF-8" },
  binFolder: "/opt/bin",
};

const podWith = (container: Partial<Container>): [Pod, Container] => {
  const full: Container = { name: "agent", command: ["run"], ...container };
  const metadata = {
    name: "p",
    namespace: "ns",
    uid: "u-1",
    labels: { b: "2", a: "1" },
    annotations: { note: "x" },
  };
  return [{ metadata, spec: { containers: [full], serviceAccountName: "sa" } }, full];
};

const envOf = (container: Partial<Container>) => {
  const [pod, full] = podWith(container);
  return planContainer(pod, full, world).env;
};

test("references, fields and literals become variables, later ones see earlier ones", () => {
  const env = envOf({
    envFrom: [{ prefix: "W_", configMapRef: { name: "words" } }],
    env: [
      { name: "NAME", value: "Argus" },
      { name: "HELLO", value: "$(W_greeting)! $(NAME) $(LATER) $$(NAME)" },
      { name: "LATER", value: "x" },
      { name: "KEY", valueFrom: { secretKeyRef: { name: "keys", key: "api" } } },
      { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "LABEL", valueFrom: { fieldRef: { fieldPath: "metadata.labels['b']" } } },
      { name: "LABELS", valueFrom: { fieldRef: { fieldPath: "metadata.labels" } } },
      { name: "ACCOUNT", valueFrom: { fieldRef: { fieldPath: "spec.serviceAccountName" } } },
      { name: "MEMORY", valueFrom: { resourceFieldRef: { resource: "limits.memory" } } },
    ],
    resources: { limits: { memory: "1Gi" } },
  });
  expect(env).toMatchObject({
    W_greeting: "hello $(NAME)",
    HELLO: "hello $(NAME)! Argus $(LATER) $(NAME)",
    KEY: "s3cret",
    IP: "127.77.0.9",
    LABEL: "2",
    LABELS: 'a="1"\nb="2"',
    ACCOUNT: "sa",
    MEMORY: String(2 ** 30),
    LANG: "C.UTF-8",
    ARGUS_POD_UID: "u-1",
    PATH: "/opt/bin:/tmp/tools:/usr/bin",
  });
});

test("the pod cannot take its mark away, and its PATH keeps our programs first", () => {
  const env = envOf({
    env: [
      { name: "ARGUS_POD_UID", value: "another" },
      { name: "PATH", value: "/home/argus/bin:/bin" },
    ],
  });
  expect(env.ARGUS_POD_UID).toBe("u-1");
  expect(env.PATH).toBe("/opt/bin:/data/claim/bin:/bin");
});

test("a missing secret, key or config map is named; an optional one is left out", () => {
  const wanting = (valueFrom: NonNullable<Container["env"]>[number]["valueFrom"]) =>
    envOf({ env: [{ name: "X", valueFrom }] });
  expect(() => wanting({ secretKeyRef: { name: "none", key: "k" } })).toThrow('secret "none" not');
  expect(() => wanting({ secretKeyRef: { name: "keys", key: "k" } })).toThrow(
    `couldn't find key k in secret "keys"`,
  );
  expect(() => wanting({ configMapKeyRef: { name: "none", key: "k" } })).toThrow(
    'configmap "none" not found',
  );
  expect(() => wanting({ fieldRef: { fieldPath: "spec.none" } })).toThrow("spec.none");
  expect(() => envOf({ envFrom: [{ secretRef: { name: "none" } }] })).toThrow('secret "none"');
  const optional = wanting({ secretKeyRef: { name: "keys", key: "k", optional: true } });
  expect("X" in optional).toBe(false);
  expect(envOf({ envFrom: [{ secretRef: { name: "none", optional: true } }] }).X).toBeUndefined();
});

test("commands, arguments and the working directory move with the mounts", () => {
  const [pod, container] = podWith({
    command: ["/home/argus/bin/tool"],
    args: ["--home=/home/argus", "/home/argusx", "$(WHERE)/a", "say /tmp twice", "/tmp"],
    env: [{ name: "WHERE", value: "/home/argus/cache" }],
    workingDir: "/home/argus/workspace",
  });
  const plan = planContainer(pod, container, world);
  expect(plan.argv).toEqual([
    "/data/claim/bin/tool",
    "--home=/data/claim",
    "/home/argusx",
    "/data/cache/a",
    "say /tmp twice",
    "/data/tmp",
  ]);
  expect(plan.env.WHERE).toBe("/data/cache");
  expect(plan.cwd).toBe("/data/claim/workspace");
});

test("paths inside JSON and path lists move, other text does not", () => {
  const json = '{"workingDir":"/home/argus/w","n":[1,null,"/tmp"],"text":"see /tmp"}';
  expect(JSON.parse(rewriteWord(json, mappings))).toEqual({
    workingDir: "/data/claim/w",
    n: [1, null, "/data/tmp"],
    text: "see /tmp",
  });
  expect(rewriteWord("/tmp/a:/bin:/home/argus", mappings)).toBe("/data/tmp/a:/bin:/data/claim");
  for (const text of ["http://x/tmp", "{not json", "a:/tmp", "", "/temp"]) {
    expect(rewriteWord(text, mappings)).toBe(text);
  }
});

test("a container without a command says so", () => {
  expect(() => {
    const [pod, container] = podWith({ command: [] });
    planContainer(pod, container, world);
  }).toThrow("names no command");
});

test("a sidecar is refused instead of waited for", () => {
  expect(() => envOf({ restartPolicy: "Always" })).toThrow("sidecars");
});

test("what a container's variables need is known before they are read", () => {
  const [, container] = podWith({
    env: [
      { name: "A", valueFrom: { secretKeyRef: { name: "keys", key: "api" } } },
      { name: "B", valueFrom: { secretKeyRef: { name: "keys", key: "b.c" } } },
    ],
    envFrom: [{ configMapRef: { name: "words" } }],
  });
  expect(neededByEnv(container)).toEqual(["secrets/keys", "configmaps/words"]);
});

test("expansion follows Kubernetes", () => {
  const env = { A: "1", EMPTY: "" };
  const cases: [string, string][] = [
    ["$(A)$(A)", "11"],
    ["$$(A)", "$(A)"],
    ["$$$(A)", "$1"],
    ["$(EMPTY)|$(NONE)|$A|$()", "|$(NONE)|$A|$()"],
  ];
  for (const [text, result] of cases) expect(expand(text, env)).toBe(result);
});

test("quantities", () => {
  const cases: [string | number, number | undefined][] = [
    ["500m", 0.5],
    ["1Gi", 2 ** 30],
    ["2e3", 2000],
    [3, 3],
    ["1.5M", 1_500_000],
    ["x", undefined],
    ["1Zi", undefined],
  ];
  for (const [text, result] of cases) expect(parseQuantity(text)).toBe(result);
});
