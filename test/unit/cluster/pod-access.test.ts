import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";
import { afterEach, beforeEach, expect, test } from "vitest";
import { clusterAccess } from "#cli/config/cluster.ts";
import { Connection } from "#cluster/connection.ts";
import { podAccess } from "#cluster/pod-access.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argus-account-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const put = (name: string, text: string) => writeFileSync(join(folder, name), text);

test("a pod's own account: address, namespace, token and authority, read anew at each call", async () => {
  put("namespace", "assistants\n");
  put("token", "one\n");
  put("ca.crt", "CA");
  const access = await podAccess({ host: "198.19.0.1", port: 443 }, folder);
  expect(access).toMatchObject({ server: "https://198.19.0.1:443", namespace: "assistants" });
  const read = async () => {
    const { headers, tls } = (await access?.credentials()) ?? { headers: {}, tls: {} };
    return { ...headers, ca: String(tls.ca) };
  };
  expect(await read()).toEqual({ authorization: "Bearer one", ca: "CA" });
  put("token", "two");
  put("ca.crt", "NEW");
  expect(await read()).toEqual({ authorization: "Bearer two", ca: "NEW" });
});

test("an IPv6 address stands in brackets; without a namespace file it is default", async () => {
  put("token", "t");
  expect(await podAccess({ host: "fd00::1", port: 6443 }, folder)).toMatchObject({
    server: "https://[fd00::1]:6443",
    namespace: "default",
  });
});

test("without a token there is no account; without an authority the call fails instead of trusting anybody", async () => {
  expect(await podAccess({ host: "198.19.0.1", port: 443 }, folder)).toBeUndefined();
  put("token", "t");
  const access = await podAccess({ host: "198.19.0.1", port: 443 }, folder);
  await expect(access?.credentials()).rejects.toThrow("ca.crt");
});

test("a call goes to the server that the authority vouches for, with the token of that moment", async () => {
  const names = [{ type: 7 as const, ip: "127.0.0.1" }];
  const { private: key, cert } = await generate([{ name: "commonName", value: "api" }], {
    extensions: [{ name: "subjectAltName", altNames: names }],
  });
  const seen: (string | undefined)[] = [];
  const server = createServer({ key, cert }, ({ headers }, response) => {
    seen.push(headers.authorization);
    response.end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  put("token", "first");
  put("ca.crt", cert);
  const access = await podAccess({ host: "127.0.0.1", port }, folder);
  if (!access) throw new Error("no account");
  const connection = new Connection(access);
  const call = async (stale: boolean) => {
    const { calls, headers, server: origin } = await connection.target(stale);
    const { statusCode, body } = await calls.request({ origin, path: "/", method: "GET", headers });
    await body.dump();
    return statusCode;
  };
  expect(await call(false)).toBe(200);
  put("token", "second");
  expect(await call(true)).toBe(200);
  expect(seen).toEqual(["Bearer first", "Bearer second"]);
  await connection.close();
  server.close();
  server.closeAllConnections();
});

test("settings: a kubeconfig comes first, an absent address is no pod", () => {
  const port = { KUBERNETES_SERVICE_PORT: 443 };
  expect(clusterAccess(port)).toEqual({ kubeconfig: undefined, apiServer: undefined });
  expect(clusterAccess({ ...port, KUBERNETES_SERVICE_HOST: "h" })).toMatchObject({
    apiServer: { host: "h", port: 443 },
  });
  expect(clusterAccess({ ...port, KUBECONFIG: "/k" }).kubeconfig).toBe("/k");
});
