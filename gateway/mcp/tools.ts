import type { Tool } from "./tool.ts";
import { cron } from "./tools/cron.ts";
import { sendMessage } from "./tools/send-message.ts";
import { sessionStatus } from "./tools/session-status.ts";

/** In the order in which they are listed. */
export const TOOLS: readonly Tool[] = [sessionStatus, sendMessage, cron];
