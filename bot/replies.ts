import { remember } from "#lib/remember.ts";

/** Messages whose answer shows what it answers. */
const MAX_ASKED = 10_000;

/** In a group an answer quotes the message that it answers, so that everybody sees whom it is for. A comfort: a new process knows no old ones. */
export class Replies {
  /** Input at the gateway → message in its chat. */
  readonly #asked = new Map<string, number>();

  note(inputId: string, { isGroup, messageId }: { isGroup: boolean; messageId: number }): void {
    if (isGroup) remember(this.#asked, inputId, messageId, MAX_ASKED);
  }

  /** For the first message that answers it. */
  to(inputId: string | null) {
    const message = this.#asked.get(inputId ?? "");
    if (message === undefined) return {};
    return { reply_parameters: { message_id: message, allow_sending_without_reply: true } };
  }
}
