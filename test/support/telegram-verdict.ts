import type { FakeTelegram } from "#test/fakes/telegram.ts";
import type { Books } from "./telegram-books.ts";
import type { Crowd, Said } from "./telegram-crowd.ts";

export interface Verdict {
  /** Broken promises, in words. */
  broken: string[];
  /** Answers that came twice, the second time marked. */
  twice: number;
  /** Answers that came once, marked: the first try had no effect. */
  onlyMarked: number;
  /** Parts of which neither try had an effect; each is on record as ambiguous. */
  given: number;
}

/** Judges what stands in the chats against what was said and what the gateway has on record. */
export function judge(crowd: Crowd, books: Books): Verdict {
  const verdict: Verdict = { broken: [], twice: 0, onlyMarked: 0, given: 0 };
  for (const said of crowd.all) judgeOne(said, crowd, books, verdict);
  for (const who of crowd.people) {
    const order = crowd.order(who);
    const sorted = order.toSorted((a, b) => a - b);
    if (order.join() !== sorted.join()) {
      verdict.broken.push(`order in chat ${who.id}: ${order.join()}`);
    }
  }
  return verdict;
}

function judgeOne(said: Said, crowd: Crowd, books: Books, verdict: Verdict): void {
  const name = `${said.kind} message ${said.number} of chat ${said.who.id}`;
  const delivery = books.deliveryOf(said.who.id, said.messageId);
  const { plain, marked, rest, restMarked } = crowd.seen(said);
  const parts =
    said.kind === "long"
      ? [
          [plain, marked],
          [rest, restMarked],
        ]
      : [[plain, marked]];
  if (!delivery) verdict.broken.push(`${name}: its answer is on no record`);
  if (delivery?.state === "dead") verdict.broken.push(`${name}: given up: ${delivery.reason}`);
  let missing = 0;
  for (const [unmarked = 0, again = 0] of parts) {
    if (unmarked > 1) verdict.broken.push(`${name}: ${unmarked} times without the mark`);
    if (again > 1) verdict.broken.push(`${name}: ${again} times with the mark`);
    if (unmarked + again === 0) missing += 1;
    if (unmarked > 0 && again > 0) verdict.twice += 1;
    if (unmarked === 0 && again > 0) verdict.onlyMarked += 1;
  }
  if (missing > (delivery?.unclear ?? 0)) {
    verdict.broken.push(
      `${name}: ${missing} parts lost, ${delivery?.unclear ?? 0} on record as ambiguous; ${crowd.history(said.who, delivery?.ref)}`,
    );
  }
  verdict.given += missing;
}

const SENDS = new Set(["sendMessage", "editMessageText"]);

/** Messages to a chat in a pause that Telegram had named for it. */
export function intoPauses({ calls }: Pick<FakeTelegram, "calls">): string[] {
  const until = new Map<unknown, number>();
  const found: string[] = [];
  for (const { method, params, atMs, fault, effect } of calls) {
    if (!SENDS.has(method)) continue;
    const chat = String(params.chat_id);
    const pause = until.get(chat) ?? 0;
    if (effect && atMs < pause) found.push(`${method} to ${chat} ${pause - atMs} ms too early`);
    if (fault && "retryAfter" in fault) until.set(chat, atMs + fault.retryAfter * 1000);
  }
  return found;
}
