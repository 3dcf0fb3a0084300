import { expect, test } from "vitest";
import type { AuditEntry } from "#test/cluster/audit.ts";
import { NAMESPACE, type Rendered, render } from "#test/support/chart.ts";
import { askedBy, compareRights, grantedTo, wordsOf } from "#test/support/rbac.ts";
import { VALUE_SETS } from "./value-sets.ts";

interface RoleRule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}

const rolesOf = (objects: Rendered[]) =>
  objects
    .filter(({ kind }) => kind === "Role" || kind === "ClusterRole")
    .flatMap(({ kind, metadata, rules }) =>
      (rules as RoleRule[]).map((rule) => ({ where: `${kind} ${metadata.name}`, ...rule })),
    );

/** Rights that would undo the separation of gateway, controller and sessions. */
const FORBIDDEN: [what: string, is: (rule: RoleRule) => boolean][] = [
  [
    "a wildcard",
    (rule) =>
      [...rule.apiGroups, ...rule.resources, ...rule.verbs].some((each) => each.includes("*")),
  ],
  ["secrets", ({ resources }) => resources.some((each) => each.startsWith("secrets"))],
  [
    "running in or reading from pods",
    ({ resources }) =>
      resources.some((each) => /^pods\/(exec|attach|portforward|proxy|log)/.test(each)),
  ],
  ["a way up", ({ verbs }) => verbs.some((each) => /^(escalate|bind|impersonate)$/.test(each))],
  ["roles", ({ apiGroups }) => apiGroups.includes("rbac.authorization.k8s.io")],
  ["tokens", ({ resources }) => resources.some((each) => /serviceaccounts\/token/.test(each))],
  ["nodes", ({ resources }) => resources.some((each) => each.startsWith("nodes"))],
];

test.for(Object.entries(VALUE_SETS))("no role gives too much: %s", async ([, values]) => {
  const roles = rolesOf(await render(values));
  const wrong = roles.flatMap((rule) =>
    FORBIDDEN.filter(([, is]) => is(rule)).map(([what]) => `${rule.where}: ${what}`),
  );
  expect(wrong).toEqual([]);
});

test("the rules about roles see each forbidden thing", () => {
  const bad: Partial<RoleRule>[] = [
    { verbs: ["*"] },
    { resources: ["secrets"] },
    { resources: ["pods/exec"] },
    { verbs: ["impersonate"] },
    { apiGroups: ["rbac.authorization.k8s.io"] },
    { resources: ["serviceaccounts/token"] },
    { resources: ["nodes/proxy"] },
  ];
  for (const [index, change] of bad.entries()) {
    const rule = { apiGroups: [""], resources: ["pods"], verbs: ["get"], ...change };
    expect(FORBIDDEN[index]?.[1](rule)).toBe(true);
  }
});

test("only the gateway has a right of the whole cluster, and only one", async () => {
  const objects = await render();
  const wide = (account: string) =>
    grantedTo(objects, account)
      .filter(({ namespace }) => namespace === undefined)
      .map(wordsOf);
  expect(wide("argus-controller")).toEqual([]);
  expect(wide("argus-gateway")).toEqual([
    "create authentication.k8s.io/tokenreviews of the cluster",
  ]);
  expect(grantedTo(objects, "argus-session")).toEqual([]);
});

test("the bot has the right to its one Lease, whichever way updates come", async () => {
  const rights = async (name: string) =>
    grantedTo(await render(VALUE_SETS[name]), "argus-bot").map(wordsOf);
  const lease = `coordination.k8s.io/leases "argus-telegram" in ${NAMESPACE}`;
  const verbs = ["get", "list", "watch", "update"];
  for (const name of ["Telegram bot", "Telegram bot with a webhook"]) {
    expect(await rights(name)).toEqual(verbs.map((verb) => `${verb} ${lease}`));
  }
});

