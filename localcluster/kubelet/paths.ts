/** Where a path inside the container really is. */
export interface PathMapping {
  inside: string;
  outside: string;
}

/**
 * `word` with every path under a mount replaced by the host's. A word is a path, a list of absolute paths with `:`,
 * `--flag=path`, or JSON whose strings are such words; any other text stays as it is.
 */
export function rewriteWord(word: string, mappings: readonly PathMapping[]): string {
  const json = asJson(word);
  if (json !== undefined) return JSON.stringify(rewriteJson(json, mappings));
  const flag = /^(-{1,2}[\w.-]+=)(.+)$/s.exec(word);
  if (flag?.[1] && flag[2]) return flag[1] + rewriteWord(flag[2], mappings);
  const parts = word.split(":");
  if (!parts.every((part) => part === "" || part.startsWith("/"))) return word;
  return parts.map((part) => rewritePath(part, mappings)).join(":");
}

/** A single path; the longest mount that holds it wins. */
export function rewritePath(path: string, mappings: readonly PathMapping[]): string {
  const [best] = mappings
    .filter(({ inside }) => path === inside || path.startsWith(`${inside}/`))
    .sort((a, b) => b.inside.length - a.inside.length);
  return best ? best.outside + path.slice(best.inside.length) : path;
}

function asJson(word: string): object | undefined {
  if (!/^[[{]/.test(word)) return undefined;
  try {
    return JSON.parse(word) as object;
  } catch {
    return undefined;
  }
}

function rewriteJson(value: unknown, mappings: readonly PathMapping[]): unknown {
  if (typeof value === "string") return rewriteWord(value, mappings);
  if (Array.isArray(value)) return value.map((each) => rewriteJson(each, mappings));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, rewriteJson(each, mappings)]),
  );
}
