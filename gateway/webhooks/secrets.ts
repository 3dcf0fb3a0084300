import { secrets } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import type { Webhook } from "#crds/webhooks.ts";
import { monotonicMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { remember } from "#lib/remember.ts";
import { keyOf } from "#lib/standard-webhooks.ts";

/** A Secret is read again after this: a new key holds from then on. */
const FRESH_MS = 10_000;
/** Keys that are kept meanwhile. */
const MAX_KEPT = 1000;
/** A key that could be guessed is no key. */
const MIN_KEY_BYTES = 16;
/** Keys of one entry, one a line: the old and the new one while a sender changes it. */
const MAX_KEYS = 4;

export interface WebhookSecretsOptions {
  kube: KubeClient;
  namespace: string;
  logger: Logger;
  now?: () => number;
}

/** The keys of webhooks' signatures, by reference to a Secret. Requests of strangers cost the API server one read in 10 s. */
export class WebhookSecrets {
  readonly #options: WebhookSecretsOptions;
  readonly #now: () => number;
  readonly #kept = new Map<string, { since: number; keys: Promise<Buffer[]> }>();

  constructor(options: WebhookSecretsOptions) {
    this.#options = options;
    this.#now = options.now ?? monotonicMs;
  }

  /** Throws `Unavailable`; why stands in the log, not in the words for strangers. */
  keys({ name, key }: Webhook["secretKeyRef"]): Promise<Buffer[]> {
    const path = `${name}/${key}`;
    const known = this.#kept.get(path);
    const now = this.#now();
    if (known && now - known.since < FRESH_MS) return known.keys;
    const keys = this.#read(name, key);
    remember(this.#kept, path, { since: now, keys }, MAX_KEPT);
    return keys;
  }

  async #read(name: string, key: string): Promise<Buffer[]> {
    try {
      return await this.#load(name, key);
    } catch (error) {
      const facts = { secret: name, key, error: errorMessage(error) };
      this.#options.logger.warn(facts, "the key of a webhook cannot be read");
      const words =
        "The gateway cannot read this webhook's key; its log says why. Nothing was accepted.";
      throw new ArgusError("Unavailable", words, {}, { cause: error });
    }
  }

  async #load(name: string, key: string): Promise<Buffer[]> {
    const { kube, namespace } = this.#options;
    const ref = { resource: secrets, namespace, name };
    const secret = await kube.get<KubeObject & { data?: Record<string, string> }>(ref);
    if (!secret) throw new ArgusError("NotFound", `there is no Secret ${name}`);
    const value = secret.data?.[key];
    if (value === undefined) throw new ArgusError("NotFound", `Secret ${name} has no entry ${key}`);
    const lines = Buffer.from(value, "base64").toString("utf8").split("\n");
    const keys = lines.map((line) => line.trim()).filter((line) => line !== "");
    const made = keys.slice(0, MAX_KEYS).map(keyOf);
    if (made.length > 0 && made.every(({ length }) => length >= MIN_KEY_BYTES)) return made;
    const words = `entry ${key} of Secret ${name} must hold a key of at least ${MIN_KEY_BYTES} bytes in each line`;
    throw new ArgusError("InvalidInput", words);
  }
}
