import type { Source } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { isSame } from "./threads.ts";

/** A chat has another key from now on: whatever waits for it, or may be tried again there, goes along. Pure; the same document when nothing does. */
export function moveChat(before: SessionDocument, from: Source, to: Source): SessionDocument {
  const moved = <K extends string, E extends { [key in K]: Source | null }>(list: E[], key: K) => {
    const isHere = (each: E) => each[key] !== null && isSame(each[key], from);
    return list.some(isHere)
      ? list.map((each) => (isHere(each) ? { ...each, [key]: to } : each))
      : list;
  };
  const home = before.home && isSame(before.home, from) ? to : before.home;
  const after = {
    home,
    inputs: moved(before.inputs, "source"),
    deliveries: moved(before.deliveries, "target"),
    asks: moved(before.asks, "target"),
    ended: moved(before.ended, "source"),
  };
  const isChanged = Object.entries(after).some(
    ([name, value]) => before[name as keyof typeof after] !== value,
  );
  return isChanged ? { ...before, ...after } : before;
}
