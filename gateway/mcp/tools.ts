import type { Tool } from "./tool.ts";
import { cron } from "./tools/cron.ts";
import { jobOutput } from "./tools/job-output.ts";
import { jobKill, jobList, jobWrite, nodeInvoke, nodesList } from "./tools/nodes.ts";
import { sendMessage } from "./tools/send-message.ts";
import { sessionStatus } from "./tools/session-status.ts";

/** In the order in which they are listed. */
export const TOOLS: readonly Tool[] = [
  nodesList,
  nodeInvoke,
  jobList,
  jobOutput,
  jobWrite,
  jobKill,
  cron,
  sessionStatus,
  sendMessage,
];
