import { GatewayDocument } from "#protocol/document.ts";
import type { Store } from "../store/store.ts";
import { type DocumentKind, StoredState } from "./document.ts";

/** Uid of the gateway document: no object of the API server has such a uid. */
export const GATEWAY_UID = "gateway";

/** State that belongs to no single session. */
export type GatewayState = StoredState<GatewayDocument>;

export const GATEWAY_KIND: DocumentKind<GatewayDocument> = {
  what: "The gateway document",
  schema: GatewayDocument,
  empty: GatewayDocument.parse({ schemaVersion: 1, epoch: 0, keys: [] }),
  history: { current: 1, migrations: [] },
};

export function openGatewayState(store: Store): Promise<GatewayState> {
  return StoredState.open(store, GATEWAY_UID, GATEWAY_KIND);
}
