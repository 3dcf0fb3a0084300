import { type Adapter, startAdapter } from "#channel/adapter.ts";
import { serveHealth } from "#channel/health.ts";
import type { Part, Sender, SendFacts } from "#channel/sender.ts";
import { keyOf, signed } from "#lib/standard-webhooks.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { MAX_PARTS } from "#protocol/delivery.ts";
import type { Route, WebhookOptions } from "./options.ts";
import { post } from "./post.ts";

/** Characters of one part's text. */
const PART_CHARACTERS = 16 * 1024;

/** The channel whose chats are addresses of other programs: each part is one signed `POST`. */
export async function startWebhook(options: WebhookOptions, signal: AbortSignal): Promise<Adapter> {
  const { listen } = options;
  const waits = new Set(["The gateway has not answered yet."]);
  const over = new AbortController();
  const running = AbortSignal.any([signal, over.signal]);
  if (listen) await serveHealth(listen, () => [...waits], running);
  const adapter = startAdapter({ ...options, sender: new WebhookSender(options) }, signal);
  const end = () => over.abort();
  adapter.closed.then(end, end);
  adapter.ready.then(
    () => waits.clear(),
    () => undefined,
  );
  return adapter;
}

/** Body of a request. */
export interface WebhookBody {
  type: "delivery.part";
  channel: string;
  chatKey: string;
  sessionId: string;
  deliveryId: string;
  /** From 0. */
  part: number;
  parts: number;
  kind: string;
  /** The message that it answers. */
  inputId: string | null;
  text: string;
  /** It may have arrived before, under the same `webhook-id`. */
  again: boolean;
  createdAt: string;
}

class WebhookSender implements Sender {
  readonly #routes: Route[];
  readonly #key: Buffer;

  constructor({ routes, secret }: WebhookOptions) {
    this.#routes = routes;
    this.#key = keyOf(secret);
  }

  parts({ text }: { text: string }): string[] {
    return cutUp(text);
  }

  async send(part: Part, { mark, signal }: SendFacts): Promise<PartOutcome> {
    const { chatKey } = part.delivery.target;
    const url = urlFor(this.#routes, chatKey);
    if (!url) return { state: "refused", reason: `no address is configured for chat ${chatKey}` };
    const body = JSON.stringify(bodyOf(part, mark));
    const headers = {
      ...signed(body, part.key, this.#key, Date.now()),
      "idempotency-key": part.key,
      "user-agent": "argus-webhook",
    };
    return await post({ url, headers, body, ref: part.key }, signal);
  }
}

function bodyOf({ delivery, sessionId, number, parts, text }: Part, mark: string): WebhookBody {
  const { id, target, kind, inputId, createdAt } = delivery;
  return {
    type: "delivery.part",
    ...target,
    sessionId,
    deliveryId: id,
    part: number,
    parts,
    kind,
    inputId,
    text: mark ? `${mark} ${text}` : text,
    again: mark !== "",
    createdAt: new Date(createdAt).toISOString(),
  };
}

/** The address of the first route that matches. Pure. */
export function urlFor(routes: readonly Route[], chatKey: string): string | undefined {
  const matches = (chat: string) =>
    chat.endsWith("*") ? chatKey.startsWith(chat.slice(0, -1)) : chat === chatKey;
  return routes.find(({ chat }) => matches(chat))?.url;
}

/** The text in parts, none cut within a character. Pure. */
export function cutUp(text: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length && parts.length < MAX_PARTS; ) {
    const end = from + PART_CHARACTERS;
    // The first half of a pair stays with its second.
    const isSplit = (text.charCodeAt(end - 1) & 0xfc00) === 0xd800;
    const to = isSplit && end < text.length ? end - 1 : end;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts.length > 0 ? parts : [""];
}
