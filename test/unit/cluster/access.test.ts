import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { stringify } from "yaml";
import type { Credentials } from "#cluster/access.ts";
import { libraryAccess } from "#cluster/library-access.ts";
import { plainAccess } from "#cluster/plain-access.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argus-access-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const base64 = (text: string) => Buffer.from(text).toString("base64");

function kubeconfig(cluster: object, user: object, context: object = {}): string {
  const path = join(folder, "config");
  const text = stringify({
    clusters: [
      { name: "other", cluster: { server: "https://192.0.2.1" } },
      { name: "c", cluster: { server: "https://127.0.0.1:6443/", ...cluster } },
    ],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u", ...context } }],
    "current-context": "x",
  });
  writeFileSync(path, text);
  return path;
}

const asText = ({ headers, tls }: Credentials) => ({
  headers,
  tls: Object.fromEntries(Object.entries(tls).map(([name, value]) => [name, String(value)])),
});

test.each([
  ["a token", {}, { token: "t" }],
  [
    "a client certificate",
    {},
    { "client-certificate-data": base64("C"), "client-key-data": base64("K") },
  ],
  ["a certificate authority", { "certificate-authority-data": base64("CA") }, { token: "t" }],
  ["nothing", {}, {}],
])("a kubeconfig with %s means the same as to the library", async (_, cluster, user) => {
  const path = kubeconfig(cluster, user, { namespace: "ns" });
  const plain = await plainAccess(path);
  const library = await libraryAccess({ kubeconfig: path });
  expect(plain).toMatchObject({ server: library.server, namespace: "ns" });
  const seen = asText((await plain?.credentials()) ?? { headers: {}, tls: {} });
  expect(seen).toEqual(asText(await library.credentials()));
});

test("files are found beside the kubeconfig and read at each call", async () => {
  writeFileSync(join(folder, "ca.pem"), "CA");
  writeFileSync(join(folder, "token"), "one\n");
  const path = kubeconfig({ "certificate-authority": "ca.pem" }, { tokenFile: "token" });
  const plain = await plainAccess(path);
  expect(asText((await plain?.credentials()) as Credentials)).toEqual({
    headers: { authorization: "Bearer one" },
    tls: { ca: "CA" },
  });
  writeFileSync(join(folder, "token"), "two\n");
  expect((await plain?.credentials())?.headers.authorization).toBe("Bearer two");
});

test.each([
  ["an exec plug-in", {}, { exec: { command: "x", apiVersion: "v1" } }],
  ["basic authentication", {}, { username: "u", password: "p" }],
  ["a proxy", { "proxy-url": "http://127.0.0.1:1" }, { token: "t" }],
  ["no verification", { "insecure-skip-tls-verify": true }, { token: "t" }],
  ["a server name", { "tls-server-name": "x" }, { token: "t" }],
])("a kubeconfig with %s is left to the library", async (_, cluster, user) => {
  expect(await plainAccess(kubeconfig(cluster, user))).toBeUndefined();
});

test("what is no kubeconfig is left to the library, which says what is wrong", async () => {
  writeFileSync(join(folder, "config"), "{ not: [yaml");
  expect(await plainAccess(join(folder, "config"))).toBeUndefined();
  expect(await plainAccess(join(folder, "absent"))).toBeUndefined();
  await expect(libraryAccess({ kubeconfig: join(folder, "absent") })).rejects.toThrow(
    "cannot use the kubeconfig",
  );
});
