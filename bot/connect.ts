import { z } from "zod";
import { type Adapter, startAdapter } from "#channel/adapter.ts";
import type { Fence } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { CHANNEL, ShownResult } from "#protocol/channel.ts";
import { telegramFiles } from "./media/download.ts";
import { type BotOptions, CHANNEL_NAME } from "./options.ts";
import { telegramAsks } from "./outbound/asks.ts";
import { fencedBy } from "./outbound/fenced.ts";
import { FileSender } from "./outbound/files.ts";
import { Pace } from "./outbound/pace.ts";
import { heedPauses } from "./outbound/pauses.ts";
import { TelegramSender } from "./outbound/sender.ts";
import { Progress } from "./progress.ts";
import { Replies } from "./replies.ts";
import { FILE_SECONDS, type TelegramApi, telegramApi } from "./telegram-api.ts";

/** The ways out to Telegram, under one pace. */
interface Ways {
  api: TelegramApi;
  /** For what takes its time. */
  files: TelegramApi;
  pace: Pace;
}

type Ask = Adapter["ask"];

/** The way to the gateway and everything that shows what comes from there. */
export interface Connected {
  api: TelegramApi;
  adapter: Adapter;
  progress: Progress;
  pace: Pace;
  replies: Replies;
}

/** `fence`: until when Telegram may be talked to; undefined = nobody else does. */
export function connect(
  options: BotOptions,
  fence: Fence | undefined,
  signal: AbortSignal,
): Connected {
  const ways = waysOut(options, fence);
  const { api, pace } = ways;
  const replies = new Replies();
  const late: { adapter?: Adapter } = {};
  const ask: Ask = (method, params, result) => {
    if (!late.adapter) throw new ArgusError("Unavailable", "The bot starts.");
    return late.adapter.ask(method, params, result);
  };
  const { logger } = options;
  const progress = new Progress({ api, pace, replies, logger, shown: shownBy(ask) }, signal);
  const adapter = startAdapter(
    adapterOptions(options, { ...ways, replies, progress, ask }),
    signal,
  );
  late.adapter = adapter;
  return { api, adapter, progress, pace, replies };
}

function waysOut({ botToken, apiRoot }: BotOptions, fence: Fence | undefined): Ways {
  const pace = new Pace();
  const api = telegramApi(botToken, apiRoot);
  const files = telegramApi(botToken, apiRoot, FILE_SECONDS);
  for (const { config } of [api, files]) {
    // The last look before a request leaves is at the fence.
    if (fence) config.use(fencedBy(fence));
    config.use(heedPauses(pace));
  }
  return { api, files, pace };
}

function adapterOptions(
  options: BotOptions,
  parts: Ways & { replies: Replies; progress: Progress; ask: Ask },
): Parameters<typeof startAdapter>[0] {
  const { gatewayUrl, gatewayToken, parallel, logger } = options;
  const { api, pace, progress, ask } = parts;
  const onMoved = async (from: number, to: number) => {
    await ask(CHANNEL.moved, { from: String(from), to: String(to) }, z.unknown());
  };
  const onShown = ({ inputId }: { inputId: string | null }, chatId: number, message: number) =>
    progress.asked(inputId, chatId, message);
  return {
    gatewayUrl,
    token: gatewayToken,
    channel: CHANNEL_NAME,
    adapter: CHANNEL_NAME,
    sender: senderOf(parts, onMoved),
    parallel,
    logger,
    openFile: telegramFiles(api, options),
    showAsk: telegramAsks({ api, pace, onShown, onMoved }),
    onProgress: (notice) => progress.progress(notice),
    onEnded: (notice) => progress.ended(notice),
  };
}

function senderOf(
  {
    api,
    files,
    pace,
    replies,
    progress,
    ask,
  }: Ways & {
    replies: Replies;
    progress: Progress;
    ask: Ask;
  },
  onMoved: (from: number, to: number) => Promise<void>,
): TelegramSender {
  return new TelegramSender({
    api,
    pace,
    replies,
    files: new FileSender({ api: files, ask }),
    onBegun: (inputId) => progress.answered(inputId),
    onSent: (chatId, message) => progress.sent(chatId, message),
    onMoved,
  });
}

/** Tells the gateway which message shows a turn; whether it is kept for the answer. */
function shownBy(ask: Ask): ConstructorParameters<typeof Progress>[0]["shown"] {
  return async ({ chatKey, sessionId, inputId }, ref) => {
    const params = { chatKey, sessionId, inputId, ref };
    return (await ask(CHANNEL.shown, params, ShownResult)).kept;
  };
}
