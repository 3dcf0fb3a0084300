import type { AuditEntry } from "#test/cluster/audit.ts";
import { only, type Rendered } from "./chart.ts";

/** One thing that somebody may do, or did. */
export interface Right {
  verb: string;
  /** API group; core is empty. */
  group: string;
  /** `pods`, `argussessions/status`. */
  resource: string;
  /** Undefined = of the whole cluster. */
  namespace?: string | undefined;
  /** Undefined = any object. */
  name?: string | undefined;
}

interface PolicyRule {
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  verbs: string[];
}
interface Subject {
  kind: string;
  name: string;
  namespace: string;
}

/** What the rendered roles give to one service account. */
export function grantedTo(objects: Rendered[], account: string): Right[] {
  return objects
    .filter(({ kind }) => kind === "RoleBinding" || kind === "ClusterRoleBinding")
    .filter(({ subjects }) =>
      (subjects as Subject[]).some(
        ({ kind, name }) => kind === "ServiceAccount" && name === account,
      ),
    )
    .flatMap(({ kind, roleRef, metadata }) => {
      const { kind: roleKind, name } = roleRef as { kind: string; name: string };
      const role = only(objects, roleKind, name);
      const namespace = kind === "RoleBinding" ? metadata.namespace : undefined;
      return (role.rules as PolicyRule[]).flatMap((rule) => rightsOf(rule, namespace));
    });
}

function rightsOf(rule: PolicyRule, namespace: string | undefined): Right[] {
  const { apiGroups = [], resources = [], resourceNames = [undefined], verbs } = rule;
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.flatMap((verb) =>
        resourceNames.map((name) => ({ verb, group, resource, namespace, name })),
      ),
    ),
  );
}

export interface Asked extends Right {
  /** HTTP status of the answer. */
  status: number;
}

/** What one service account asked for, by the audit log of an API server. */
export function askedBy(
  entries: AuditEntry[],
  account: { namespace: string; name: string },
): Asked[] {
  const username = `system:serviceaccount:${account.namespace}:${account.name}`;
  return entries.filter(({ user }) => user.username === username).flatMap(askedIn);
}

/** The admission of an API server learns of a new kind within half a minute, and refuses its objects' children until then. */
function isTooEarly(answer: AuditEntry["responseStatus"]): boolean {
  return answer?.message?.includes("cannot find RESTMapping") ?? false;
}

function askedIn({ verb, objectRef, responseStatus }: AuditEntry): Asked[] {
  // Paths such as /version are open to everybody.
  if (!objectRef) return [];
  const { resource, subresource, apiGroup: group = "", namespace, name } = objectRef;
  const status = isTooEarly(responseStatus) ? 0 : (responseStatus?.code ?? 0);
  const asked: Asked = {
    verb,
    group,
    resource: subresource ? `${resource}/${subresource}` : resource,
    namespace,
    name,
    status,
  };
  // A server-side apply that made its object was also asked for `create`.
  return verb === "patch" && status === 201 ? [asked, { ...asked, verb: "create" }] : [asked];
}

export interface Comparison {
  /** Asked for and not granted. */
  missing: string[];
  /** Granted and never asked for. */
  surplus: string[];
  /** Refused by the API server. */
  refused: string[];
}

/** Rights that one API server's log does not show, and why they are granted. */
const UNSEEN: { reason: string; covers: (right: Right, granted: Right[]) => boolean }[] = [
  {
    reason:
      "the admission plugin OwnerReferencesPermissionEnforcement asks for it when a child blocks its owner's deletion",
    covers: ({ verb, resource }) => verb === "update" && resource === "argussessions/finalizers",
  },
  {
    reason:
      "the chart makes the account of session pods; the controller does when somebody deleted it",
    covers: ({ verb, resource }) => verb === "create" && resource === "serviceaccounts",
  },
  {
    reason: "a server that cannot stream its lists (before 1.32, or told so) is asked for them",
    covers: (right, granted) =>
      right.verb === "list" &&
      granted.some(
        (each) => each.verb === "watch" && wordsOf(each) === `watch${wordsOf(right).slice(4)}`,
      ),
  },
];

/** Compares in both directions. */
export function compareRights(granted: Right[], asked: Asked[]): Comparison {
  const covers = (grant: Right, { verb, group, resource, namespace, name }: Right) =>
    grant.verb === verb &&
    grant.group === group &&
    grant.resource === resource &&
    (grant.namespace === undefined || grant.namespace === namespace) &&
    (grant.name === undefined || grant.name === name);
  const missing = asked.filter((right) => !granted.some((grant) => covers(grant, right)));
  const surplus = granted.filter((grant) => !asked.some((right) => covers(grant, right)));
  return {
    missing: distinct(missing),
    surplus: distinct(
      surplus.filter((right) => !UNSEEN.some(({ covers: explains }) => explains(right, granted))),
    ),
    refused: distinct(asked.filter(({ status }) => status === 403)),
  };
}

/** `patch argus.dev/argussessions/status in assistants`, `create authentication.k8s.io/tokenreviews of the cluster`. */
export function wordsOf({ verb, group, resource, namespace, name }: Right): string {
  const what = group ? `${group}/${resource}` : resource;
  const which = name === undefined ? "" : ` "${name}"`;
  return `${verb} ${what}${which} ${namespace === undefined ? "of the cluster" : `in ${namespace}`}`;
}

function distinct(rights: Right[]): string[] {
  return [...new Set(rights.map(wordsOf))].sort();
}
