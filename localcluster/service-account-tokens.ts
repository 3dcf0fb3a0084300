import { createPublicKey } from "node:crypto";
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  importPKCS8,
  type JWK,
  jwtVerify,
  SignJWT,
} from "jose";
import type { Clock } from "#lib/clock.ts";
import { at, fieldsOf, type StoredObject, timestamp } from "./object.ts";
import { badRequest, invalid, invalidValue, notFound } from "./status.ts";
import type { ObjectStore } from "./store.ts";

/** Who a request or a reviewed token speaks for. */
export interface User {
  username: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

export const ISSUER = "https://kubernetes.default.svc.cluster.local";
const ALGORITHM = "ES256";
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;
const DEFAULT_SECONDS = 3600;

const ACCOUNT = { group: "", plural: "serviceaccounts", kind: "ServiceAccount" };
const POD = { group: "", plural: "pods", kind: "Pod" };
const REQUEST = { group: "authentication.k8s.io", plural: "tokenrequests", kind: "TokenRequest" };

/** Makes and checks the tokens of service accounts, bound to pods or not. */
export class ServiceAccountTokens {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #privateKey: CryptoKey;
  readonly #publicKey: ReturnType<typeof createPublicKey>;
  readonly #jwk: JWK;

  private constructor(
    parts: { store: ObjectStore; clock: Clock },
    keys: { privateKey: CryptoKey; publicKey: ReturnType<typeof createPublicKey>; jwk: JWK },
  ) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#privateKey = keys.privateKey;
    this.#publicKey = keys.publicKey;
    this.#jwk = keys.jwk;
  }

  static async create(signingKeyPem: string, parts: { store: ObjectStore; clock: Clock }) {
    const privateKey = await importPKCS8(signingKeyPem, ALGORITHM);
    const publicKey = createPublicKey(signingKeyPem);
    const key = await exportJWK(publicKey);
    const jwk = { ...key, use: "sig", alg: ALGORITHM, kid: await calculateJwkThumbprint(key) };
    return new ServiceAccountTokens(parts, { privateKey, publicKey, jwk });
  }

  keySet(): { keys: JWK[] } {
    return { keys: [this.#jwk] };
  }

  /** Answers a TokenRequest. Throws 400, 404 (account or bound pod), 409 (another pod of that name), 422. */
  async request(namespace: string, name: string, body: unknown) {
    const account = this.#store.get("/serviceaccounts", namespace, name);
    if (!account) throw notFound(ACCOUNT, name);
    const {
      audiences,
      expirationSeconds = DEFAULT_SECONDS,
      boundObjectRef,
    } = fieldsOf(at(body, "spec"));
    const seconds = Number(expirationSeconds);
    if (!Number.isInteger(seconds) || seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
      const why = `may not specify a duration less than 10 minutes`;
      throw invalid(REQUEST, "", [invalidValue("spec.expirationSeconds", expirationSeconds, why)]);
    }
    const aud = Array.isArray(audiences) && audiences.length > 0 ? audiences.map(String) : [ISSUER];
    const pod = boundObjectRef ? this.#boundPod(namespace, fieldsOf(boundObjectRef)) : undefined;
    const iat = Math.floor(this.#clock.now() / 1000);
    const token = await this.#sign({ account, pod, aud, iat, exp: iat + seconds });
    return {
      kind: "TokenRequest",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { name, namespace, creationTimestamp: timestamp(this.#clock.now()) },
      spec: {
        audiences: aud,
        expirationSeconds: seconds,
        ...(boundObjectRef !== undefined && { boundObjectRef }),
      },
      status: { token, expirationTimestamp: timestamp((iat + seconds) * 1000) },
    };
  }

  #boundPod(namespace: string, { kind, name, uid }: Record<string, unknown>): StoredObject {
    if (kind !== "Pod") throw badRequest(`cannot bind token to ${String(kind)}: use a Pod`);
    const pod = this.#store.get("/pods", namespace, String(name));
    if (!pod || (uid && uid !== pod.metadata.uid)) throw notFound(POD, String(name));
    return pod;
  }

  #sign(claims: {
    account: StoredObject;
    pod: StoredObject | undefined;
    aud: string[];
    iat: number;
    exp: number;
  }) {
    const { account, pod, aud, iat, exp } = claims;
    const { namespace, name } = account.metadata;
    const reference = ({ metadata }: StoredObject) => ({ name: metadata.name, uid: metadata.uid });
    return new SignJWT({
      "kubernetes.io": {
        namespace,
        serviceaccount: reference(account),
        ...(pod && { pod: reference(pod) }),
      },
    })
      .setProtectedHeader({ alg: ALGORITHM, kid: String(this.#jwk.kid) })
      .setIssuer(ISSUER)
      .setSubject(`system:serviceaccount:${namespace}:${name}`)
      .setAudience(aud)
      .setIssuedAt(iat)
      .setNotBefore(iat)
      .setExpirationTime(exp)
      .setJti(crypto.randomUUID())
      .sign(this.#privateKey);
  }

  /** The token's user and the wanted audiences that it has. Throws a sentence why it is not valid. */
  async verify(token: string, wanted: string[]): Promise<{ user: User; audiences: string[] }> {
    const { payload } = await jwtVerify(token, this.#publicKey, {
      issuer: ISSUER,
      algorithms: [ALGORITHM],
      currentDate: new Date(this.#clock.now()),
    });
    const given = [payload.aud ?? []].flat();
    const audiences = wanted.filter((each) => given.includes(each));
    if (audiences.length === 0) {
      throw new Error(
        `token audiences ${JSON.stringify(given)} is invalid for the target audiences ${JSON.stringify(wanted)}`,
      );
    }
    const claims = fieldsOf(payload["kubernetes.io"]);
    const namespace = String(claims.namespace);
    const account = this.#bound("/serviceaccounts", namespace, claims.serviceaccount);
    const pod = claims.pod ? this.#bound("/pods", namespace, claims.pod) : undefined;
    return { user: userOf(account, pod, String(payload.jti)), audiences };
  }

  #bound(storage: string, namespace: string, reference: unknown): StoredObject {
    const { name, uid } = fieldsOf(reference);
    const object = this.#store.get(storage, namespace, String(name));
    if (object?.metadata.uid === uid && object) return object;
    throw new Error("service account token has been invalidated");
  }
}

function userOf(account: StoredObject, pod: StoredObject | undefined, jti: string): User {
  const { namespace, name, uid } = account.metadata;
  const prefix = "authentication.kubernetes.io";
  const node = at(pod, "spec", "nodeName");
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    ...(uid && { uid }),
    groups: [
      "system:serviceaccounts",
      `system:serviceaccounts:${namespace}`,
      "system:authenticated",
    ],
    extra: {
      [`${prefix}/credential-id`]: [`JTI=${jti}`],
      ...(pod && {
        [`${prefix}/pod-name`]: [pod.metadata.name],
        [`${prefix}/pod-uid`]: [pod.metadata.uid ?? ""],
      }),
      ...(typeof node === "string" && { [`${prefix}/node-name`]: [node] }),
    },
  };
}
