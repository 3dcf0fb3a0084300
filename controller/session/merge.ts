type Json = Record<string, unknown>;

/** Lists of a PodSpec that are merged by a key, as the API server's strategic merge does; every other list is replaced. */
const LIST_KEYS: Record<string, string> = {
  containers: "name",
  initContainers: "name",
  volumes: "name",
  imagePullSecrets: "name",
  env: "name",
  ports: "containerPort",
  volumeMounts: "mountPath",
  hostAliases: "ip",
  topologySpreadConstraints: "topologyKey",
};

/** `over` laid over `base`: maps merge, keyed lists merge by their key, everything else is replaced. Neither is changed. */
export function mergePodSpec<T extends object>(base: T, over: object | undefined): T {
  return merge(base as Json, (over ?? {}) as Json) as T;
}

function merge(base: Json, over: Json): Json {
  const merged: Json = { ...base };
  for (const [field, value] of Object.entries(over)) {
    if (value === null || value === undefined) continue;
    merged[field] = mergeField(field, base[field], value);
  }
  return merged;
}

function mergeField(field: string, base: unknown, over: unknown): unknown {
  const key = LIST_KEYS[field];
  if (Array.isArray(base) && Array.isArray(over)) return key ? mergeList(base, over, key) : over;
  return isMap(base) && isMap(over) ? merge(base, over) : over;
}

function mergeList(base: unknown[], over: unknown[], key: string): unknown[] {
  const merged = [...base];
  for (const item of over) {
    const at = merged.findIndex((each) => isMap(each) && isMap(item) && each[key] === item[key]);
    if (at === -1) merged.push(item);
    else merged[at] = merge(merged[at] as Json, item as Json);
  }
  return merged;
}

export function isMap(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
