import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { answer, answerStatus } from "./model/answer.ts";
import { type ModelRequest, readRequest } from "./model/words.ts";

export interface FakeModelOptions {
  /** 0 or absent = any free port. */
  port?: number;
  /** Default: loopback. */
  host?: string;
  /** The bearer token to demand; a request without it gets 401. */
  requireKey?: string;
}

/** A request that arrived, in order. Fields change while it is answered. */
export interface RecordedRequest {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: ModelRequest;
  /** The person's last words. */
  words: string;
  /** The whole message that holds them. */
  prompt: string;
  /** Codex's turn that asks; empty when whoever asks names none. One turn asks again after a cut answer or a tool. */
  turnId: string;
  /** Texts of the tool outputs after those words. */
  outputs: string[];
  /** The answer has ended, one way or the other. */
  ended: boolean;
  /** The client left before the answer had ended. */
  closedEarly: boolean;
}

export interface FakeModel {
  /** Base URL with `/v1`. */
  url: string;
  requests: RecordedRequest[];
  /** The first request for which this holds, now or later; asked again when a request comes, ends or is closed. */
  waitFor(predicate: (request: RecordedRequest) => boolean): Promise<RecordedRequest>;
  close(): Promise<void>;
}

/** A model server that speaks the Responses API and follows the script in the person's words (`model/script.ts`). */
export async function startFakeModel(options: FakeModelOptions = {}): Promise<FakeModel> {
  const requests: RecordedRequest[] = [];
  const watchers = new Set<() => void>();
  const changed = () => {
    for (const look of watchers) look();
  };
  const server = createServer((request, response) => {
    serve({ request, response, requests, changed, requireKey: options.requireKey }).catch(() => {
      response.destroy();
    });
  });
  const host = options.host ?? "127.0.0.1";
  server.listen(options.port ?? 0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${port}/v1`,
    requests,
    waitFor: (predicate) =>
      new Promise((resolve) => {
        const look = () => {
          const found = requests.find(predicate);
          if (!found) return;
          watchers.delete(look);
          resolve(found);
        };
        watchers.add(look);
        look();
      }),
    close: () => stop(server),
  };
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  requests: RecordedRequest[];
  changed: () => void;
  requireKey: string | undefined;
}

async function serve({ request, response, requests, changed, requireKey }: Exchange) {
  const { method = "", url = "", headers } = request;
  const body = parse(await text(request));
  const said = readRequest(body);
  const recorded: RecordedRequest = {
    method,
    path: url,
    headers,
    body,
    words: said.words,
    prompt: said.prompt,
    turnId: turnIdOf(headers),
    outputs: said.outputs,
    ended: false,
    closedEarly: false,
  };
  const gone = new AbortController();
  response.on("close", () => {
    recorded.ended = true;
    recorded.closedEarly = !response.writableFinished;
    gone.abort();
    changed();
  });
  requests.push(recorded);
  changed();
  if (requireKey && headers.authorization !== `Bearer ${requireKey}`) {
    return answerStatus(response, 401);
  }
  if (method !== "POST" || !url.endsWith("/responses")) return answerStatus(response, 404);
  await answer(response, { ...said, model: body.model ?? "fake" }, gone.signal);
}

function turnIdOf(headers: IncomingMessage["headers"]): string {
  const metadata = headers["x-codex-turn-metadata"];
  const { turn_id: id } = parse(typeof metadata === "string" ? metadata : "{}") as {
    turn_id?: unknown;
  };
  return typeof id === "string" ? id : "";
}

async function text(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function parse(body: string): ModelRequest {
  try {
    return JSON.parse(body) as ModelRequest;
  } catch {
    return {};
  }
}

async function stop(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { port: { type: "string" }, key: { type: "string" } } });
  const model = await startFakeModel({
    port: Number(values.port ?? 0),
    ...(values.key ? { requireKey: values.key } : {}),
  });
  console.log(model.url);
}
