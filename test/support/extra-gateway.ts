import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ArgusUp } from "./argus-up.ts";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";
import { WsClient } from "./ws-client.ts";

const root = join(import.meta.dirname, "..", "..");

/** A second real `argus gateway` beside the one of `argus up`, on a state folder and a port of its own. */
export class ExtraGateway {
  readonly url: string;
  readonly #token: string;
  readonly #child: ChildProcess;

  static async start(up: ArgusUp, stateFolder: string): Promise<ExtraGateway> {
    const port = await freePort();
    const gateway = new ExtraGateway(up, stateFolder, port);
    await eventually(
      "the second gateway is ready",
      async () => (await fetch(`${gateway.url}/readyz`)).ok,
    );
    return gateway;
  }

  private constructor(up: ArgusUp, stateFolder: string, port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.#token = up.token;
    this.#child = spawn(join(root, "argus"), ["gateway"], {
      env: {
        PATH: process.env.PATH ?? "",
        HOME: up.data,
        KUBECONFIG: join(up.data, "private", "gateway.kubeconfig"),
        ARGUS_TOKEN: readFileSync(join(up.data, "private", "token"), "utf8").trim(),
        ARGUS_STATE_FOLDER: stateFolder,
        ARGUS_LISTEN: `127.0.0.1:${port}`,
        ARGUS_NAMESPACE: "default",
      },
      stdio: ["ignore", "ignore", "inherit"],
    });
  }

  async connect(query: Record<string, string>): Promise<WsClient> {
    return await WsClient.connect({ url: this.url, token: this.#token, query });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill("SIGTERM");
    await once(this.#child, "close");
  }
}
