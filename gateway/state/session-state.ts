import { emptyDocument, SessionDocument } from "#protocol/session-document.ts";
import type { Store } from "../store/store.ts";
import { type DocumentKind, StoredState } from "./document.ts";
import { fromVersion1 } from "./version-1.ts";

export type SessionState = StoredState<SessionDocument>;

const HISTORY = { current: 2, migrations: [{ from: 1, to: 2, migrate: fromVersion1 }] };

export const sessionKind = (name: string): DocumentKind<SessionDocument> => ({
  what: `The document of session ${name}`,
  schema: SessionDocument,
  empty: emptyDocument(name),
  history: HISTORY,
});

/** The document of the session object `uid`; `name` is only written down for people. */
export function openSessionState(store: Store, uid: string, name: string): Promise<SessionState> {
  return StoredState.open(store, uid, sessionKind(name));
}
