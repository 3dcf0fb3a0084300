import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A disk of its own in memory, to be filled up or made read-only. Needs root. */
export class SmallDisk {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Why there can be none here; undefined = there can. */
  static whyNot(): string | undefined {
    try {
      new SmallDisk(mkdtempSync(join(tmpdir(), "argus-disk-"))).#mount("size=1m").remove();
      return undefined;
    } catch {
      return "mounting needs root";
    }
  }

  static make(mib: number): SmallDisk {
    return new SmallDisk(mkdtempSync(join(tmpdir(), "argus-disk-"))).#mount(`size=${mib}m`);
  }

  /** Another size, fuller or emptier than before. */
  resize(mib: number): void {
    execFileSync("mount", ["-o", `remount,size=${mib}m`, this.folder]);
  }

  readOnly(): void {
    execFileSync("mount", ["-o", "remount,ro", this.folder]);
  }

  writable(): void {
    execFileSync("mount", ["-o", "remount,rw", this.folder]);
  }

  remove(): void {
    execFileSync("umount", [this.folder], { stdio: "ignore" });
    rmSync(this.folder, { recursive: true });
  }

  #mount(options: string): this {
    try {
      const words = ["-t", "tmpfs", "-o", options, "tmpfs", this.folder];
      execFileSync("mount", words, { stdio: "ignore" });
    } catch (error) {
      rmSync(this.folder, { recursive: true });
      throw error;
    }
    return this;
  }
}
