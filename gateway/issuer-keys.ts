import { createLocalJWKSet, errors, jwtVerify } from "jose";
import { z } from "zod";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { GATEWAY_AUDIENCE } from "#protocol/pod.ts";
import type { PodIdentity } from "./pod-tokens.ts";

const DISCOVERY = "/.well-known/openid-configuration";
const KEYS = "/openid/v1/jwks";
/** A token with an unknown key makes the keys be read again, but not more often than this. */
const REFRESH_MS = 10_000;

const Discovery = z.object({ issuer: z.string() });
const KeySet = z.object({ keys: z.array(z.looseObject({})) });
/** What the API server writes into a token that is bound to a pod. */
const Claims = z.object({
  sub: z.string(),
  "kubernetes.io": z.object({ pod: z.object({ uid: z.string() }) }),
});

interface Issuer {
  name: string;
  keyOf: ReturnType<typeof createLocalJWKSet>;
  readAtMs: number;
}

/**
 * Checks pods' tokens against the keys that the cluster publishes: for installations that may not create TokenReviews. It cannot
 * tell that a pod is gone; who uses the answer looks the pod up.
 */
export class IssuerKeys {
  readonly #kube: KubeClient;
  readonly #now: () => number;
  #issuer: Promise<Issuer> | undefined;

  constructor(kube: KubeClient, now: () => number) {
    this.#kube = kube;
    this.#now = now;
  }

  /** Whose token it is; undefined = not signed by the cluster for us. Throws `Unavailable` when the keys cannot be read. */
  async check(token: string): Promise<PodIdentity | undefined> {
    const issuer = await this.#read();
    try {
      return await this.#verify(token, issuer);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) return undefined;
      const ageMs = this.#now() - issuer.readAtMs;
      if (ageMs >= 0 && ageMs < REFRESH_MS) return undefined;
      this.#issuer = undefined;
      const again = await this.#read();
      return this.#verify(token, again).catch(() => undefined);
    }
  }

  async #verify(token: string, { name, keyOf }: Issuer): Promise<PodIdentity | undefined> {
    const { payload } = await jwtVerify(token, keyOf, {
      issuer: name,
      audience: GATEWAY_AUDIENCE,
      currentDate: new Date(this.#now()),
    });
    const { data } = Claims.safeParse(payload);
    return data && { user: data.sub, podUid: data["kubernetes.io"].pod.uid };
  }

  #read(): Promise<Issuer> {
    this.#issuer ??= this.#fetch().catch((error: unknown) => {
      this.#issuer = undefined;
      throw error;
    });
    return this.#issuer;
  }

  async #fetch(): Promise<Issuer> {
    const { issuer } = Discovery.parse(await this.#get(DISCOVERY));
    const keys = KeySet.parse(await this.#get(KEYS));
    return { name: issuer, keyOf: createLocalJWKSet(keys), readAtMs: this.#now() };
  }

  async #get(path: string): Promise<unknown> {
    const response = await this.#kube.request("GET", path);
    if (response.status < 300) return response.body.json();
    await response.body.dump();
    const { status } = response;
    const message = `The cluster does not show its token keys (GET ${path}: ${status}): allow the gateway to create TokenReviews or to read them.`;
    throw new ArgusError("Unavailable", message, { path, status });
  }
}
