import { readFile } from "node:fs/promises";
import { z } from "zod";
import { httpUrl } from "../config.ts";

/** How an adapter reaches the gateway, part of its environment. */
export const gatewayAccess = {
  ARGUS_GATEWAY_URL: httpUrl()
    .default("http://127.0.0.1:8080")
    .meta({ description: "Base URL of the gateway" }),
  ARGUS_GATEWAY_TOKEN_FILE: z.string().optional().meta({
    description:
      "File with the token that the gateway knows adapters by; read again for each connection",
  }),
  ARGUS_TOKEN: z.string().optional().meta({
    description: "The admin token instead; or ARGUS_TOKEN_FILE",
  }),
};

/** The token that these settings name, read anew by each call. */
export async function gatewayToken({
  ARGUS_GATEWAY_TOKEN_FILE: file,
  ARGUS_TOKEN: token = "",
}: {
  ARGUS_GATEWAY_TOKEN_FILE?: string | undefined;
  ARGUS_TOKEN?: string | undefined;
}): Promise<string> {
  return file ? (await readFile(file, "utf8")).trim() : token;
}

/** Chats that an adapter serves at once. */
export const parallelChats = (fallback: number) =>
  z
    .string()
    .regex(/^([1-9]|[1-5]\d|6[0-4])$/, "give a number from 1 to 64")
    .default(String(fallback))
    .transform(Number)
    .meta({ description: "Chats that are served at once" });
