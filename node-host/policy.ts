import { isAbsolute, relative } from "node:path";
import { z } from "zod";

export const Effect = z.enum(["allow", "ask", "deny"]);
export type Effect = z.infer<typeof Effect>;
const MAX_RULES = 500;

/**
 * One rule of the device's owner. Every part that is given must match; a rule without parts matches everything. Example:
 * `{"effect":"allow","command":"system.run","argv":["git","status"],"folder":"/home/me/project","session":"main"}`
 */
export const PolicyRule = z.strictObject({
  effect: Effect,
  /** A command's whole name, or a beginning and a star: `file.*`. */
  command: z.string().max(256).optional(),
  /** The first words of what `system.run` runs, exactly as they are called. */
  argv: z.array(z.string()).min(1).max(64).optional(),
  /** The working folder or the file is this folder or beneath it. */
  folder: z.string().refine(isAbsolute, "give an absolute path").optional(),
  session: z.string().max(128).optional(),
  /** A person with the gateway's token, or the session's agent: as the gateway says. */
  by: z.enum(["person", "agent"]).optional(),
});
export type PolicyRule = z.infer<typeof PolicyRule>;

/** `policy.json` of the state folder. Nothing that the gateway says changes it. */
export const Policy = z.strictObject({
  default: Effect.default("ask"),
  rules: z.array(PolicyRule).max(MAX_RULES).default([]),
  /** Folders that file commands may touch; absent = the home folder. */
  roots: z.array(z.string().refine(isAbsolute, "give absolute paths")).max(64).optional(),
});
export type Policy = z.infer<typeof Policy>;

export interface Asked {
  command: string;
  argv?: readonly string[];
  /** Absolute and without links: the working folder or the file. */
  folder?: string;
  session: string | null;
  by: "person" | "agent";
  /** Names that the call sets in the program's environment. */
  envNames?: readonly string[];
}

const STRICTNESS: Record<Effect, number> = { allow: 0, ask: 1, deny: 2 };
/** What only looks at jobs of the same session needs no word of its own. To feed or end one is an act like its start. */
const LOOKS_ONLY = /^(process\.(list|get|logs)|system\.which)$/;
/** Names that make a known program run something else. */
const STEERING =
  /^(PATH|LD_.*|DYLD_.*|BASH_ENV|ENV|IFS|NODE_OPTIONS|PYTHON.*|PERL.*|RUBY.*|GIT_.*|.*_?PAGER|.*EDITOR)$/i;

/** The strictest matching rule decides; without one the default. An allowed program with a steering environment is asked for. */
export function decide(policy: Policy, asked: Asked): Effect {
  const effects = policy.rules.filter((rule) => matches(rule, asked)).map(({ effect }) => effect);
  const strictest = effects.sort((a, b) => STRICTNESS[b] - STRICTNESS[a])[0];
  const effect = strictest ?? (LOOKS_ONLY.test(asked.command) ? "allow" : policy.default);
  const steered = asked.envNames?.some((name) => STEERING.test(name)) ?? false;
  // Who allows everything has not trusted a name, so no name can be misused.
  const named = strictest !== undefined;
  return effect === "allow" && named && steered ? "ask" : effect;
}

function matches(rule: PolicyRule, asked: Asked): boolean {
  return (
    (rule.command === undefined || matchesName(rule.command, asked.command)) &&
    (rule.argv === undefined || rule.argv.every((word, index) => asked.argv?.[index] === word)) &&
    (rule.folder === undefined ||
      (asked.folder !== undefined && within(rule.folder, asked.folder))) &&
    (rule.session === undefined || rule.session === asked.session) &&
    (rule.by === undefined || rule.by === asked.by)
  );
}

const matchesName = (pattern: string, name: string) =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : pattern === name;

/** Whether `path` is `folder` or beneath it; both absolute. */
export function within(folder: string, path: string): boolean {
  const rest = relative(folder, path);
  return rest === "" || (!isAbsolute(rest) && rest !== ".." && !/^\.\.[\\/]/.test(rest));
}
