import { apiVersionOf, type ResourceType } from "./resource-type.ts";

const VERBS = "create delete deletecollection get list patch update watch".split(" ");
const STATUS_VERBS = ["get", "patch", "update"];

/** Resources that are only asked, never stored. */
interface Virtual {
  group: string;
  version: string;
  kind: string;
  plural: string;
  namespaced: boolean;
}

export const REVIEWS: Virtual[] = [
  { group: "authentication.k8s.io", kind: "TokenReview", plural: "tokenreviews" },
  { group: "authentication.k8s.io", kind: "SelfSubjectReview", plural: "selfsubjectreviews" },
  {
    group: "authorization.k8s.io",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
  },
].map((each) => ({ ...each, version: "v1", namespaced: false }));

type Types = readonly ResourceType[];

interface Group {
  name: string;
  versions: string[];
}

function groupsOf(types: Types): Group[] {
  const groups = new Map<string, Set<string>>();
  for (const { group, version } of [...types, ...REVIEWS]) {
    groups.set(group, (groups.get(group) ?? new Set()).add(version));
  }
  return [...groups].map(([name, versions]) => ({ name, versions: [...versions] }));
}

function versionsOf({ name, versions }: Group) {
  return versions.map((version) => ({
    groupVersion: apiVersionOf({ group: name, version }),
    version,
  }));
}

/** `/apis` */
export function groupList(types: Types) {
  const groups = groupsOf(types).filter(({ name }) => name);
  return { kind: "APIGroupList", apiVersion: "v1", groups: groups.map(groupEntry) };
}

const groupEntry = (group: Group) => {
  const versions = versionsOf(group);
  return { name: group.name, versions, preferredVersion: versions[0] };
};

/** `/apis/{group}`; undefined when no such group is served. */
export function groupDocument(types: Types, name: string) {
  const group = groupsOf(types).find((each) => each.name === name);
  return group && { kind: "APIGroup", apiVersion: "v1", ...groupEntry(group) };
}

/** `/api/v1` and `/apis/{group}/{version}`; undefined when it is not served. */
export function resourceList(types: Types, group: string, version: string) {
  const served = types.filter((type) => type.group === group && type.version === version);
  const reviews = REVIEWS.filter((each) => each.group === group && each.version === version);
  if (served.length + reviews.length === 0) return undefined;
  const resources = [
    ...served.flatMap(resourceEntries),
    ...reviews.map(({ plural, kind, namespaced }) => ({
      name: plural,
      singularName: kind.toLowerCase(),
      namespaced,
      kind,
      verbs: ["create"],
    })),
  ];
  const groupVersion = apiVersionOf({ group, version });
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}

function resourceEntries(type: ResourceType) {
  const { plural, singular, namespaced, kind, shortNames, categories } = type;
  const main = {
    name: plural,
    singularName: singular,
    namespaced,
    kind,
    verbs: VERBS,
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
  };
  const subresources = subresourcesOf(type).map(({ name, kind, verbs }) => ({
    name: `${plural}/${name}`,
    singularName: "",
    namespaced,
    kind,
    verbs,
  }));
  return [main, ...subresources];
}

interface Subresource {
  name: string;
  kind: string;
  verbs: string[];
}

function subresourcesOf({ kind, hasStatus, storage }: ResourceType): Subresource[] {
  return [
    ...(hasStatus ? [{ name: "status", kind, verbs: STATUS_VERBS }] : []),
    ...(storage === "/pods"
      ? [
          { name: "log", kind: "Pod", verbs: ["get"] },
          { name: "binding", kind: "Binding", verbs: ["create"] },
        ]
      : []),
    ...(storage === "/serviceaccounts"
      ? [{ name: "token", kind: "TokenRequest", verbs: ["create"] }]
      : []),
  ];
}

export const AGGREGATED_TYPE =
  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/** Whether the client asks for all resources in one document. */
export const wantsAggregated = (accept: string) =>
  accept.includes("as=APIGroupDiscoveryList") && /v=v2(,|;|$)/.test(accept);

/** `/api` (core) and `/apis` (the rest) as one APIGroupDiscoveryList. */
export function aggregatedDiscovery(types: Types, core: boolean) {
  const groups = groupsOf(types).filter(({ name }) => (name === "") === core);
  const items = groups.map(({ name, versions }) => ({
    metadata: { name, creationTimestamp: null },
    versions: versions.map((version) => ({
      version,
      freshness: "Current",
      resources: [
        ...types
          .filter((type) => type.group === name && type.version === version)
          .map(aggregatedResource),
        ...REVIEWS.filter((each) => each.group === name && each.version === version).map(
          aggregatedReview,
        ),
      ],
    })),
  }));
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items,
  };
}

function aggregatedResource(type: ResourceType) {
  const { group, version, kind, plural, singular, namespaced, shortNames, categories } = type;
  const responseKind = (kind: string) => ({ group, version, kind });
  return {
    resource: plural,
    responseKind: responseKind(kind),
    scope: namespaced ? "Namespaced" : "Cluster",
    singularResource: singular,
    verbs: VERBS,
    ...(shortNames.length > 0 && { shortNames }),
    ...(categories.length > 0 && { categories }),
    subresources: subresourcesOf(type).map(({ name, kind, verbs }) => ({
      subresource: name,
      responseKind: responseKind(kind),
      verbs,
    })),
  };
}

const aggregatedReview = ({ group, version, kind, plural }: Virtual) => ({
  resource: plural,
  responseKind: { group, version, kind },
  scope: "Cluster",
  singularResource: kind.toLowerCase(),
  verbs: ["create"],
});
