import { secrets } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import type { McpServerEntry } from "#crds/mcp-servers.ts";
import { monotonicMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { remember } from "#lib/remember.ts";

/** A Secret is read again after this: a new key holds from then on. */
const FRESH_MS = 10_000;
/** Secrets that are kept meanwhile. */
const MAX_KEPT = 1000;
/** Headers of one server, one a line. */
const MAX_HEADERS = 16;

export interface ServerHeadersOptions {
  kube: KubeClient;
  namespace: string;
  logger: Logger;
}

type Reference = NonNullable<McpServerEntry["headersFrom"]>["secretKeyRef"];

/** What the gateway adds to requests to people's own MCP servers, by reference to a Secret. */
export class ServerHeaders {
  readonly #options: ServerHeadersOptions;
  readonly #kept = new Map<string, { since: number; headers: Promise<Record<string, string>> }>();

  constructor(options: ServerHeadersOptions) {
    this.#options = options;
  }

  /** By lower-case name. Throws `Unavailable`; what exactly is wrong stands in the log. */
  of({ headersFrom }: McpServerEntry): Promise<Record<string, string>> {
    if (!headersFrom) return Promise.resolve({});
    const { name, key } = headersFrom.secretKeyRef;
    const path = `${name}/${key}`;
    const now = monotonicMs();
    const known = this.#kept.get(path);
    if (known && now - known.since < FRESH_MS) return known.headers;
    const headers = this.#read(headersFrom.secretKeyRef);
    remember(this.#kept, path, { since: now, headers }, MAX_KEPT);
    return headers;
  }

  async #read({ name, key }: Reference): Promise<Record<string, string>> {
    try {
      const { kube, namespace } = this.#options;
      const ref = { resource: secrets, namespace, name };
      const secret = await kube.get<KubeObject & { data?: Record<string, string> }>(ref);
      const value = secret?.data?.[key];
      if (value === undefined) throw new ArgusError("NotFound", `Secret ${name} has no ${key}`);
      return headersOf(Buffer.from(value, "base64").toString("utf8"));
    } catch (error) {
      const facts = { secret: name, key, error: errorMessage(error) };
      this.#options.logger.warn(facts, "the headers of an MCP server cannot be read");
      const words = "The gateway cannot read this server's headers; its log says why.";
      throw new ArgusError("Unavailable", words, {}, { cause: error });
    }
  }
}

const LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): *([\t\x20-\x7e]*)$/;

/** `Name: value` in each line. Throws `InvalidInput` without the value in its words. */
export function headersOf(text: string): Record<string, string> {
  const lines = text.split("\n").map((line) => line.trim());
  const pairs = lines.filter(Boolean).map((line, index): [string, string] => {
    const [, name, value] = LINE.exec(line) ?? [];
    if (name && value !== undefined) return [name.toLowerCase(), value];
    throw new ArgusError("InvalidInput", `line ${index + 1} is not "Name: value"`);
  });
  if (pairs.length <= MAX_HEADERS) return Object.fromEntries(pairs);
  throw new ArgusError("InvalidInput", `more than ${MAX_HEADERS} headers`);
}
