import type { IncomingMessage } from "node:http";
import { ApiError, badRequest } from "./answers.ts";
import { MAX_UPLOAD_BYTES } from "./files.ts";
import { Params, type Upload } from "./params.ts";

const MAX_BODY_BYTES = MAX_UPLOAD_BYTES + 1024 * 1024;

/** Reads the parameters of a call: query, JSON, form or multipart; a name in the body wins. */
export async function readParams(
  request: IncomingMessage,
  query: URLSearchParams,
): Promise<Params> {
  const values: Record<string, unknown> = Object.fromEntries(query);
  const body = await readBody(request);
  const type = request.headers["content-type"] ?? "";
  if (body.length === 0) return new Params(values);
  if (type.startsWith("application/json")) return new Params({ ...values, ...jsonBody(body) });
  const form = await formBody(body, type);
  const uploads = new Map<string, Upload>();
  for (const [name, value] of form) {
    if (typeof value === "string") values[name] = value;
    else uploads.set(name, await uploadOf(value));
  }
  return new Params(values, uploads);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > MAX_BODY_BYTES) throw new ApiError(413, "Request Entity Too Large");
  return Buffer.concat(chunks);
}

function jsonBody(body: Buffer): Record<string, unknown> {
  try {
    const value = JSON.parse(body.toString("utf8")) as unknown;
    if (typeof value === "object" && value) return value as Record<string, unknown>;
  } catch {
    // Refused below.
  }
  throw badRequest("can't parse JSON object");
}

async function formBody(body: Buffer, type: string): Promise<FormData> {
  try {
    const headers = { "content-type": type };
    return await new Response(new Uint8Array(body), { headers }).formData();
  } catch {
    throw badRequest("can't parse the request body");
  }
}

async function uploadOf(file: File): Promise<Upload> {
  return { name: file.name, mime: file.type, bytes: Buffer.from(await file.arrayBuffer()) };
}
