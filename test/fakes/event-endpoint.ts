import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { EVENTS_PATH, type EventAnswer, SlotEvent } from "#protocol/events.ts";

/** What the gateway's endpoint for events promises, without a gateway: keys are remembered with their fate. */
export class EventLedger {
  /** By key, in the order of their commits. */
  readonly fates = new Map<string, { event: SlotEvent; state: "queued" | "skipped" }>();
  /** UIDs of schedules whose earlier event counts as still active. */
  readonly active = new Set<string>();

  commit(event: SlotEvent): EventAnswer {
    const { sessionId } = event;
    const known = this.fates.get(event.key);
    if (known?.state === "queued") return { ok: true, sessionId, state: "duplicate" };
    const skips = event.concurrencyPolicy === "Forbid" && this.active.has(event.source.uid);
    const state = known?.state ?? (skips ? "skipped" : "queued");
    if (!known) this.fates.set(event.key, { event, state });
    if (state === "queued") return { ok: true, sessionId, state };
    return { ok: true, sessionId, state, reason: "an earlier event is still active" };
  }

  /** Slots in seconds that were queued. */
  queuedSlots(): number[] {
    const queued = [...this.fates].filter(([, { state }]) => state === "queued");
    return queued.map(([key]) => Number(key.split("/")[1]));
  }
}

/** How one request goes wrong. */
export type EndpointFault =
  | { answer: number; body?: object; headers?: Record<string, string> }
  | { answer: number; text: string }
  /** The connection ends without an answer. */
  | { cut: "before commit" | "after commit" }
  /** No answer, the connection stays. */
  | { hang: "before commit" | "after commit" };

export interface EndpointRequest {
  event: SlotEvent;
  token: string | undefined;
  atMs: number;
}

/** A recording stand-in for the gateway's endpoint for events, on a real socket, that can fail in every way. */
export class EventEndpoint {
  readonly ledger = new EventLedger();
  readonly requests: EndpointRequest[] = [];
  /** Asked for each request; undefined = it goes well. */
  fault: (request: EndpointRequest) => EndpointFault | undefined = () => undefined;
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async start(): Promise<EventEndpoint> {
    const endpoint = new EventEndpoint();
    endpoint.#server.listen(0, "127.0.0.1");
    await once(endpoint.#server, "listening");
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    if (request.method !== "POST" || request.url !== EVENTS_PATH) {
      return send(response, 404, { detail: "Not Found" });
    }
    const event = SlotEvent.parse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
    const token = request.headers.authorization?.replace(/^Bearer /, "");
    const received = { event, token, atMs: Date.now() };
    this.requests.push(received);
    const fault = this.fault(received);
    if (fault === undefined) return send(response, 202, this.ledger.commit(event));
    if ("answer" in fault) {
      const body = "text" in fault ? fault.text : (fault.body ?? { detail: "as asked" });
      return send(response, fault.answer, body, "headers" in fault ? fault.headers : {});
    }
    const when = "cut" in fault ? fault.cut : fault.hang;
    if (when === "after commit") this.ledger.commit(event);
    if ("cut" in fault) request.socket.destroy();
  }
}

function send(
  response: ServerResponse,
  status: number,
  body: object | string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}
