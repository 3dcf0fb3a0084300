import { generateKeyPairSync } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { generate } from "selfsigned";

const DAY_MS = 86_400_000;
const LIFETIME_DAYS = 365;

type Signer = { key: string; cert: string };
type Extensions = NonNullable<NonNullable<Parameters<typeof generate>[1]>["extensions"]>;

function make(subject: { name: string; value: string }[], extensions: Extensions, ca?: Signer) {
  const now = Date.now();
  return generate(subject, {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(now - DAY_MS),
    notAfterDate: new Date(now + LIFETIME_DAYS * DAY_MS),
    extensions,
    ...(ca && { ca }),
  });
}

/**
 * Writes what an API server needs into `folder`: `ca.crt`, `server.crt/.key`, `kubelet-client.crt/.key` (it shows that to
 * kubelets) and the key pair of its service accounts, `accounts.key/.pub`. Resolves to the CA.
 */
export async function writeCertificates(folder: string, addresses: string[]): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const write = (name: string, text: string) =>
    writeFile(join(folder, name), text, { mode: 0o600 });
  const ca = await make(
    [{ name: "commonName", value: "argus-test-ca" }],
    [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, digitalSignature: true, critical: true },
    ],
  );
  const signer = { key: ca.private, cert: ca.cert };
  const server = await make(
    [{ name: "commonName", value: "kube-apiserver" }],
    [
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          ...["localhost", "kubernetes.default.svc"].map((value) => ({ type: 2 as const, value })),
          ...["127.0.0.1", ...addresses].map((ip) => ({ type: 7 as const, ip })),
        ],
      },
    ],
    signer,
  );
  const client = await make(
    [
      { name: "organizationName", value: "system:masters" },
      { name: "commonName", value: "kube-apiserver-kubelet-client" },
    ],
    [{ name: "extKeyUsage", clientAuth: true }],
    signer,
  );
  const accounts = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  await write("ca.crt", ca.cert);
  await write("server.crt", server.cert);
  await write("server.key", server.private);
  await write("kubelet-client.crt", client.cert);
  await write("kubelet-client.key", client.private);
  await write("accounts.key", accounts.privateKey);
  await write("accounts.pub", accounts.publicKey);
  return ca.cert;
}
