import { badRequest } from "./answers.ts";

export interface Upload {
  name: string;
  mime: string;
  bytes: Buffer;
}

/** Parameters of a call, however they came: JSON, a form, multipart, the query. */
export class Params {
  readonly values: Record<string, unknown>;
  readonly uploads: Map<string, Upload>;

  constructor(values: Record<string, unknown>, uploads = new Map<string, Upload>()) {
    this.values = values;
    this.uploads = uploads;
  }

  text(name: string): string {
    const value = this.values[name];
    if (value === undefined || value === null) return "";
    return typeof value === "string" ? value : JSON.stringify(value);
  }

  int(name: string): number | undefined {
    const value = Number.parseInt(this.text(name), 10);
    return Number.isSafeInteger(value) ? value : undefined;
  }

  flag(name: string): boolean {
    return /^(?:true|yes|1)$/i.test(this.text(name));
  }

  /** An object or list, given as such or as its JSON. */
  json<T>(name: string): T | undefined {
    const value = this.values[name];
    if (value === undefined || value === null || value === "") return undefined;
    if (typeof value !== "string") return value as T;
    try {
      return JSON.parse(value) as T;
    } catch {
      throw badRequest(`can't parse ${name.replaceAll("_", " ")} JSON object`);
    }
  }

  /** The upload that a file parameter means: sent under its name, or as `attach://<name>`. */
  upload(name: string): Upload | undefined {
    const attached = /^attach:\/\/(.+)$/.exec(this.text(name))?.[1];
    return this.uploads.get(attached ?? name);
  }
}
