import { ArgusError } from "#lib/errors.ts";

/** `https://gateway` and `ws://gateway/nodes/ws` mean the same place. */
export function nodesUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^(https?|wss?):$/.test(url.protocol))
    throw new ArgusError("InvalidInput", "the gateway's URL begins with https:// or wss://");
  const path = url.pathname.replace(/\/+$/, "");
  const full = path.endsWith("/nodes/ws") ? path : `${path}/nodes/ws`;
  return `${url.protocol.replace(/^http/, "ws")}//${url.host}${full}${url.search}`;
}
