import { SessionDocument } from "#protocol/session-document.ts";
import type { Store } from "../store/store.ts";
import { StoredState } from "./document.ts";

export type SessionState = StoredState<SessionDocument>;

/** The document of the session object `uid`; `name` is only written down for people. */
export function openSessionState(store: Store, uid: string, name: string): Promise<SessionState> {
  return StoredState.open(store, uid, {
    what: `The document of session ${name}`,
    schema: SessionDocument,
    empty: { schemaVersion: 1, name, mainThread: null, inputs: [], ended: [] },
    history: { current: 1, migrations: [] },
  });
}
