import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT } from "./context.ts";

export const IMAGES = ["argus", "argus-runtime"] as const;
export type ImageName = (typeof IMAGES)[number];

const PACKAGES_OF: Record<ImageName, string> = {
  argus: "PACKAGES",
  "argus-runtime": "RUNTIME_PACKAGES",
};

/** What the Dockerfile wants of the base of one of its targets. */
export interface Base {
  /** Debian release. */
  suite: string;
  packages: string[];
}

export async function baseOf(image: ImageName): Promise<Base> {
  const text = await readFile(join(ROOT, "Dockerfile"), "utf8");
  const suite = /^ARG BASE=\S*debian:([a-z]+)/m.exec(text)?.[1];
  const packages = new RegExp(`^ARG ${PACKAGES_OF[image]}="([^"]+)"`, "m").exec(text)?.[1];
  if (!suite || !packages) throw new Error("the Dockerfile names no Debian base or no packages");
  return { suite, packages: packages.split(" ") };
}
