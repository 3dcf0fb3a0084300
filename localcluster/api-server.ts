import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { type Credentials, loadCredentials, privateFolder } from "./credentials.ts";
import { ObjectRemover } from "./deletion.ts";
import { GarbageCollector } from "./garbage.ts";
import type { ApiServer, ApiServerOptions } from "./options.ts";
import { Registry } from "./registry.ts";
import type { Reply } from "./reply.ts";
import { type ApiRequest, readBody, segmentsOf } from "./request.ts";
import { ResourceApi } from "./resource-api.ts";
import { Authenticator } from "./reviews.ts";
import { openReply, type RouterParts, route } from "./router.ts";
import { seedNamespaces } from "./seed.ts";
import { ServiceAccountTokens } from "./service-account-tokens.ts";
import { ApiError, badRequest, failureStatus, unauthorized } from "./status.ts";
import { ObjectStore } from "./store.ts";
import { ObjectWriter } from "./writes.ts";

const HOST = "127.0.0.1";
const CLOSE_GRACE_MS = 1000;
/** Longer than the quiet times of our own clients, so that a Lease costs no new handshake. */
const KEEP_ALIVE_MS = 65_000;

/** The Kubernetes API of one machine: `kubectl` and every client library work against it. */
export async function startApiServer(
  options: ApiServerOptions,
  signal: AbortSignal,
): Promise<ApiServer> {
  const { folder, host = HOST, logger, clock = systemClock } = options;
  // The store's lock first: two starts at once must not make two sets of keys.
  const store = await openStore(folder);
  try {
    const credentials = await loadCredentials(folder, clock.now());
    const parts = await partsOf(store, credentials, options);
    const { privateKeyPem: key, certificatePem: cert } = credentials;
    const server = createServer({ key, cert, keepAliveTimeout: KEEP_ALIVE_MS });
    const stop = new AbortController();
    server.on("request", (message: IncomingMessage, response: ServerResponse) => {
      void answer({ message, response, parts, logger, stop: stop.signal });
    });
    await listen(server, options, signal);
    const closed = closing({ server, store, signal, stop });
    const { port } = server.address() as AddressInfo;
    logger.info({ host, port }, "API server listens");
    return { host, port, closed, caPem: cert, tokens: credentials.tokens };
  } catch (error) {
    store.close();
    throw error;
  }
}

async function listen(
  server: Server,
  { host = HOST, port }: ApiServerOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, "listening", { signal });
  } catch (error) {
    server.close();
    const message = `cannot listen on ${host}:${port}: ${errorMessage(error)}; choose another port`;
    throw new ArgusError("Unavailable", message, { host, port }, { cause: error });
  }
}

async function openStore(folder: string): Promise<ObjectStore> {
  try {
    await privateFolder(folder);
    return new ObjectStore(folder);
  } catch (error) {
    const facts = { folder };
    const message = `cannot open the objects in ${folder}: ${errorMessage(error)}; is another Argus running there?`;
    throw new ArgusError("Unavailable", message, facts, { cause: error });
  }
}

async function partsOf(
  store: ObjectStore,
  credentials: Credentials,
  { logs, logger, clock = systemClock }: ApiServerOptions,
): Promise<RouterParts> {
  const registry = new Registry(store);
  const writer = new ObjectWriter(store, clock);
  const remover = new ObjectRemover(store, clock);
  const tokens = await ServiceAccountTokens.create(credentials.signingKeyPem, { store, clock });
  seedNamespaces({ store, registry, writer, caPem: credentials.certificatePem, logger });
  new GarbageCollector({ store, registry, remover, logger }).start();
  const resources = new ResourceApi({
    store,
    registry,
    writer,
    remover,
    tokens,
    logs,
    logger,
    clock,
  });
  return {
    store,
    registry,
    resources,
    tokens,
    authenticator: new Authenticator(credentials, tokens),
  };
}

interface Closing {
  server: Server;
  store: ObjectStore;
  signal: AbortSignal;
  stop: AbortController;
}

/** On abort: no new connections, watches end, open requests get a moment, then the store closes. */
async function closing({ server, store, signal, stop }: Closing): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
  const ended = once(server, "close");
  server.close();
  stop.abort();
  server.closeIdleConnections();
  const force = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await ended;
  clearTimeout(force);
  store.close();
}

interface Exchange {
  message: IncomingMessage;
  response: ServerResponse;
  parts: RouterParts;
  logger: Logger;
  stop: AbortSignal;
}

async function answer({ message, response, parts, logger, stop }: Exchange): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  const { method = "GET", url = "/" } = message;
  try {
    const signal = AbortSignal.any([stop, gone.signal]);
    await send(response, await replyTo(message, parts, signal), method);
  } catch (error) {
    // The client is gone: there is nobody to answer.
    if (gone.signal.aborted) return;
    const failure = error instanceof ApiError ? error : defect(error);
    if (failure.code >= 500)
      logger.error({ err: error, method, path: url.split("?")[0] }, "request failed");
    if (response.headersSent) response.destroy();
    else await send(response, { status: failure.code, body: failureStatus(failure) }, method);
  }
}

const defect = (error: unknown) =>
  new ApiError(500, "InternalError", `Internal error occurred: ${errorMessage(error)}`, {
    causes: [{ reason: "", message: errorMessage(error) }],
  });

async function replyTo(
  message: IncomingMessage,
  parts: RouterParts,
  signal: AbortSignal,
): Promise<Reply> {
  const url = URL.parse(message.url ?? "/", `https://${HOST}`);
  if (!url) throw badRequest("malformed request path");
  const path = segmentsOf(url.pathname);
  const open = openReply(path, parts.tokens);
  if (open) return open;
  const user = await parts.authenticator.user(message.headers.authorization);
  if (!user) throw unauthorized();
  const request: ApiRequest = {
    method: message.method ?? "GET",
    path,
    query: url.searchParams,
    accept: message.headers.accept ?? "",
    contentType: message.headers["content-type"] ?? "",
    userAgent: message.headers["user-agent"] ?? "",
    body: await readBody(message),
    user,
    signal,
  };
  return route(request, parts);
}

async function send(response: ServerResponse, reply: Reply, method: string): Promise<void> {
  if (response.destroyed) return;
  response.setHeader("Cache-Control", "no-cache, private");
  if ("stream" in reply) {
    response.writeHead(200, { "Content-Type": reply.contentType });
    response.flushHeaders();
    await reply.stream(response);
    return;
  }
  const { status, body, contentType = "application/json", warnings = [] } = reply;
  const text = typeof body === "string" ? body : JSON.stringify(body);
  if (warnings.length > 0) {
    response.setHeader("Warning", warnings.slice(0, MAX_WARNINGS).map(warningText));
  }
  response.writeHead(status, { "Content-Type": contentType });
  response.end(method === "HEAD" ? undefined : text);
}

const MAX_WARNINGS = 20;
const MAX_WARNING_CHARACTERS = 256;

/** A header holds plain ASCII only; field names come from the client. */
const warningText = (warning: string) =>
  `299 - ${JSON.stringify(warning.slice(0, MAX_WARNING_CHARACTERS)).replace(/[^\x20-\x7e]/g, "?")}`;
