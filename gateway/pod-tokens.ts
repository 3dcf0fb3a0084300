import { createHash } from "node:crypto";
import { decodeJwt } from "jose";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { remember } from "#lib/remember.ts";
import { GATEWAY_AUDIENCE } from "#protocol/pod.ts";
import { IssuerKeys } from "./issuer-keys.ts";

const REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews";
const FORBIDDEN = 403;
const POD_UID = "authentication.kubernetes.io/pod-uid";
/** A positive answer is asked again after this, while the API server answers. */
const CACHE_MS = 60_000;
const REFUSED_CACHE_MS = 10_000;
const MAX_CACHED = 10_000;
/** Reviews of different tokens at once. */
const MAX_IN_FLIGHT = 32;
const MAX_TOKEN_BYTES = 8192;
/** Where reviews are not granted they are asked for again after this: a role may have been added. */
const NOT_GRANTED_MS = 600_000;

export interface PodIdentity {
  podUid: string;
  /** `system:serviceaccount:<namespace>:<name>` */
  user: string;
}

interface Entry {
  /** Undefined = refused. */
  identity: PodIdentity | undefined;
  checkedAt: number;
  /** The token's own expiry, ms. */
  expiresAt: number;
}

interface TokenReview {
  status?: {
    authenticated?: boolean;
    audiences?: string[];
    user?: { username?: string; extra?: Record<string, string[]> };
  };
}

/**
 * Checks pods' projected tokens by TokenReview, or by the issuer's keys where reviews are not granted. Concurrent checks of one token are one call; a positive answer lives
 * for a minute, and until the token's own expiry while the API server is away.
 */
export class PodTokens {
  readonly #kube: KubeClient;
  readonly #now: () => number;
  readonly #issuerKeys: IssuerKeys;
  #notGrantedUntil = 0;
  readonly #cache = new Map<string, Entry>();
  readonly #inFlight = new Map<string, Promise<PodIdentity | undefined>>();

  constructor(kube: KubeClient, now: () => number = Date.now) {
    this.#kube = kube;
    this.#now = now;
    this.#issuerKeys = new IssuerKeys(kube, now);
  }

  /**
   * Whose token it is; undefined = the API server refuses it.
   * Throws `Unavailable` when nobody can say and no earlier answer holds, `Busy` over the bound of concurrent checks.
   */
  async check(token: string): Promise<PodIdentity | undefined> {
    const expiresAt = plausibleUntil(token, this.#now());
    if (expiresAt === undefined) return undefined;
    const key = createHash("sha256").update(token).digest("base64");
    const entry = this.#cache.get(key);
    if (entry && this.#fresh(entry)) return entry.identity;
    const running = this.#inFlight.get(key);
    if (running) return running;
    if (this.#inFlight.size >= MAX_IN_FLIGHT) {
      throw new ArgusError("Busy", "Too many tokens are being checked: try again.");
    }
    const review = this.#review(token, key, expiresAt).finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, review);
    return review;
  }

  /** The pod is gone: its tokens are worth nothing from now on. */
  forget(podUid: string): void {
    for (const [key, { identity }] of this.#cache) {
      if (identity?.podUid === podUid) this.#cache.delete(key);
    }
  }

  #fresh({ identity, checkedAt, expiresAt }: Entry): boolean {
    const now = this.#now();
    const age = now - checkedAt;
    // An age below zero: the clock was set back, and nobody knows how old it is.
    return now < expiresAt && age >= 0 && age < (identity ? CACHE_MS : REFUSED_CACHE_MS);
  }

  async #review(token: string, key: string, expiresAt: number): Promise<PodIdentity | undefined> {
    let identity: PodIdentity | undefined;
    try {
      const answer = await this.#ask(token);
      identity = answer ? identityOf(answer) : await this.#issuerKeys.check(token);
    } catch (error) {
      const old = this.#cache.get(key);
      if (old?.identity && this.#now() < old.expiresAt) return old.identity;
      throw new ArgusError(
        "Unavailable",
        "The API server cannot check the pod's token now: try again.",
        {},
        { cause: error },
      );
    }
    remember(this.#cache, key, { identity, checkedAt: this.#now(), expiresAt }, MAX_CACHED);
    return identity;
  }

  /** Undefined = we may not ask. */
  async #ask(token: string): Promise<TokenReview | undefined> {
    const left = this.#notGrantedUntil - this.#now();
    if (left > 0 && left <= NOT_GRANTED_MS) return undefined;
    const response = await this.#kube.request("POST", REVIEWS, {
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token, audiences: [GATEWAY_AUDIENCE] },
      },
    });
    if (response.status < 300) return (await response.body.json()) as TokenReview;
    await response.body.dump();
    if (response.status === FORBIDDEN) {
      this.#notGrantedUntil = this.#now() + NOT_GRANTED_MS;
      return undefined;
    }
    throw new ArgusError("Unavailable", "TokenReview failed.", { status: response.status });
  }
}

/** Expiry (ms) of something that may be a pod's token for us; undefined = not worth a call. */
function plausibleUntil(token: string, now: number): number | undefined {
  if (token.length > MAX_TOKEN_BYTES || token.split(".").length !== 3) return undefined;
  try {
    const { aud, exp } = decodeJwt(token);
    const audiences = typeof aud === "string" ? [aud] : (aud ?? []);
    const until = (exp ?? 0) * 1000;
    return audiences.includes(GATEWAY_AUDIENCE) && until > now ? until : undefined;
  } catch {
    return undefined;
  }
}

function identityOf({ status }: TokenReview): PodIdentity | undefined {
  if (!status?.authenticated || !status.audiences?.includes(GATEWAY_AUDIENCE)) return undefined;
  const { username: user, extra } = status.user ?? {};
  const podUid = extra?.[POD_UID]?.[0];
  return podUid && user ? { podUid, user } : undefined;
}
