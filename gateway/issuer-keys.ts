import { createLocalJWKSet, errors, jwtVerify } from "jose";
import { z } from "zod";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { GATEWAY_AUDIENCE } from "#protocol/pod.ts";

const ISSUER = "/.well-known/openid-configuration";
const KEYS = "/openid/v1/jwks";
/** An unknown key makes us read them again, but not more often. */
const REREAD_MS = 10_000;

const Discovery = z.object({ issuer: z.string().min(1) });
const KeySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) });
const Claims = z.object({
  sub: z.string(),
  "kubernetes.io": z.object({ pod: z.object({ uid: z.string().min(1) }) }),
});

interface Known {
  issuer: string;
  keys: ReturnType<typeof createLocalJWKSet>;
  readAt: number;
}

/**
 * Checks pods' tokens by the API server's public keys, for where nobody may ask for TokenReviews. Unlike a review it does not
 * see that a pod or its account is gone: that its pod is known and alive is for the caller to check.
 */
export class IssuerKeys {
  readonly #kube: KubeClient;
  readonly #now: () => number;
  #known: Promise<Known> | undefined;

  constructor(kube: KubeClient, now: () => number) {
    this.#kube = kube;
    this.#now = now;
  }

  /** Whose token it is; undefined = not one of this cluster's for us. Throws when the keys cannot be read. */
  async check(token: string): Promise<{ podUid: string; user: string } | undefined> {
    const known = await this.#keys();
    try {
      return await this.#verify(token, known);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) return undefined;
      if (this.#now() - known.readAt < REREAD_MS) return undefined;
      // The API server signs with a key that is newer than our list.
      this.#known = undefined;
      return this.#verify(token, await this.#keys()).catch(() => undefined);
    }
  }

  async #verify(token: string, { issuer, keys }: Known) {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience: GATEWAY_AUDIENCE,
      requiredClaims: ["exp", "sub"],
      currentDate: new Date(this.#now()),
    });
    const claims = Claims.safeParse(payload).data;
    return claims && { podUid: claims["kubernetes.io"].pod.uid, user: claims.sub };
  }

  #keys(): Promise<Known> {
    this.#known ??= this.#read().catch((error: unknown) => {
      this.#known = undefined;
      throw error;
    });
    return this.#known;
  }

  async #read(): Promise<Known> {
    const { issuer } = Discovery.parse(await this.#get(ISSUER));
    const keys = KeySet.parse(await this.#get(KEYS));
    return { issuer, keys: createLocalJWKSet(keys), readAt: this.#now() };
  }

  async #get(path: string): Promise<unknown> {
    const { status, body } = await this.#kube.request("GET", path);
    if (status === 200) return body.json();
    await body.dump();
    throw new ArgusError(
      "Unavailable",
      `The API server refused ${path} (${status}): grant the gateway "create tokenreviews" or the ClusterRole system:service-account-issuer-discovery.`,
      { path, status },
    );
  }
}
