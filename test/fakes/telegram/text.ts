import { ApiError, badRequest } from "./answers.ts";
import { isInvisible, showText } from "./entities.ts";
import { type Entity, EntityError, parseHtml } from "./html.ts";
import type { Params } from "./params.ts";

export interface ShownContent {
  text: string;
  entities: Entity[];
  source: string;
}

export const MAX_TEXT_UNITS = 4096;
export const MAX_CAPTION_UNITS = 1024;
/** Of the parameter, markup included. */
const MAX_SOURCE_BYTES = 32_768;

/** What a message's text becomes; throws the refusal that Telegram would answer. */
export function messageText(params: Params): ShownContent {
  const source = params.text("text");
  if (source === "") throw badRequest("message text is empty");
  const shown = formatted(source, params, "entities");
  if (isInvisible(shown.text)) throw badRequest("text must be non-empty");
  if (shown.text.length > MAX_TEXT_UNITS) throw badRequest("message is too long");
  return shown;
}

export function caption(params: Params): ShownContent {
  const shown = formatted(params.text("caption"), params, "caption_entities");
  if (shown.text.length > MAX_CAPTION_UNITS) throw badRequest("message caption is too long");
  return shown;
}

function formatted(source: string, params: Params, entitiesName: string): ShownContent {
  if (Buffer.byteLength(source) > MAX_SOURCE_BYTES) throw badRequest("text is too long");
  if (!source.isWellFormed()) throw badRequest("strings must be encoded in UTF-8");
  const mode = params.text("parse_mode").toLowerCase();
  if (mode === "html") return { ...parsed(source), source };
  // The bots under test use HTML; to take Markdown as plain text would hide a mistake.
  if (mode && mode !== "none") throw badRequest("unsupported parse_mode");
  const given = params.json<Entity[]>(entitiesName) ?? [];
  const { text, entities } = showText(source, given);
  return { text, entities, source };
}

function parsed(source: string): { text: string; entities: Entity[] } {
  try {
    const raw = parseHtml(source);
    const { text, entities } = showText(raw.text, raw.entities);
    return { text, entities };
  } catch (error) {
    if (error instanceof EntityError) throw new ApiError(400, `Bad Request: ${error.message}`);
    throw error;
  }
}

interface Button {
  text?: string;
  callback_data?: string;
  url?: string;
}

/** The keyboard of a call, checked. */
export function replyMarkup(params: Params): Record<string, unknown> | undefined {
  const markup = params.json<Record<string, unknown>>("reply_markup");
  if (!markup) return undefined;
  if (typeof markup !== "object") throw badRequest("object expected as reply markup");
  const rows = markup.inline_keyboard as Button[][] | undefined;
  for (const button of rows?.flat() ?? []) checkButton(button);
  if (Buffer.byteLength(JSON.stringify(markup)) > 10_000) {
    throw badRequest("reply markup is too long");
  }
  return rows?.flat().length ? markup : undefined;
}

function checkButton({ text, callback_data: data, url }: Button): void {
  if (!text) throw badRequest("can't parse inline keyboard button: Text buttons are required");
  if (data === undefined && url === undefined) {
    throw badRequest(
      "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
    );
  }
  const bytes = Buffer.byteLength(data ?? "x");
  if (bytes < 1 || bytes > 64) throw badRequest("BUTTON_DATA_INVALID");
}
