import { errorMessage } from "#lib/errors.ts";
import { type Credentials, userOfToken } from "./credentials.ts";
import { at, fieldsOf, textOf } from "./object.ts";
import { ISSUER, type ServiceAccountTokens, type User } from "./service-account-tokens.ts";

/** Whether a user may do everything here; everybody else may only ask about themselves. */
export const mayDoAll = (user: User) => user.groups.includes("system:masters");

/** Who sends requests and whose tokens are reviewed. */
export class Authenticator {
  readonly #credentials: Credentials;
  readonly #tokens: ServiceAccountTokens;

  constructor(credentials: Credentials, tokens: ServiceAccountTokens) {
    this.#credentials = credentials;
    this.#tokens = tokens;
  }

  /** The user of an Authorization header; undefined when it proves nobody. A pod's token must be meant for this server. */
  async user(authorization: string | undefined): Promise<User | undefined> {
    const token = /^Bearer\s+(\S+)$/i.exec(authorization ?? "")?.[1];
    if (!token) return undefined;
    const fixed = userOfToken(this.#credentials.tokens, token);
    if (fixed) return fixedUser(fixed);
    try {
      return (await this.#tokens.verify(token, [ISSUER])).user;
    } catch {
      return undefined;
    }
  }

  /** Answers a TokenReview. */
  async review(body: unknown) {
    const spec = fieldsOf(at(body, "spec"));
    const asked = Array.isArray(spec.audiences) ? spec.audiences.map(String) : [];
    const wanted = asked.length > 0 ? asked : [ISSUER];
    return {
      kind: "TokenReview",
      apiVersion: "authentication.k8s.io/v1",
      metadata: { creationTimestamp: null },
      spec,
      status: await this.#status(textOf(spec.token), wanted),
    };
  }

  async #status(token: string, wanted: string[]) {
    const fixed = token ? userOfToken(this.#credentials.tokens, token) : undefined;
    if (fixed && wanted.includes(ISSUER)) {
      return { authenticated: true, user: fixedUser(fixed), audiences: [ISSUER] };
    }
    try {
      return { authenticated: true, ...(await this.#tokens.verify(token, wanted)) };
    } catch (error) {
      return { user: {}, error: `[invalid bearer token, ${errorMessage(error)}]` };
    }
  }
}

const fixedUser = (username: string): User => ({
  username,
  groups: ["system:masters", "system:authenticated"],
});

/** Answers a SelfSubjectReview (`kubectl auth whoami`). */
export const selfReview = (userInfo: User) => ({
  kind: "SelfSubjectReview",
  apiVersion: "authentication.k8s.io/v1",
  metadata: { creationTimestamp: null },
  status: { userInfo },
});

/** Answers a SelfSubjectAccessReview (`kubectl auth can-i`). */
export const accessReview = (user: User, body: unknown) => ({
  kind: "SelfSubjectAccessReview",
  apiVersion: "authorization.k8s.io/v1",
  metadata: { creationTimestamp: null },
  spec: fieldsOf(at(body, "spec")),
  status: { allowed: mayDoAll(user) },
});
