import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { writeDurably } from "#lib/durable-file.ts";
import { pairingProof } from "#protocol/node.ts";
import { readRecord } from "./job-files.ts";
import { Policy } from "./policy.ts";

/** What the pairing left: where to connect, as whom, with which token. */
export const Credentials = z.object({ url: z.string(), nodeId: z.string(), token: z.string() });
export type Credentials = z.infer<typeof Credentials>;
const DeviceKey = z.object({ privateKey: z.string() });

const CREDENTIALS = "credentials.json";
const KEY = "device-key.json";
export const POLICY_FILE = "policy.json";

/** The device's own key; made once, readable by its user only. */
export async function deviceKey(stateFolder: string): Promise<KeyObject> {
  const kept = await readRecord(DeviceKey, stateFolder, KEY);
  if (kept) return createPrivateKey(kept.privateKey);
  const { privateKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  await writeDurably(join(stateFolder, KEY), JSON.stringify({ privateKey: pem }));
  return privateKey;
}

/** base64url of the 32 bytes. */
export const publicKeyOf = (key: KeyObject): string => key.export({ format: "jwk" }).x ?? "";

export const proofOf = (key: KeyObject, nonce: string): string =>
  sign(null, Buffer.from(pairingProof(nonce)), key).toString("base64url");

export const readCredentials = (stateFolder: string) =>
  readRecord(Credentials, stateFolder, CREDENTIALS);

export const saveCredentials = (stateFolder: string, credentials: Credentials) =>
  writeDurably(join(stateFolder, CREDENTIALS), JSON.stringify(credentials));

/** The owner's rules; without a file everything is asked for. One that cannot be read denies everything. */
export async function readPolicy(
  stateFolder: string,
  readText: (path: string) => Promise<string | undefined>,
): Promise<Policy> {
  const text = await readText(join(stateFolder, POLICY_FILE));
  if (text === undefined) return Policy.parse({});
  try {
    return Policy.parse(JSON.parse(text));
  } catch {
    return { default: "deny", rules: [{ effect: "deny" }] };
  }
}

/** A device's id as a folder name. */
export const folderName = (nodeId: string): string =>
  nodeId.replace(/[^A-Za-z0-9_.-]/g, "_").slice(0, 120);
