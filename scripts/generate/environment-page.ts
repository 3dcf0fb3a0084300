import { z } from "zod";
import { BridgeEnvironment } from "#cli/config/bridge.ts";
import { ControllerEnvironment } from "#cli/config/controller.ts";
import { EchoEnvironment } from "#cli/config/echo.ts";
import { GatewayEnvironment } from "#cli/config/gateway.ts";
import { TelegramEnvironment } from "#cli/config/telegram.ts";
import { ClientEnvironment, UpEnvironment } from "#cli/config/up.ts";
import { WebhookEnvironment } from "#cli/config/webhook.ts";
import { code, markdownTable } from "./markdown.ts";

const PROCESSES: [title: string, schema: z.ZodObject][] = [
  ["argus up", UpEnvironment],
  ["argus chat, sessions, apply, token", ClientEnvironment],
  ["argus gateway", GatewayEnvironment],
  ["argus controller", ControllerEnvironment],
  ["argus telegram", TelegramEnvironment],
  ["argus webhook", WebhookEnvironment],
  ["argus bridge", BridgeEnvironment],
  ["argus echo", EchoEnvironment],
];

/** All variables by process. An empty variable is an absent one. */
export function environmentPage(): string {
  const sections = PROCESSES.flatMap(([title, schema]) => ["", `## ${title}`, "", tableOf(schema)]);
  return [
    "# Environment",
    "",
    "Generated from `cli/config/*.ts` by `npm run generate`. An empty variable counts as absent; one message names every bad one.",
    "`HOME`, `XDG_DATA_HOME` and `PATH` mean what they mean everywhere.",
    ...sections,
    "",
  ].join("\n");
}

function tableOf(schema: z.ZodObject): string {
  const rows = Object.entries(schema.shape).map(([name, field]) => {
    const type = field as z.ZodType;
    return [code(name), defaultOf(type), type.meta()?.description ?? ""];
  });
  return markdownTable(["variable", "default", "meaning"], rows);
}

function defaultOf(type: z.ZodType): string {
  const absent = type.safeParse(undefined);
  if (!absent.success) return "**required**";
  const written = z.toJSONSchema(type, { io: "input", unrepresentable: "any" }).default;
  const shown = [written, absent.data].find((value) => typeof value === "string");
  return typeof shown === "string" ? code(shown) : "";
}
