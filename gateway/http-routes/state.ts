import type { FastifyInstance, FastifyRequest } from "fastify";
import { ArgusError } from "#lib/errors.ts";
import { STATE_PATH, StateWrite } from "#protocol/state.ts";
import type { GatewayContext } from "../context.ts";
import { demandAdmin, firstIssue } from "../routes.ts";
import { understood } from "../state/document.ts";
import { GATEWAY_KIND, GATEWAY_UID } from "../state/gateway-state.ts";
import { demandReplace, isFree, restoredGateway } from "../state/restore.ts";
import { sessionKind } from "../state/session-state.ts";
import { UnreadableDocument } from "../store/unreadable.ts";

/** A document at the bound of the file store, every character of it escaped once more, is refused by the store, not here. */
const MAX_STATE_BODY_BYTES = 8 * 1024 * 1024;

type OneDocument = FastifyRequest<{ Params: { uid: string } }>;

/** The durable state for its owner: look at it, take a copy of it, put one back. It holds the gateway's private keys. */
export function stateRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  app.get(STATE_PATH, async (request) => {
    await demandAdmin(request, context());
    return list(context());
  });
  app.get(`${STATE_PATH}/:uid`, async (request: OneDocument) => {
    await demandAdmin(request, context());
    return read(request.params.uid, context());
  });
  const limits = { bodyLimit: MAX_STATE_BODY_BYTES };
  app.put(`${STATE_PATH}/:uid`, limits, async (request: OneDocument) => {
    await demandAdmin(request, context());
    const wanted = StateWrite.safeParse(request.body ?? {});
    if (!wanted.success) throw new ArgusError("InvalidInput", firstIssue(wanted.error));
    return write(request.params.uid, wanted.data, context());
  });
}

async function list({ store, directory }: GatewayContext) {
  const names = new Map(directory.sessions().map(({ metadata: { uid, name } }) => [uid, name]));
  const documents = (await store.list()).map((row) => {
    const session = names.get(row.uid);
    return session === undefined ? row : { ...row, session };
  });
  const known = new Set(documents.map(({ uid }) => uid));
  const without = [...names].filter(([uid]) => uid !== undefined && !known.has(uid));
  return {
    documents,
    sessionsWithout: without.map(([uid, session]) => ({ uid, session })),
  };
}

async function read(uid: string, { store }: GatewayContext) {
  const stored = await store.read(uid).catch(conflict);
  if (stored) return { uid, ...stored };
  throw new ArgusError("NotFound", `There is no document ${uid}.`);
}

/** A document that cannot be read is no defect of this request. */
function conflict(error: unknown): never {
  if (!(error instanceof UnreadableDocument)) throw error;
  throw new ArgusError("Conflict", error.message, error.facts);
}

async function write(uid: string, { body, replace }: StateWrite, context: GatewayContext) {
  const { store, state, lanes, directory } = context;
  if (uid === GATEWAY_UID) {
    const backup = understood(GATEWAY_KIND, uid, body);
    demandReplace(replace, uid);
    await state.update((current) => restoredGateway(current, backup));
    return { ok: true };
  }
  const session = directory.sessions().find(({ metadata }) => metadata.uid === uid);
  if (!session) {
    throw new ArgusError("NotFound", `There is no session with the UID ${uid}.`);
  }
  const document = understood(sessionKind(session.metadata.name), uid, body);
  if (!(await isFree(store, uid))) demandReplace(replace, session.metadata.name);
  await lanes.replace(session, { ...document, name: session.metadata.name });
  return { ok: true };
}
