import { join } from "node:path";
import { expect, test } from "vitest";
import {
  CHART,
  helmHome,
  NAMESPACE,
  only,
  type Rendered,
  render,
  template,
} from "#test/support/chart.ts";
import { HELMS, helm } from "#test/support/helm.ts";
import { laterChart } from "#test/support/release.ts";
import { VALUE_SETS } from "./value-sets.ts";

const CRD_CHART = join(CHART, "..", "argus-crds");

test.for(HELMS)("%s lints both charts strictly without a warning", async (version) => {
  for (const chart of [CHART, CRD_CHART]) {
    const { code, stdout, stderr } = await helm(version, ["lint", "--strict", chart], {
      home: helmHome,
    });
    expect({ code, stderr, warnings: stdout.match(/\[(WARNING|ERROR)\].*/g) }).toEqual({
      code: 0,
      stderr: expect.not.stringMatching(/warn|error/i),
      warnings: null,
    });
  }
});

test.for(Object.entries(VALUE_SETS))("both helms lint and render alike: %s", async ([, values]) => {
  const rendered: Rendered[][] = [];
  for (const version of HELMS) {
    const linted = await helm(version, ["lint", "--strict", CHART, "-f", "-"], {
      home: helmHome,
      input: JSON.stringify(values),
    });
    expect(linted.stdout).not.toMatch(/\[(WARNING|ERROR)\]/);
    expect(linted.code).toBe(0);
    rendered.push((await render(values, { version })).map(withoutToken));
  }
  expect(rendered[1]).toEqual(rendered[0]);
});

/** The admin token is made at random. */
function withoutToken(object: Rendered): Rendered {
  return object.kind === "Secret" && object.metadata.name.endsWith("-admin")
    ? { ...object, data: {} }
    : object;
}

test.for(Object.entries(VALUE_SETS))(
  "names, labels and namespaces are in order: %s",
  async ([, values]) => {
    const objects = await render(values);
    const keys = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    expect(keys).toEqual([...new Set(keys)]);
    for (const { kind, metadata } of objects) {
      const { name, namespace, labels } = metadata;
      expect({ kind, name, namespace }).toEqual({
        kind,
        name: expect.stringMatching(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/),
        namespace: isClusterWide(kind) ? undefined : NAMESPACE,
      });
      // Two releases in two namespaces must not fight over what belongs to the cluster.
      if (isClusterWide(kind)) expect(name).toContain(NAMESPACE);
      expect(labels).toMatchObject({
        "app.kubernetes.io/name": "argus",
        "app.kubernetes.io/instance": "argus",
        "app.kubernetes.io/managed-by": "Helm",
        ...values.commonLabels,
      });
    }
  },
);

function isClusterWide(kind: string): boolean {
  return /^Cluster|^ValidatingAdmission/.test(kind);
}

test("a long release name keeps every name valid", async () => {
  const objects = await render({}, { release: "r".repeat(53) });
  for (const { kind, metadata } of objects) {
    // Roles and policies of the cluster may have long names; all others become labels or host names.
    const most = isClusterWide(kind) ? 253 : 63;
    expect({ kind, length: metadata.name.length <= most }).toEqual({ kind, length: true });
  }
});

test("the definitions are templates that are upgraded, kept at uninstall, or left out", async () => {
  const crds = async (values: object) =>
    (await render(values, { crds: true })).filter(
      ({ kind }) => kind === "CustomResourceDefinition",
    );
  const kept = await crds({});
  expect(kept.map(({ metadata }) => metadata.name)).toEqual([
    "arguscrons.argus.dev",
    "argussessions.argus.dev",
  ]);
  for (const { metadata } of kept) {
    expect(metadata.annotations).toEqual({ "helm.sh/resource-policy": "keep" });
  }
  for (const { metadata } of await crds({ crds: { keep: false } })) {
    expect(metadata.annotations).toBeUndefined();
  }
  const left = await template({ crds: { enabled: false } });
  expect(left.stdout).not.toContain("CustomResourceDefinition");
  const alone = await render({}, { chart: CRD_CHART, crds: true });
  expect(alone).toEqual(kept);
});

test("the definitions of the chart are those of crds/*.yaml", async () => {
  const { customResourceDefinitions } = await import("#crds/kinds.ts");
  const rendered = await render({}, { chart: CRD_CHART, crds: true });
  const specs = new Map(rendered.map(({ metadata, spec }) => [metadata.name, spec]));
  for (const { metadata, spec } of customResourceDefinitions()) {
    const { name } = metadata as { name: string };
    expect(specs.get(name)).toEqual(JSON.parse(JSON.stringify(spec)));
  }
});

test("a volume, a model key and user namespaces appear only when asked for", async () => {
  const gateway = async (values: object) => only(await render(values), "StatefulSet");
  const plain = JSON.stringify(await gateway({}));
  expect(plain).toContain("ReadWriteOncePod");
  expect(plain).not.toContain("ARGUS_MODEL_KEY_FILE");
  const temporary = JSON.stringify(await gateway({ gateway: { persistence: { enabled: false } } }));
  expect(temporary).not.toContain("volumeClaimTemplates");
  const keyed = JSON.stringify(await gateway({ model: { key: "sk-secret" } }));
  expect(keyed).toContain("ARGUS_MODEL_KEY_FILE");
  expect(keyed).not.toContain("sk-secret");
  const controller = async (values: object) =>
    JSON.stringify(only(await render(values), "Deployment"));
  expect(await controller({})).not.toContain("ARGUS_HOST_USERS");
  expect(await controller({ sessions: { hostUsers: false } })).toContain("ARGUS_HOST_USERS");
});

test("a changed model key starts the gateway anew, nothing else does", async () => {
  const pod = async (key: string) => {
    const { spec } = only(await render({ model: { key } }), "StatefulSet");
    return JSON.stringify(spec?.template);
  };
  expect(await pod("one")).toBe(await pod("one"));
  expect(await pod("one")).not.toBe(await pod("two"));
});

/** What the API server never lets an upgrade change. */
function immutable({ kind, spec = {} }: Rendered): unknown {
  const { selector, serviceName, podManagementPolicy, volumeClaimTemplates, clusterIP } = spec;
  if (kind === "StatefulSet") {
    return { selector, serviceName, podManagementPolicy, volumeClaimTemplates };
  }
  if (kind === "Deployment") return { selector };
  return kind === "Service" ? { clusterIP } : undefined;
}

test.for(Object.entries(VALUE_SETS))(
  "a later version changes nothing that cannot be changed: %s",
  async ([, values]) => {
    const later = await laterChart("9.9.9");
    try {
      const [now, then] = await Promise.all([
        render(values),
        render(values, { chart: later.path }),
      ]);
      expect(then.map(immutable)).toEqual(now.map(immutable));
      const roles = (objects: Rendered[]) => objects.map(({ roleRef }) => roleRef);
      expect(roles(then)).toEqual(roles(now));
    } finally {
      await later.remove();
    }
  },
);
