import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { WebhookBody } from "#webhook/webhook.ts";

/** One `POST` whose signature held. */
export interface Posted {
  id: string;
  body: WebhookBody;
}

/** A program that takes webhooks: checks each signature by itself, keeps what it took, and says when. */
export class WebhookReceiver {
  readonly posts: Posted[] = [];
  /** Requests that are not what the page about channels promises. */
  readonly wrong: string[] = [];
  /** The answer to a chat's parts; 204 when absent. */
  readonly statuses = new Map<string, number>();
  /** Called when a request is there, before its answer; nothing is answered before it resolves. */
  onRequest: (posted: Posted) => Promise<void> = async () => undefined;
  /** Called when the answer has left. */
  onAnswered: (posted: Posted) => void = () => undefined;
  readonly #secret: string;
  readonly #server: Server;

  static async start(secret: string): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver(secret);
    receiver.#server.listen(0, "127.0.0.1");
    await once(receiver.#server, "listening");
    return receiver;
  }

  private constructor(secret: string) {
    this.#secret = secret;
    this.#server = createServer((request, response) => {
      void this.#take(request, response).catch((error: unknown) => {
        // Its sender was killed in the middle of the request: nothing was taken.
        if (!request.destroyed) this.wrong.push(String(error));
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/argus`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => undefined);
    const raw = await text(request);
    const id = String(request.headers["webhook-id"]);
    const why = this.#complaint(request, id, raw);
    if (why) {
      this.wrong.push(why);
      response.writeHead(401).end();
      return;
    }
    const posted = { id, body: JSON.parse(raw) as WebhookBody };
    const status = this.statuses.get(posted.body.chatKey) ?? 204;
    if (status < 300) this.posts.push(posted);
    await this.onRequest(posted);
    response.writeHead(status).end(() => this.onAnswered(posted));
  }

  /** As any receiver would check it; empty = it is genuine. */
  #complaint({ headers, method }: IncomingMessage, id: string, raw: string): string {
    const stamp = String(headers["webhook-timestamp"]);
    const mac = createHmac("sha256", this.#secret).update(`${id}.${stamp}.${raw}`).digest("base64");
    const is = Buffer.from(String(headers["webhook-signature"]));
    const should = Buffer.from(`v1,${mac}`);
    if (method !== "POST") return `method ${method}`;
    if (Math.abs(Date.now() / 1000 - Number(stamp)) > 300) return `timestamp ${stamp}`;
    if (is.length !== should.length || !timingSafeEqual(is, should)) return "signature";
    return headers["idempotency-key"] === id ? "" : "idempotency-key";
  }
}
