import { existsSync } from "node:fs";
import { join } from "node:path";
import { understood } from "#gateway/state/document.ts";
import { GATEWAY_KIND, GATEWAY_UID } from "#gateway/state/gateway-state.ts";
import { demandReplace, isFree, restoredGateway, summaryOf } from "#gateway/state/restore.ts";
import { openFileStore } from "#gateway/store/file.ts";
import type { Store } from "#gateway/store/store.ts";
import { UnreadableDocument } from "#gateway/store/unreadable.ts";
import { ArgusError } from "#lib/errors.ts";
import { STATE_PATH, StateDocument, StateList, type StateWrite } from "#protocol/state.ts";
import { type ClientChoice, type ClientFile, findGateway } from "../client.ts";
import { call } from "../commands/gateway-calls.ts";
import { ownDataFolder } from "../data-folder.ts";

/** Where the state is read and written: by asking the gateway, or in the folder of one that does not run. */
export interface StatePlace {
  readonly name: string;
  /** Whether `list` says which session objects there are. */
  readonly knowsSessions: boolean;
  list(): Promise<StateList>;
  /** Throws `Conflict` with the reason for a document that cannot be read. */
  read(uid: string): Promise<StateDocument>;
  /** Throws `Conflict` when that would lose something and `replace` is not set. */
  write(uid: string, wanted: StateWrite): Promise<void>;
  close(): Promise<void>;
}

export interface PlaceChoice extends ClientChoice {
  folder?: string;
}

/** The gateway when there is one; its folder only when none runs. */
export async function openPlace(choice: PlaceChoice): Promise<StatePlace> {
  if (choice.folder !== undefined) return openFolder(choice.folder);
  const gateway = gatewayOf(choice);
  const folder = ownDataFolder(choice.data, choice.environment).state;
  const isElsewhere = choice.url !== undefined || choice.environment.ARGUS_URL !== undefined;
  if (gateway && (isElsewhere || (await isThere(gateway)))) return gatewayPlace(gateway);
  return openFolder(folder);
}

function gatewayOf(choice: PlaceChoice): ClientFile | undefined {
  try {
    return findGateway(choice);
  } catch (error) {
    if (error instanceof ArgusError && error.code === "NotFound") return undefined;
    throw error;
  }
}

async function isThere({ url }: ClientFile): Promise<boolean> {
  const answer = await fetch(`${url}/healthz`).catch(() => undefined);
  return answer?.ok ?? false;
}

function gatewayPlace(gateway: ClientFile): StatePlace {
  const at = (uid: string) => `${STATE_PATH}/${encodeURIComponent(uid)}`;
  return {
    name: `the gateway at ${gateway.url}`,
    knowsSessions: true,
    list: async () => StateList.parse(await (await call(gateway, "GET", STATE_PATH)).json()),
    read: async (uid) => StateDocument.parse(await (await call(gateway, "GET", at(uid))).json()),
    write: async (uid, wanted) => void (await call(gateway, "PUT", at(uid), wanted)),
    close: async () => {},
  };
}

async function openFolder(folder: string): Promise<StatePlace> {
  if (!existsSync(join(folder, "state.db"))) {
    const message = `no gateway answers, and ${folder} holds no state: give --url and --token, or --folder`;
    throw new ArgusError("NotFound", message);
  }
  return folderPlace(folder, await openUnheld(folder));
}

/** Throws `Unavailable` at once when a process has the file: it is the one to ask. */
async function openUnheld(folder: string): Promise<Store> {
  const stop = new AbortController();
  const onHeld = (holder: string) => {
    const message = `${folder} is held by ${holder}: ask that gateway with --url and --token, or stop it`;
    stop.abort(new ArgusError("Unavailable", message));
  };
  return openFileStore({ folder, onHeld }, stop.signal);
}

function folderPlace(folder: string, store: Store): StatePlace {
  return {
    name: folder,
    knowsSessions: false,
    list: async () => ({ documents: await store.list(), sessionsWithout: [] }),
    read: async (uid) => {
      const stored = await store.read(uid).catch(conflict);
      if (stored) return { uid, ...stored };
      throw new ArgusError("NotFound", `There is no document ${uid}.`);
    },
    write: (uid, wanted) => writeInto(store, uid, wanted),
    close: () => store.close(),
  };
}

function conflict(error: unknown): never {
  if (!(error instanceof UnreadableDocument)) throw error;
  throw new ArgusError("Conflict", error.message, error.facts);
}

async function writeInto(store: Store, uid: string, { body, replace }: StateWrite): Promise<void> {
  const { name } = summaryOf(uid, body);
  if (!(await isFree(store, uid))) demandReplace(replace, name);
  await store.overwrite(uid, uid === GATEWAY_UID ? await gatewayBody(store, body) : body);
}

async function gatewayBody(store: Store, body: unknown) {
  const backup = understood(GATEWAY_KIND, GATEWAY_UID, body);
  const stored = await store.read(GATEWAY_UID).catch(() => undefined);
  const current = stored && understood(GATEWAY_KIND, GATEWAY_UID, stored.body);
  return restoredGateway(current, backup);
}
