import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { ArgusError } from "#lib/errors.ts";
import { wholeNumber } from "./listing.ts";
import type { LogOptions, LogSource } from "./logs.ts";
import { at, isFields, type StoredObject } from "./object.ts";
import type { Reply } from "./reply.ts";
import { ApiError, badRequest } from "./status.ts";

/** `GET …/pods/{name}/log`. Throws 400 before the first byte when there is nothing to read. */
export async function podLog(
  pod: StoredObject,
  query: URLSearchParams,
  logs: LogSource,
  signal: AbortSignal,
): Promise<Reply> {
  const { name, namespace = "", uid = "" } = pod.metadata;
  const options = logOptions(query, containerOf(pod, query));
  const chunks = logs.read({ namespace, name, uid }, options, signal)[Symbol.asyncIterator]();
  const first = options.follow ? undefined : await firstOf(chunks);
  return {
    contentType: "text/plain; charset=utf-8",
    stream: async (response) => {
      if (first) await writeAll(response, first);
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
        await writeAll(response, next.value);
      }
      response.end();
    },
  };
}

async function firstOf(chunks: AsyncIterator<Buffer>): Promise<Buffer | undefined> {
  try {
    const { done, value } = await chunks.next();
    return done ? undefined : value;
  } catch (error) {
    if (!(error instanceof ArgusError)) throw error;
    if (error.code === "NotFound") throw new ApiError(404, "NotFound", error.message);
    throw badRequest(error.message);
  }
}

/** Waits while the client reads slower than the log is read. */
async function writeAll(response: ServerResponse, chunk: Buffer): Promise<void> {
  if (response.destroyed || response.write(chunk)) return;
  await Promise.race([once(response, "drain"), once(response, "close")]);
}

function containerOf(pod: StoredObject, query: URLSearchParams): string {
  const names = ["initContainers", "containers"].flatMap((field) => {
    const list = at(pod, "spec", field);
    return Array.isArray(list) ? list.filter(isFields).map((each) => String(each.name)) : [];
  });
  const wanted = query.get("container");
  const { name } = pod.metadata;
  if (wanted) {
    if (names.includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const [only = "", ...others] = names;
  if (others.length === 0) return only;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${names.join(" ")}]`,
  );
}

function logOptions(query: URLSearchParams, container: string): LogOptions {
  const number = (name: string) => (query.has(name) ? { [name]: wholeNumber(query, name) } : {});
  return {
    container,
    follow: query.get("follow") === "true",
    previous: query.get("previous") === "true",
    timestamps: query.get("timestamps") === "true",
    ...number("tailLines"),
    ...number("sinceSeconds"),
    ...number("limitBytes"),
  };
}
