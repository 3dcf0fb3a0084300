import { readFileSync } from "node:fs";
import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";

/** Names to values; an absent variable and an empty one are the same. */
export type Environment = Record<string, string>;

/** This process's environment: the only place that reads it. */
export function readEnvironment(): Environment {
  return clean(process.env);
}

/** Drops unset and empty variables. */
export function clean(variables: Record<string, string | undefined>): Environment {
  const set = Object.entries(variables).filter((entry): entry is [string, string] => !!entry[1]);
  return Object.fromEntries(set);
}

export interface ParseOptions {
  /** Variables that may come as `NAME_FILE` instead: the file's first line is the value. */
  secrets?: string[];
  /** Names that are read instead of the key when the key is absent. */
  aliases?: Record<string, string>;
}

/**
 * The settings of one process. Throws one ArgusError InvalidInput that names every bad variable,
 * never a value.
 */
export function parseEnvironment<T extends z.ZodObject>(
  schema: T,
  environment: Environment,
  { secrets = [], aliases = {} }: ParseOptions = {},
): z.output<T> {
  const problems: string[] = [];
  const values: Environment = { ...environment };
  for (const [name, alias] of [...secrets.map((name) => [name, name]), ...Object.entries(aliases)])
    if (name && alias) resolveSecret(values, { name, alias }, problems);
  const parsed = schema.safeParse(values);
  const bad = parsed.error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  problems.push(...(bad ?? []));
  if (problems.length > 0 || !parsed.data) throw badVariables(problems);
  return parsed.data;
}

function badVariables(problems: string[]): ArgusError {
  const list = [...new Set(problems)].map((problem) => `\n  ${problem}`).join("");
  return new ArgusError("InvalidInput", `the environment cannot be used:${list}`, {
    variables: problems.length,
  });
}

/** Fills `values[name]` from `alias` or from the file that `alias_FILE` names. */
function resolveSecret(
  values: Environment,
  { name, alias }: { name: string; alias: string },
  problems: string[],
): void {
  if (values[name]) return;
  const inline = values[alias];
  const file = values[`${alias}_FILE`];
  if (inline) values[name] = inline;
  else if (file) values[name] = readSecret(`${alias}_FILE`, file, problems);
}

function readSecret(variable: string, file: string, problems: string[]): string {
  try {
    const secret = readFileSync(file, "utf8").trim();
    if (!secret) problems.push(`${variable}: ${file} is empty`);
    return secret;
  } catch (error) {
    problems.push(`${variable}: ${errorMessage(error)}`);
    return "unreadable";
  }
}

/** `host:port`, `:port` (all addresses) or `[::1]:port`. */
export const listenAddress = (fallback: string) =>
  z
    .string()
    .regex(/^(\[[0-9a-fA-F:]+\]|[^:]*):\d{1,5}$/, "give host:port, for example 127.0.0.1:8080")
    .default(fallback)
    .transform((text) => {
      const colon = text.lastIndexOf(":");
      const host = text.slice(0, colon).replace(/^\[|\]$/g, "") || "0.0.0.0";
      return { host, port: Number(text.slice(colon + 1)) };
    })
    .refine(({ port }) => port <= 65_535, "the port must be at most 65535");

export const portNumber = (fallback: number) =>
  z
    .string()
    .regex(/^\d{1,5}$/, "give a port number")
    .default(String(fallback))
    .transform(Number)
    .refine((port) => port <= 65_535, "the port must be at most 65535");

export const httpUrl = () =>
  z
    .string()
    .refine((text) => /^https?:\/\//.test(text) && URL.canParse(text), "give an http(s) URL")
    .transform((text) => text.replace(/\/+$/, ""));

export const logLevel = () =>
  z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
    .default("info")
    .meta({ description: "How much is logged (JSON lines on stderr)" });
