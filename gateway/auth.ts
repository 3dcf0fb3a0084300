import { createHash, timingSafeEqual } from "node:crypto";
import { ADAPTER_ACCOUNT } from "#protocol/channel.ts";
import { POD } from "#protocol/pod.ts";
import { type Grant, grantHolds, readClientToken } from "./client-token.ts";
import type { Directory } from "./directory.ts";
import type { KeyRing } from "./key-ring.ts";
import { belongsTo, sessionNameOf } from "./pod.ts";
import type { PodTokens } from "./pod-tokens.ts";

export type Principal =
  | { kind: "admin" }
  /** `expiresAt` in ms since the epoch; `person`: the name that the token was made for. */
  | { kind: "client"; grants: Grant[]; expiresAt: number; person?: string }
  | { kind: "pod"; session: string; podUid: string }
  | { kind: "controller" };

/** Three distinct states: no token, one that opens nothing, one that names somebody. */
export type Credential =
  | { state: "absent" }
  | { state: "invalid" }
  | { state: "valid"; principal: Principal };

const INVALID: Credential = { state: "invalid" };

export interface AuthOptions {
  adminToken: string;
  namespace: string;
  keys: KeyRing;
  directory: Directory;
  podTokens: PodTokens;
  /** Name of the controller's service account. */
  controllerAccount: string;
}

/** Says who a token names. */
export class Authenticator {
  readonly #options: AuthOptions;
  readonly #adminDigest: Buffer;

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#adminDigest = digest(options.adminToken);
  }

  /** For people's surfaces: the admin token or a client token. */
  async person(token: string | undefined): Promise<Credential> {
    if (token === undefined || token === "") return { state: "absent" };
    if (this.#isAdmin(token)) return { state: "valid", principal: { kind: "admin" } };
    const read = await readClientToken(token, this.#options.keys);
    if (!read || !read.grants.some((grant) => this.#holds(grant))) return INVALID;
    return { state: "valid", principal: { kind: "client", ...read } };
  }

  /** For the agents' surfaces: a session pod's projected token (or the admin token). Throws as {@link PodTokens.check}. */
  async pod(token: string | undefined): Promise<Credential> {
    if (token === undefined || token === "") return { state: "absent" };
    if (this.#isAdmin(token)) return { state: "valid", principal: { kind: "admin" } };
    const identity = await this.#options.podTokens.check(token);
    if (identity?.user !== this.#user(POD.serviceAccount)) return INVALID;
    const session = this.#sessionOfPod(identity.podUid);
    if (session === undefined) return INVALID;
    return { state: "valid", principal: { kind: "pod", session, podUid: identity.podUid } };
  }

  /** For whoever reports what happened: a person's token, or the controller's projected one. Throws as {@link PodTokens.check}. */
  async reporter(token: string | undefined): Promise<Credential> {
    const person = await this.person(token);
    if (person.state !== "invalid") return person;
    const identity = await this.#options.podTokens.check(token ?? "");
    if (identity?.user !== this.#user(this.#options.controllerAccount)) return INVALID;
    return { state: "valid", principal: { kind: "controller" } };
  }

  /**
   * For channel adapters: the admin token, or the projected token of a pod whose service account is the adapters'. False for
   * every other token, a client's and a session pod's among them. Throws as {@link PodTokens.check}.
   */
  async adapter(token: string | undefined): Promise<boolean> {
    if (token === undefined || token === "") return false;
    if (this.#isAdmin(token)) return true;
    const identity = await this.#options.podTokens.check(token);
    return identity?.user === this.#user(ADAPTER_ACCOUNT);
  }

  /** Whether this principal may use the session now; a raised tokenGeneration or a new object of the same name ends it. */
  mayUse(principal: Principal, name: string): boolean {
    if (principal.kind === "admin" || principal.kind === "controller") return true;
    if (principal.kind === "pod") return principal.session === name;
    const grant = principal.grants.find((each) => each.name === name);
    return grant !== undefined && this.#holds(grant);
  }

  #holds(grant: Grant): boolean {
    const session = this.#options.directory.session(grant.name);
    return session !== undefined && grantHolds(grant, session);
  }

  #isAdmin(token: string): boolean {
    return timingSafeEqual(digest(token), this.#adminDigest);
  }

  #user(account: string): string {
    return `system:serviceaccount:${this.#options.namespace}:${account}`;
  }

  #sessionOfPod(podUid: string): string | undefined {
    const { directory } = this.#options;
    const pod = directory.podByUid(podUid);
    const name = pod && sessionNameOf(pod);
    const session = name === undefined ? undefined : directory.session(name);
    return pod && session && belongsTo(pod, session) ? name : undefined;
  }
}

/** Equal lengths for the constant-time comparison. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** The token of a request: `Authorization` (Bearer or bare), else `?token=`, else a WebSocket sub-protocol. */
export function requestToken(
  headers: { authorization?: string | undefined; "sec-websocket-protocol"?: string | undefined },
  query: URLSearchParams,
): string | undefined {
  const header = headers.authorization?.trim();
  if (header) return header.replace(/^Bearer +/i, "");
  return query.get("token") ?? subProtocol(headers["sec-websocket-protocol"])?.token;
}

const PROTOCOL_PREFIX = "argus.token.";

/** The token among offered sub-protocols (`argus.token.<token>`, or `bearer, <token>`) and the one to answer with. */
export function subProtocol(
  offered: string | undefined,
): { token: string; answer: string } | undefined {
  const names = (offered ?? "").split(",").map((name) => name.trim());
  const prefixed = names.find((name) => name.startsWith(PROTOCOL_PREFIX));
  if (prefixed) return { token: prefixed.slice(PROTOCOL_PREFIX.length), answer: prefixed };
  const [first, token] = names;
  return first?.toLowerCase() === "bearer" && token ? { token, answer: first } : undefined;
}
