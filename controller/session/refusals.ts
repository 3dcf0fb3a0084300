import { KubeError } from "#cluster/kube-error.ts";
import type { Problem } from "./plan.ts";

const CANNOT =
  /User "([^"]+)" cannot (\w+) resource "([^"]+)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]+)")?/;

/**
 * What the API server's refusal of a write means for people: which object, and what they can do. Undefined = it says nothing
 * about this object, a repeat may help.
 */
export function refusal(error: unknown, what: string): Problem | undefined {
  if (!(error instanceof KubeError)) return undefined;
  if (error.status === 422 || error.status === 400) {
    return {
      reason: "SpecInvalid",
      message: `${what} is not valid: ${error.message}`,
      terminal: true,
    };
  }
  return error.status === 403 ? forbidden(error, what) : undefined;
}

function forbidden({ message, causes }: KubeError, what: string): Problem {
  if (/exceeded quota/.test(message)) {
    const words = `${what} is above the namespace's quota (${message}): free or raise it`;
    return { reason: "QuotaExceeded", message: words };
  }
  if (
    causes.some(({ reason }) => reason === "NamespaceTerminating") ||
    /being terminated/.test(message)
  ) {
    const words = `${what} cannot be made: its namespace is being deleted; nothing can run there any more`;
    return { reason: "NamespaceTerminating", message: words };
  }
  const rule = missingRule(message);
  if (rule) return { reason: "Forbidden", message: `${what}: ${rule}` };
  return { reason: "DependenciesNotReady", message: `${what} was refused: ${message}` };
}

/** The rule that an authorization failure asks for, in words: which verb, resource and account. */
export function missingRule(message: string): string | undefined {
  const match = CANNOT.exec(message);
  if (!match) return undefined;
  const [, user = "", verb, resource, group = "", namespace] = match;
  const where = namespace ? ` in namespace ${namespace}` : "";
  const of = group ? `${resource}.${group}` : resource;
  return `the controller may not ${verb} ${of}${where}: add the verb ${verb} on ${of} to the role of ${user}`;
}
