import { readFileSync } from "node:fs";
import { z } from "zod";
import { ArgusError, isErrno } from "#lib/errors.ts";
import type { Environment } from "./config.ts";
import { ownDataFolder } from "./data-folder.ts";

/** What `argus up` leaves for the other commands of the same person. */
export const ClientFile = z.object({ url: z.string(), token: z.string() });
export type ClientFile = z.infer<typeof ClientFile>;

export interface ClientChoice {
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

/**
 * Where the gateway is and how to prove oneself: options, else ARGUS_URL and ARGUS_TOKEN, else what `argus up` wrote.
 * Throws NotFound with what to do when neither is there.
 */
export function findGateway(choice: ClientChoice): ClientFile {
  const { environment } = choice;
  const url = choice.url ?? environment.ARGUS_URL;
  const token = choice.token ?? environment.ARGUS_TOKEN;
  if (url && token) return { url: checkedUrl(url), token };
  const local = readClientFile(choice);
  // A token must not leave for an address that it was not made for.
  if (url && url !== local.url) {
    throw new ArgusError("InvalidInput", `no token for ${url}: give --token or set ARGUS_TOKEN`);
  }
  return { url: local.url, token: token ?? local.token };
}

function checkedUrl(url: string): string {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url.replace(/\/+$/, "");
  throw new ArgusError(
    "InvalidInput",
    `${url} is not an http(s) URL, for example http://127.0.0.1:8080`,
  );
}

function readClientFile({ data, environment }: ClientChoice): ClientFile {
  const path = ownDataFolder(data, environment).client;
  try {
    return ClientFile.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    if (isErrno(error, "EACCES")) {
      throw new ArgusError(
        "Forbidden",
        `${path} belongs to another user: run this as the user who started argus up`,
      );
    }
    throw new ArgusError(
      "NotFound",
      "no gateway known: start one with `./argus up`, or give --url and --token",
      { path },
    );
  }
}
