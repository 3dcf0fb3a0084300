import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { findGateway } from "#cli/client.ts";
import { explained, readManifests } from "#cli/commands/apply.ts";
import { crdYaml } from "#cli/commands/crds.ts";
import { listSessions } from "#cli/commands/gateway-calls.ts";
import { dataFolder } from "#cli/data-folder.ts";
import { installCommand, needsFixing, report } from "#cli/doctor/check.ts";
import { dataCheck, modelCheck, portCheck } from "#cli/doctor/machine.ts";
import { bwrapCheck, nodeCheck, toolCheck } from "#cli/doctor/programs.ts";
import { EXIT, exitCodeOf, explain } from "#cli/exit.ts";
import { age, table } from "#cli/table.ts";
import { KubeError } from "#cluster/kube-error.ts";
import { ArgusError } from "#lib/errors.ts";

const HEAD = "apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\n";

test("manifests: several documents, comments alone are none, the namespace is filled in", () => {
  const text = `# only words\n---\n${HEAD}metadata: { name: a }\nspec: { later: 1 }\n---\n${HEAD}metadata: { name: b, namespace: n }\nspec: {}\n`;
  const [a, b, ...rest] = readManifests(text, "default");
  expect(rest).toEqual([]);
  expect(a?.object.metadata).toEqual({ name: "a", namespace: "default" });
  expect(a?.object).toMatchObject({ spec: { later: 1 } });
  expect(b?.object.metadata.namespace).toBe("n");
  expect(b?.resource.plural).toBe("argussessions");
});

test.each([
  ["a: [", /document 1 is not YAML/],
  ["kind: Pod\napiVersion: v1\nmetadata: { name: x }", /document 1: apiVersion must be argus.dev/],
  [`${HEAD}metadata: {}`, /document 1: metadata.name is missing/],
  [`${HEAD}metadata: { name: a }\n---\n3`, /document 2/],
])("manifests: %j is refused with its place", (text, message) => {
  expect(() => readManifests(text, "default")).toThrow(message);
});

test("a misspelt field is the person's to mend, although the API server answers it with 500", () => {
  const message =
    "failed to create typed patch object (default/a; argus.dev/v1alpha1, Kind=ArgusSession): .spec.runtim: field not declared in schema, .spec.idle.park: field not declared in schema";
  const call = "patch argussessions default/a";
  const error = explained(
    "argussession/a",
    new KubeError({ call, status: 500, answer: { message } }),
  );
  expect(exitCodeOf(error)).toBe(EXIT.badInput);
  expect(error.message).toBe(
    "argussession/a: refused\n  spec.runtim: there is no such field\n  spec.idle.park: there is no such field",
  );
});

test("crds prints both definitions without YAML anchors", () => {
  const text = crdYaml();
  const kinds = parseAllDocuments(text).map((document) => document.toJS() as { kind: string });
  expect(kinds.map(({ kind }) => kind)).toEqual(Array(2).fill("CustomResourceDefinition"));
  expect(text).not.toMatch(/: [&*]a\d/);
});

test("a table lines up and cannot be broken by what it shows", () => {
  expect(
    table(
      ["NAME", "READY"],
      [
        ["main", "True"],
        ["a\nb\x1b[2J", "False"],
      ],
    ),
  ).toBe("NAME      READY\nmain      True\na b␛[2J   False\n");
});

test.each([
  [0, "0s"],
  [119, "119s"],
  [120, "2m"],
  [7200, "2h"],
  [86_400 * 3, "3d"],
])("an age of %i s is %s", (seconds, text) => {
  const now = new Date("2026-11-24T10:00:00Z");
  const since = new Date(now.getTime() - seconds * 1000).toISOString();
  expect(age(since, now)).toBe(text);
  expect(age(undefined, now)).toBe("-");
});

test("errors of ours are one line, a defect shows its stack", () => {
  expect(explain(new ArgusError("NotFound", "no session x"))).toBe("argus: no session x");
  expect(exitCodeOf(new ArgusError("NotFound", ""))).toBe(EXIT.notFound);
  expect(exitCodeOf(new ArgusError("InvalidInput", "", { variables: 1 }))).toBe(EXIT.configuration);
  expect(exitCodeOf(new Error("x"))).toBe(EXIT.internal);
  expect(explain(new Error("x"))).toContain("commands.test.ts");
});

function dataWith(client: object): string {
  const data = mkdtempSync(join(tmpdir(), "argus-data-"));
  writeFileSync(join(data, "client.json"), JSON.stringify(client));
  return data;
}

test("the gateway: options, then the environment, then what up wrote; a token never goes elsewhere", () => {
  const data = dataWith({ url: "http://127.0.0.1:1", token: "local" });
  const environment = {};
  expect(findGateway({ data, environment })).toEqual({ url: "http://127.0.0.1:1", token: "local" });
  expect(findGateway({ data, environment: { ARGUS_URL: "https://a/", ARGUS_TOKEN: "t" } })).toEqual(
    { url: "https://a", token: "t" },
  );
  expect(() => findGateway({ data, url: "https://evil", environment })).toThrow(/no token/);
  expect(() => findGateway({ url: "ftp://a", token: "t", environment })).toThrow(/http/);
  expect(() => findGateway({ data: "/nowhere", environment })).toThrow(/argus up/);
});

test("a gateway's refusal is told in its words", async () => {
  const server = createServer((_, response) => {
    response.writeHead(401, { "content-type": "application/json" });
    response.end('{"detail":"Unauthorized"}');
  }).listen(0, "127.0.0.1");
  const { port } = await new Promise<AddressInfo>((resolve) => {
    server.on("listening", () => resolve(server.address() as AddressInfo));
  });
  const rows = listSessions({ url: `http://127.0.0.1:${port}`, token: "t" });
  await expect(rows).rejects.toMatchObject({ code: "Unauthorized" });
  server.close();
});

test("doctor: what is missing is marked with its fix, a note does not fail", () => {
  const checks = [
    { name: "git", state: "missing" as const, found: "not found", fix: "apt-get install git" },
    modelCheck(false),
  ];
  expect(needsFixing(checks)).toBe(true);
  expect(needsFixing([modelCheck(false)])).toBe(false);
  expect(report(checks)).toContain("MISSING  git        not found\n");
  expect(report(checks)).toContain("→ apt-get install git");
});

test("doctor: node, tools, port and data folder tell the truth", async () => {
  expect(nodeCheck("v20.1.0").state).toBe("missing");
  expect(nodeCheck("v24.0.0").state).toBe("ok");
  const absent = { name: "no-such-program", args: [], needed: true, why: "test" };
  expect(await toolCheck(absent, "fix")).toMatchObject({ state: "missing", fix: "fix" });
  expect((await bwrapCheck("darwin")).state).toBe("ok");
  expect(installCommand({ debian: "git", mac: "git" }, "darwin")).toBe("brew install git");
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.on("listening", resolve));
  const { port } = server.address() as AddressInfo;
  expect((await portCheck(port, undefined)).state).toBe("missing");
  expect((await portCheck(port, `http://127.0.0.1:${port}`)).state).toBe("ok");
  server.close();
  const closed = mkdtempSync(join(tmpdir(), "argus-doctor-"));
  const folder = dataFolder(join(closed, "x"), { environment: {}, platform: "linux", uid: 0 });
  expect(dataCheck(folder, true)).toMatchObject({ state: "missing", fix: `chmod o+x ${closed}` });
  chmodSync(closed, 0o711);
  expect(dataCheck(folder, true).state).toBe("ok");
});
