import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ArgusError } from "#lib/errors.ts";
import { WEBHOOK_PATH, type WebhookAnswer } from "#protocol/events.ts";
import { acceptEvent } from "../accept-event.ts";
import type { GatewayContext } from "../context.ts";
import { verify } from "../webhooks/verify.ts";
import { webhookWords } from "../webhooks/words.ts";

const MAX_WEBHOOK_BYTES = 1024 * 1024;
/** When to post again what was not taken for want of room, seconds. */
const RETRY_AFTER_SECONDS = 5;

interface Address {
  session: string;
  name: string;
}

/** Other programs' webhooks become events of a session. Their signature is who they are; no token is asked for. */
export function webhookRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  void app.register(async (scope) => {
    scope.setErrorHandler(refuse);
    // The signature is over the bytes.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));
    scope.post<{ Params: Address }>(
      WEBHOOK_PATH,
      { bodyLimit: MAX_WEBHOOK_BYTES },
      (request, reply) => take(request, reply, context()),
    );
  });
}

async function take(
  request: FastifyRequest<{ Params: Address }>,
  reply: FastifyReply,
  { directory, lanes, webhookSecrets }: GatewayContext,
): Promise<WebhookAnswer> {
  const session = directory.session(request.params.session);
  const hook = session?.spec.webhooks?.find(({ name }) => name === request.params.name);
  // One answer for both: a stranger learns of no session.
  if (!session || !hook) throw new ArgusError("NotFound", "There is no such webhook.");
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const header = (name: string) => [request.headers[name]].flat()[0];
  const keys = await webhookSecrets.keys(hook.secretKeyRef);
  const { key, type } = verify(hook, { header, body }, { keys, now: Date.now() });
  const { name, wakes } = hook;
  const text = webhookWords({ name, type }, body);
  const source = { name: `webhook ${name}`, uid: `webhook/${name}` };
  const event = { key, kind: "webhook", text, wakes, source, concurrencyPolicy: "Allow" } as const;
  const { state } = await acceptEvent(await lanes.of(session), event);
  void reply.code(202);
  return { ok: true, sessionId: session.metadata.name, state };
}

/** Adds what a sender needs to do the right thing next. */
function refuse(error: FastifyError, _: FastifyRequest, reply: FastifyReply): void {
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    const words = `A webhook has at most ${MAX_WEBHOOK_BYTES} bytes. Nothing was accepted.`;
    throw new ArgusError("TooLarge", words);
  }
  const mayPass = error.code === "Busy" || error.code === "Unavailable";
  if (mayPass) void reply.header("retry-after", String(RETRY_AFTER_SECONDS));
  throw error;
}
