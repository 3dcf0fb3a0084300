import type { ServerResponse } from "node:http";

/** A finished answer, or one that is written while it is made. */
export type Reply =
  | { status: number; body: unknown; contentType?: string; warnings?: string[] }
  | { contentType: string; stream(response: ServerResponse): Promise<void> };

export const ok = (body: unknown): Reply => ({ status: 200, body });
export const created = (body: unknown): Reply => ({ status: 201, body });
export const plainText = (body: string): Reply => ({
  status: 200,
  body,
  contentType: "text/plain; charset=utf-8",
});
