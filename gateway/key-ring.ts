import { createPrivateKey, createPublicKey, type KeyObject, randomUUID } from "node:crypto";
import { type JWTPayload, jwtVerify, SignJWT } from "jose";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { HELLO_TTL_SECONDS, type HelloClaims, type PeerRole } from "#protocol/bridge.ts";
import type { GatewayKey } from "#protocol/document.ts";
import { POD } from "#protocol/pod.ts";
import { newKey, publishedKeys, signingKey, tidyKeys } from "./keys.ts";
import type { GatewayState } from "./state/gateway-state.ts";

export const FIELD_MANAGER = "argus-gateway";
const ALGORITHM = "EdDSA";
/** Keys that may exist at once: a rotation more often than they expire is refused. */
const MAX_KEYS = 16;

interface KeyConfigMap extends KubeObject {
  data: Record<string, string>;
}

/** The gateway's key pairs: signs hellos and client tokens, publishes the public halves to the pods, rotates. */
export class KeyRing {
  readonly #state: GatewayState;
  readonly #now: () => number;
  readonly #objects = new Map<string, { privateKey: KeyObject; publicKey: KeyObject }>();

  constructor(state: GatewayState, now: () => number = Date.now) {
    this.#state = state;
    this.#now = now;
  }

  /** Makes the very first key pair when there is none. */
  async ensure(): Promise<void> {
    await this.#state.update((document) =>
      document.keys.length > 0 ? document : { ...document, keys: [newKey(this.#now())] },
    );
  }

  /** The token of one `bridge/hello`: for this pod and role, for one minute, in this gateway's epoch. */
  helloToken(podUid: string, role: PeerRole): Promise<string> {
    const iat = Math.floor(this.#now() / 1000);
    const { epoch } = this.#state.current;
    const claims: HelloClaims = {
      aud: podUid,
      iat,
      exp: iat + HELLO_TTL_SECONDS,
      epoch,
      role,
      jti: randomUUID(),
    };
    return this.#sign(this.#signer(), { ...claims });
  }

  /** Signs a longer-lived token; first makes sure that its key is kept as long as `claims.exp` (seconds). */
  async signKept(claims: JWTPayload & { exp: number }): Promise<string> {
    const key = this.#signer();
    const until = claims.exp * 1000;
    await this.#state.update((document) => ({
      ...document,
      keys: document.keys.map((each) =>
        each.id === key.id && each.neededUntil < until ? { ...each, neededUntil: until } : each,
      ),
    }));
    return this.#sign(key, claims);
  }

  /** The claims of a token that one of our keys signed for `audience`; undefined = it is not (or no longer) valid. */
  async verify(token: string, audience: string): Promise<JWTPayload | undefined> {
    try {
      const { payload } = await jwtVerify(token, ({ kid }) => this.#publicKey(kid), {
        algorithms: [ALGORITHM],
        audience,
        requiredClaims: ["exp"],
        currentDate: new Date(this.#now()),
      });
      return payload;
    } catch {
      return undefined;
    }
  }

  /** Writes the public keys where the pods mount them; true afterwards means that every current key is published. */
  async publish(kube: KubeClient, namespace: string): Promise<void> {
    await this.tidy();
    const keys = this.#state.current.keys;
    const object: KeyConfigMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: POD.keysConfigMap, namespace },
      data: publishedKeys(keys, this.#now()),
    };
    await kube.apply(configMaps, object, { fieldManager: FIELD_MANAGER, force: true });
    const now = this.#now();
    await this.#state.update((document) =>
      document.keys.every(({ publishedAt }) => publishedAt !== null)
        ? document
        : {
            ...document,
            keys: document.keys.map((key) =>
              key.publishedAt === null && key.id in object.data
                ? { ...key, publishedAt: now }
                : key,
            ),
          },
    );
  }

  /** Adds a key; it signs ten minutes after the next {@link publish}. Returns its id. */
  async rotate(): Promise<string> {
    const key = newKey(this.#now());
    await this.#state.update((document) => {
      if (document.keys.length >= MAX_KEYS) {
        throw new ArgusError("Busy", "Too many keys still verify tokens: rotate again later.", {
          keys: document.keys.length,
        });
      }
      return { ...document, keys: [...document.keys, key] };
    });
    return key.id;
  }

  /** Retires and forgets keys whose time is over. */
  async tidy(): Promise<void> {
    await this.#state.update((document) => {
      const keys = tidyKeys(document.keys, this.#now());
      return keys === document.keys ? document : { ...document, keys };
    });
  }

  #signer(): GatewayKey {
    const key = signingKey(this.#state.current.keys, this.#now());
    if (key) return key;
    throw new ArgusError("Internal", "The gateway has no signing key: this is a defect.");
  }

  #sign(key: GatewayKey, claims: JWTPayload): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({ alg: ALGORITHM, kid: key.id })
      .sign(this.#pair(key).privateKey);
  }

  #publicKey(kid: string | undefined): KeyObject {
    const key = this.#state.current.keys.find(({ id }) => id === kid);
    if (!key) throw new ArgusError("Unauthorized", "The token's key is not known.");
    return this.#pair(key).publicKey;
  }

  #pair(key: GatewayKey): { privateKey: KeyObject; publicKey: KeyObject } {
    const known = this.#objects.get(key.id);
    if (known) return known;
    const pair = {
      privateKey: createPrivateKey(key.privateKey),
      publicKey: createPublicKey(key.publicKey),
    };
    this.#objects.set(key.id, pair);
    return pair;
  }
}