test("people's roles view, edit and admin are extended, and nothing else of the cluster is made", async () => {
  const clusterRoles = (objects: Rendered[]) =>
    objects
      .filter(({ kind }) => kind === "ClusterRole")
      .map(({ metadata }) => metadata.labels ?? {});
  const labels = clusterRoles(await render());
  for (const level of ["view", "edit", "admin"]) {
    const key = `rbac.authorization.k8s.io/aggregate-to-${level}`;
    expect(labels.filter((each) => each[key] === "true").length).toBe(1);
  }
  const narrow = await render(VALUE_SETS["no rights beyond the namespace"]);
  expect(narrow.filter(({ kind }) => /^Cluster|^Custom/.test(kind))).toEqual([]);
});

const line = (verb: string, objectRef: object | undefined, code = 200, user = "argus-gateway") =>
  ({
    verb,
    user: { username: `system:serviceaccount:${NAMESPACE}:${user}` },
    requestURI: "/",
    ...(objectRef ? { objectRef } : {}),
    responseStatus: { code },
    requestReceivedTimestamp: "",
    stageTimestamp: "",
  }) as AuditEntry;
const sessions = { resource: "argussessions", apiGroup: "argus.dev", namespace: NAMESPACE };
const crons = { resource: "arguscrons", apiGroup: "argus.dev", namespace: NAMESPACE };
const keys = { resource: "configmaps", namespace: NAMESPACE, name: "argus-gateway-keys" };
const account = { namespace: NAMESPACE, name: "argus-gateway" };

/** Everything that the gateway may do, as a log would show it. */
const FULL_LOG = [
  ...["get", "delete", "patch"].map((verb) => line(verb, { ...sessions, name: "main" })),
  line("patch", { ...sessions, subresource: "status", name: "main" }),
  line("patch", { resource: "events", namespace: NAMESPACE, name: "main.1" }, 201),
  ...["list", "watch", "create"].map((verb) => line(verb, sessions)),
  ...["list", "watch"].map((verb) => line(verb, { resource: "pods", namespace: NAMESPACE })),
  line("patch", keys, 201),
  line("patch", { ...crons, name: "job-1" }, 201),
  line("delete", { ...crons, name: "job-1" }),
  line("list", crons),
  line("create", { resource: "tokenreviews", apiGroup: "authentication.k8s.io" }),
  line("get", undefined),
  line("list", { resource: "secrets" }, 200, "other"),
];

test("a log that asks for each right and no other compares as equal", async () => {
  const granted = grantedTo(await render(), "argus-gateway");
  const asked = askedBy(FULL_LOG, account);
  expect(compareRights(granted, asked)).toEqual({ missing: [], surplus: [], refused: [] });
});

test("each line less is a surplus right, each right less a missing one", async () => {
  const granted = grantedTo(await render(), "argus-gateway");
  // That lists are asked for is not always seen.
  for (const gone of FULL_LOG.slice(0, 12).filter(({ verb }) => verb !== "list")) {
    const rest = FULL_LOG.filter((each) => each !== gone);
    expect(compareRights(granted, askedBy(rest, account)).surplus.length).toBeGreaterThan(0);
  }
  const asked = askedBy(FULL_LOG, account);
  for (const right of granted) {
    const rest = granted.filter((each) => each !== right);
    expect(compareRights(rest, asked).missing.length).toBe(1);
  }
});

test("another namespace, another name and a refusal are seen", async () => {
  const granted = grantedTo(await render(), "argus-gateway");
  const log = [
    line("list", { resource: "pods", namespace: "other" }),
    line("patch", { ...keys, name: "other" }),
    line("list", { resource: "secrets", namespace: NAMESPACE }, 403),
  ];
  expect(compareRights(granted, askedBy(log, account))).toMatchObject({
    missing: [
      "list pods in other",
      `list secrets in ${NAMESPACE}`,
      `patch configmaps "other" in ${NAMESPACE}`,
    ],
    refused: [`list secrets in ${NAMESPACE}`],
  });
});
