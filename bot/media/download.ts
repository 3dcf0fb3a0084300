import { GrammyError } from "grammy";
import type { OpenFile } from "#channel/hand-in.ts";
import { ArgusError } from "#lib/errors.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";

const TELEGRAM = "https://api.telegram.org";

/** Opens files that people sent. Throws `NotFound`, `TooLarge` for what no second try changes; else the network's error, without the token. */
export function telegramFiles(
  api: TelegramApi,
  { botToken, apiRoot = TELEGRAM }: { botToken: string; apiRoot: string | undefined },
): OpenFile {
  return async ({ fileId, maxBytes }, signal) => {
    const { file_path: path, file_size: size = 0 } = await located(api, fileId, signal);
    if (size > maxBytes) throw tooLarge();
    if (path === undefined) throw gone();
    const url = `${apiRoot}/file/bot${botToken}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const { ok, status, body } = await fetch(url, { signal });
    if (status === 404) throw gone();
    if (!ok || !body) throw new ArgusError("Unavailable", `Telegram answered ${status}`);
    return within(body, maxBytes);
  };
}

async function located(api: TelegramApi, fileId: string, signal: AbortSignal) {
  try {
    return await api.getFile(fileId, grammySignal(signal));
  } catch (error) {
    if (!(error instanceof GrammyError) || error.error_code !== 400) throw error;
    throw /too big/i.test(error.description) ? tooLarge() : gone();
  }
}

async function* within(body: AsyncIterable<Uint8Array>, maxBytes: number) {
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > maxBytes) throw tooLarge();
    yield piece;
  }
}

function tooLarge(): ArgusError {
  return new ArgusError("TooLarge", "Telegram gives bots no files of more than 20 MB");
}

function gone(): ArgusError {
  return new ArgusError("NotFound", "Telegram does not have the file any more");
}
