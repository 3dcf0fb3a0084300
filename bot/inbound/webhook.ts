import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { GrammyError } from "grammy";
import type { Update } from "grammy/types";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";
import { Gather, MAX_WAITING } from "./gather.ts";
import { ALLOWED_UPDATES, pollWords } from "./poll.ts";

/** What Telegram may post at once. */
const CONNECTIONS = 40;
/** An update is a few thousand bytes. */
const MAX_BODY_BYTES = 1024 * 1024;
const RETRY = { baseMs: 500, maxMs: 30_000 };
/** Somebody may have taken the webhook away, or Telegram may not reach it: looked at this often. */
const LOOK_MS = 60_000;
/** Updates under way when the bot stops; what is not taken then comes again. */
const DRAIN_MS = 5000;

/** Where Telegram posts updates instead of being asked for them. */
export interface WebhookOptions {
  /** As Telegram reaches it: https. */
  url: string;
  listen: { host: string; port: number };
}

export interface ReceiveOptions {
  api: TelegramApi;
  botToken: string;
  webhook: WebhookOptions;
  /** Resolves once everything in the updates is durable; only then Telegram is told. */
  take: (updates: Update[]) => Promise<void>;
  /** Told why nothing can come; undefined = it can. */
  onState: (reason: string | undefined) => void;
  logger: Logger;
}

/** Takes what Telegram posts until the signal aborts. Throws when the address is taken or the token is worth nothing. */
export async function receive(options: ReceiveOptions, signal: AbortSignal): Promise<void> {
  const gather = new Gather(options.take);
  const server = createServer((request, response) => {
    void answer(request, response, { gather, options, signal });
  });
  server.requestTimeout = 30_000;
  server.listen(options.webhook.listen.port, options.webhook.listen.host);
  // Not cut short by the signal: a server that begins later would keep its address.
  await once(server, "listening");
  try {
    await keepSet(options, signal);
  } finally {
    await closed(server);
  }
}

/** The header that proves that a post is Telegram's: only who has the bot's token can make it. */
export function secretOf(botToken: string): string {
  return createHmac("sha256", botToken).update("argus telegram webhook").digest("base64url");
}

/** Sets the webhook, and again when somebody takes it away. */
async function keepSet(options: ReceiveOptions, signal: AbortSignal): Promise<void> {
  let isSet = false;
  let wasSet = false;
  for (let failures = 0; !signal.aborted; ) {
    try {
      isSet = isSet && (await isInPlace(options, signal));
      if (!isSet) await set(options, signal);
      // Whether Telegram reaches it is told by the next look.
      if (failures > 0 || !wasSet) options.onState(undefined);
      isSet = true;
      wasSet = true;
      failures = 0;
      await systemClock.sleep(LOOK_MS, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof GrammyError && [400, 401, 404].includes(error.error_code)) {
        throw refused(error, options.webhook.url);
      }
      options.onState(`No updates from Telegram: ${pollWords(error)}`);
      options.logger.warn({ error: pollWords(error) }, "the webhook was not set; trying again");
      await systemClock.sleep(backoffMs(failures++, RETRY), signal).catch(() => undefined);
    }
  }
}

function refused({ description }: GrammyError, url: string): ArgusError {
  const words = `Telegram does not take ${url} as this bot's webhook: ${description}. It must be an https address that Telegram reaches.`;
  return new ArgusError("InvalidInput", words);
}

async function set(
  { api, botToken, webhook: { url }, logger }: ReceiveOptions,
  signal: AbortSignal,
): Promise<void> {
  const facts = {
    secret_token: secretOf(botToken),
    max_connections: CONNECTIONS,
    allowed_updates: ALLOWED_UPDATES,
  };
  await api.setWebhook(url, facts, grammySignal(signal));
  logger.info({ host: new URL(url).host }, "the webhook is set");
}

/** False: it has to be set again. */
async function isInPlace(
  { api, webhook, onState, logger }: ReceiveOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const info = await api.getWebhookInfo(grammySignal(signal));
  const {
    url,
    last_error_message: why,
    last_error_date: at = 0,
    pending_update_count: count,
  } = info;
  const isFresh = Date.now() - at * 1000 < 2 * LOOK_MS;
  const isBroken = why !== undefined && count > 0 && isFresh;
  if (isBroken) logger.warn({ error: why, waiting: count }, "Telegram does not reach the webhook");
  onState(
    isBroken ? `Telegram does not reach the webhook (${why}); ${count} updates wait.` : undefined,
  );
  return url === webhook.url && !isBroken;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { gather, options, signal }: { gather: Gather; options: ReceiveOptions; signal: AbortSignal },
): Promise<void> {
  const { webhook, botToken, logger } = options;
  const end = (status: number, headers: Record<string, string> = {}) => {
    response.writeHead(status, headers).end();
  };
  if (signal.aborted) return end(503, { connection: "close", "retry-after": "1" });
  if (request.url?.split("?")[0] !== new URL(webhook.url).pathname) return end(404);
  if (request.method !== "POST") return end(405, { allow: "POST" });
  if (!isTelegram(request, botToken)) return end(401);
  const update = await updateOf(request).catch(() => undefined);
  // It comes again in vain: whatever is no update will not become one.
  if (update === "too large" || !update) return end(update ? 413 : 400, { connection: "close" });
  if (gather.size >= MAX_WAITING) return end(503, { "retry-after": "2" });
  try {
    await gather.add(update);
    end(200);
  } catch {
    logger.info({ update: update.update_id }, "an update was not taken; Telegram posts it again");
    end(503, { "retry-after": "1" });
  }
}

function isTelegram({ headers }: IncomingMessage, botToken: string): boolean {
  const given = headers["x-telegram-bot-api-secret-token"];
  const digest = (text: string) => createHmac("sha256", botToken).update(text).digest();
  if (typeof given !== "string") return false;
  return timingSafeEqual(digest(given), digest(secretOf(botToken)));
}

async function updateOf(request: IncomingMessage): Promise<Update | "too large" | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return "too large";
    chunks.push(chunk);
  }
  const body: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  const isUpdate =
    typeof body === "object" &&
    body !== null &&
    "update_id" in body &&
    Number.isSafeInteger(body.update_id);
  return isUpdate ? (body as Update) : undefined;
}

/** Posts under way are answered first. */
async function closed(server: Server): Promise<void> {
  const done = once(server, "close");
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await done;
  clearTimeout(timer);
}
