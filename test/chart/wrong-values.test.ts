import { expect, test } from "vitest";
import { template } from "#test/support/chart.ts";
import { HELMS } from "#test/support/helm.ts";
import { merge, nested } from "./other-values.ts";

/** Value and the key that the error must name. */
const WRONG: [path: string, value: unknown][] = [
  ["nameOverride", "Not A Name"],
  ["fullnameOverride", "-a"],
  ["commonLabels.team", 5],
  ["image.repository", "Upper/Case"],
  ["image.tag", "with space"],
  ["image.digest", "sha256:short"],
  ["runtimeImage.digest", "md5:abc"],
  ["runtimeImage.repository", ""],
  ["imagePullPolicy", "Sometimes"],
  ["imagePullSecrets", ["name"]],
  ["controller.replicas", 3],
  ["controller.replicas", 0],
  ["controller.replicas", "two"],
  ["controller.logLevel", "verbose"],
  ["controller.uidRange", "0-10"],
  ["controller.uidRange", "200000"],
  ["controller.resources.limits.cpu", "many"],
  ["controller.resources.requests.memory", 128],
  ["controller.resources.limits.gpu", "1"],
  ["controller.nodeSelector", "zone"],
  ["controller.tolerations", {}],
  ["controller.priorityClassName", "High Priority"],
  ["gateway.replicas", 2],
  ["gateway.logLevel", 5],
  ["gateway.persistence.enabled", "yes"],
  ["gateway.persistence.size", "huge"],
  ["gateway.persistence.accessMode", "ReadWriteMany"],
  ["gateway.service.port", 70000],
  ["gateway.service.port", 80],
  ["gateway.service.type", "LoadBalancer"],
  ["telegram.owners", [12345]],
  ["telegram.members", ["@ada"]],
  ["telegram.session", "Not A Name"],
  ["telegram.apiRoot", "bot-api:8081"],
  ["telegram.webhook", "http://bot.example.org"],
  ["webhook.urls", ["receiver.example.org"]],
  ["webhook.channel", "Not A Name"],
  ["model.upstream", "api.example.org"],
  ["model.existingSecret", "Not A Name"],
  ["model.existingSecretKey", ""],
  ["model.apiKey", "sk-1"],
  ["adminToken.existingSecretKey", "a/b"],
  ["adminToken.value", "secret"],
  ["sessions.hostUsers", "no"],
  ["sessions.template.operatingMode", "Sleeping"],
  ["sessions.template.limits.pids", 1],
  ["sessions.template.runtime.comand", ["codex"]],
  ["sessions.template.heartbeat.activeHours.start", "25:00"],
  ["ingress.enabled", 1],
  ["ingress.path", "chat"],
  ["ingress.tls", []],
  ["httpRoute.parentRefs", ["public"]],
  ["crds.keep", "true"],
  ["rbac.scope", "cluster"],
  ["networkPolicy.apiServerPorts", []],
  ["networkPolicy.modelCidrs", ["10.0.0.1"]],
  ["podDisruptionBudget.minAvailable", 1],
  ["serviceMonitor.interval", "often"],
  ["admissionPolicy.allowedImages", [""]],
  ["quota.sessions", -1],
  ["tests.image", "busybox"],
];
/** Right by themselves, wrong together. */
const TOGETHER: [name: string, values: object, words: RegExp][] = [
  ["an Ingress for no host", { ingress: { enabled: true } }, /ingress\.host is required/],
  ["a route to no Gateway", { httpRoute: { enabled: true } }, /httpRoute\.parentRefs is required/],
  [
    "two model keys",
    { model: { key: "a", existingSecret: "b" } },
    /model\.key and model\.existingSecret/,
  ],
  ["a range backwards", { controller: { uidRange: "9-8" } }, /controller\.uidRange: 9-8 ends/],
  [
    "a policy that demands nothing",
    { admissionPolicy: { enabled: true, requireDigest: false } },
    /admissionPolicy\.enabled is true, but nothing is demanded/,
  ],
];

test("there are at least fifty", () => {
  expect(WRONG.length).toBeGreaterThanOrEqual(50);
});

type Wrong = (typeof WRONG)[number];

/** Few calls of helm: wrong values that do not touch each other are told together, one line each. */
function groups(): Wrong[][] {
  const made: Wrong[][] = [];
  for (const wrong of WRONG) {
    const apart = made.find((group) => group.every(([path]) => !touch(path, wrong[0])));
    if (apart) apart.push(wrong);
    else made.push([wrong]);
  }
  return made;
}

const touch = (a: string, b: string) => `${a}.`.startsWith(`${b}.`) || `${b}.`.startsWith(`${a}.`);

test.for(HELMS)("%s refuses each wrong value in words that name its key", async (version) => {
  const silent: string[] = [];
  for (const group of groups()) {
    const values = group.reduce((all, [path, value]) => merge(all, nested(path, value)), {});
    const { code, stderr } = await template(values, { version });
    expect(code).not.toBe(0);
    const lines = stderr.split("\n");
    const unnamed = group.filter(([path]) => !lines.some((line) => names(line, path)));
    silent.push(...unnamed.map(([path, value]) => `${path}=${JSON.stringify(value)}: ${stderr}`));
  }
  expect(silent).toEqual([]);
});

test("a right value is not named", async () => {
  const { stderr } = await template({ controller: { replicas: 2 }, quota: { sessions: -1 } });
  expect(names(stderr, "quota.sessions")).toBe(true);
  expect(names(stderr, "controller.replicas")).toBe(false);
});

/** Helm 3 writes `a.b: …`, helm 4 `at '/a/b': …`; an unknown key is named in the message about its parent. */
function names(words: string, path: string): boolean {
  const keys = path.split(".");
  const last = keys.pop() ?? "";
  const parent = keys.join("[./]");
  const whole = new RegExp(`${parent}${keys.length > 0 ? "[./]" : ""}${last}\\b`);
  return whole.test(words) || (words.includes(last) && new RegExp(parent).test(words));
}

test.for(HELMS)("%s refuses what only together is wrong", async (version) => {
  for (const [name, values, words] of TOGETHER) {
    const { code, stderr } = await template(values, { version });
    expect({ name, code: code === 0 ? 0 : 1, stderr }).toEqual({
      name,
      code: 1,
      stderr: expect.stringMatching(words),
    });
  }
});

test("a key that is deleted by null is told, not rendered without", async () => {
  const { code, stderr } = await template({ controller: { replicas: null } });
  expect(code).not.toBe(0);
  expect(stderr).toContain("replicas");
});
