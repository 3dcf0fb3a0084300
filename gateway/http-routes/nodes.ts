import { createHash, randomUUID } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { MAX_INVOKE_MS } from "#protocol/node-methods.ts";
import type { GatewayContext } from "../context.ts";
import { firstIssue, tokenOf } from "../routes.ts";
import { sessionOf } from "./events.ts";

const InvokeBody = z
  .object({
    node: z.string().min(1).max(256).optional(),
    nodeId: z.string().min(1).max(256).optional(),
    command: z.string({ error: "Missing 'command'" }).min(1).max(256),
    params: z.unknown().optional(),
    timeoutMs: z.int().min(1).max(MAX_INVOKE_MS).nullish(),
  })
  .refine(({ node, nodeId }) => node ?? nodeId, { error: "Missing 'node'", path: ["node"] });

/** The seed's endpoints for people; `?session=` names a session, else the token's own or `main`. */
export function nodeRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  app.get("/nodes", async (request) => {
    const { nodes } = context();
    return { nodes: nodes.list(await sessionFor(request, context())) };
  });
  app.post("/nodes/invoke", async (request) => {
    const session = await sessionFor(request, context());
    const wanted = InvokeBody.safeParse(request.body ?? {});
    if (!wanted.success) throw new ArgusError("InvalidInput", firstIssue(wanted.error));
    const { node, nodeId, command, params, timeoutMs } = wanted.data;
    const call = { node: node ?? nodeId, command, params, callId: `http/${randomUUID()}` };
    const asked = { ...call, by: "person", timeoutMs: timeoutMs ?? undefined } as const;
    return await context().nodes.invoke(session, asked);
  });
}

async function sessionFor(request: FastifyRequest, context: GatewayContext) {
  const credential = await context.auth.person(tokenOf(request));
  if (credential.state !== "valid") throw new ArgusError("Unauthorized", "Unauthorized");
  const query = new URL(request.raw.url ?? "/", "http://gateway").searchParams;
  return await sessionOf(credential.principal, query.get("session") ?? undefined, context);
}

const FILE = "/node-host.mjs";

/** What a device downloads, for whoever asks: it holds no secret, and lets nobody in. */
export function nodeHostRoutes(
  app: FastifyInstance,
  read: () => Promise<Buffer | undefined>,
): void {
  let kept: Promise<{ bytes: Buffer; sum: string }> | undefined;
  const file = () => {
    kept ??= load(read).catch((error: unknown) => {
      kept = undefined;
      throw error;
    });
    return kept;
  };
  app.get(FILE, async (_, reply) =>
    reply.type("text/javascript; charset=utf-8").send((await file()).bytes),
  );
  app.get(`${FILE}.sha256`, async (_, reply) =>
    reply.type("text/plain").send(`${(await file()).sum}  node-host.mjs\n`),
  );
  app.get("/help", async (request, reply) =>
    reply.type("text/plain").send(help(baseOf(request), (await file()).sum)),
  );
}

async function load(read: () => Promise<Buffer | undefined>) {
  const bytes = await read();
  if (!bytes) {
    const message = "This gateway has no node-host.mjs: npm run bundle -- <folder> writes one.";
    throw new ArgusError("NotFound", message);
  }
  return { bytes, sum: createHash("sha256").update(bytes).digest("hex") };
}

/** As the caller reaches us, perhaps through a proxy. */
function baseOf({ headers }: FastifyRequest): string {
  const proto = headers["x-forwarded-proto"] === "https" ? "https" : "http";
  const host = /^[A-Za-z0-9.:[\]-]{1,255}$/.exec(headers.host ?? "")?.[0] ?? "<gateway>";
  return `${proto}://${host}`;
}

const help = (base: string, sum: string) => `Argus gateway.

To let your agent run commands on this device (Linux, Node 20 or later), paste

  curl -fsSO ${base}${FILE} && echo '${sum}  node-host.mjs' | sha256sum -c && node node-host.mjs pair ${base} && node node-host.mjs run

It shows a code; confirm it as the gateway's owner:

  argus approve <code>

What may run is decided by ~/.argus/node-host/<id>/policy.json on the device; without that file every command is asked for:

  argus nodes pending
`;
