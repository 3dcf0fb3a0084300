/** Where in Telegram something is said. */
export interface Place {
  chatId: number;
  /** Topic of a forum. */
  topic: number | undefined;
}

/** `<chat id>` or `<chat id>:<topic>`; undefined = not one of Telegram's. Pure. */
export function placeOf(chatKey: string): Place | undefined {
  const [, chat, topic] = /^(-?\d{1,16})(?::(\d{1,10}))?$/.exec(chatKey) ?? [];
  if (chat === undefined || Number(chat) === 0) return undefined;
  return { chatId: Number(chat), topic: topic === undefined ? undefined : Number(topic) };
}

/** For calls that send something there. */
export function inTopic({ topic }: Place): { message_thread_id?: number } {
  // The general topic is named by leaving it out.
  return topic === undefined || topic === 1 ? {} : { message_thread_id: topic };
}
