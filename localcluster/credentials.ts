import { createHash, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exportPKCS8, generateKeyPair } from "jose";
import { generate } from "selfsigned";
import { isErrno } from "#lib/errors.ts";
import type { UserTokens } from "./options.ts";

export interface Credentials {
  certificatePem: string;
  privateKeyPem: string;
  tokens: UserTokens;
  /** PKCS #8, ES256: signs service-account tokens. */
  signingKeyPem: string;
}

const TOKEN_BYTES = 32;
const YEAR_MS = 365 * 86_400_000;
const CERTIFICATE_YEARS = 10;
const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;

/** Reads the server's secrets from its folder; makes what is missing, or about to expire. */
export async function loadCredentials(folder: string, nowMs: number): Promise<Credentials> {
  const tls = await kept(
    join(folder, "tls.json"),
    () => newCertificate(nowMs),
    ({ certificatePem }) =>
      Date.parse(new X509Certificate(certificatePem).validTo) > nowMs + YEAR_MS,
  );
  const tokens = await kept(join(folder, "tokens.json"), newTokens);
  const signing = await kept(join(folder, "signing-key.json"), newSigningKey);
  return { ...tls, tokens, ...signing };
}

/** Makes the folder when it is missing, and closes it to everybody else. */
export async function privateFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
  await chmod(folder, PRIVATE_FOLDER);
}

async function kept<T>(
  path: string,
  make: () => T | Promise<T>,
  usable: (value: T) => boolean = () => true,
): Promise<T> {
  try {
    const value: T = JSON.parse(await readFile(path, "utf8"));
    if (usable(value)) return value;
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  const value = await make();
  await writeFile(`${path}.new`, JSON.stringify(value), { mode: PRIVATE_FILE, flush: true });
  await rename(`${path}.new`, path);
  return value;
}

async function newCertificate(nowMs: number) {
  const made = await generate([{ name: "commonName", value: "argus-local" }], {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(nowMs - YEAR_MS / 365),
    notAfterDate: new Date(nowMs + CERTIFICATE_YEARS * YEAR_MS),
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", digitalSignature: true, keyCertSign: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 2, value: "kubernetes.default.svc" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
  });
  return { certificatePem: made.cert, privateKeyPem: made.private };
}

const newToken = () => randomBytes(TOKEN_BYTES).toString("base64url");
const newTokens = (): UserTokens => ({
  admin: newToken(),
  controller: newToken(),
  gateway: newToken(),
  kubelet: newToken(),
});

async function newSigningKey() {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true });
  return { signingKeyPem: await exportPKCS8(privateKey) };
}

export type FixedUser = keyof UserTokens;

/** Whose token it is. Takes the same time for every wrong token. */
export function userOfToken(tokens: UserTokens, token: string): FixedUser | undefined {
  const given = digest(token);
  let found: FixedUser | undefined;
  for (const user of ["admin", "controller", "gateway", "kubelet"] as const) {
    if (timingSafeEqual(digest(tokens[user]), given)) found = user;
  }
  return found;
}

const digest = (text: string) => createHash("sha256").update(text).digest();
