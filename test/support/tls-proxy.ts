import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { generate } from "selfsigned";
import { eventually } from "./eventually.ts";
import { freePort } from "./free-port.ts";

/** Whether haproxy is installed. */
export function hasProxy(): boolean {
  try {
    execFileSync("haproxy", ["-v"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

export interface TlsProxy {
  /** `https://localhost:<port>`. */
  url: string;
  /** What clients must trust, as PEM and as an environment of Node. */
  ca: string;
  env: { NODE_EXTRA_CA_CERTS: string };
  stop(): void;
}

/** Ends TLS on a free port, or on `port`, in front of `target` (`host:port`) and cuts connections that pass no byte for `idleSeconds`; its files lie in `folder`. */
export async function startTlsProxy(
  folder: string,
  { target, idleSeconds, ...at }: { target: string; idleSeconds: number; port?: number },
): Promise<TlsProxy> {
  const names = [{ type: 2 as const, value: "localhost" }];
  const { private: key, cert } = await generate([{ name: "commonName", value: "localhost" }], {
    extensions: [{ name: "subjectAltName", altNames: names }],
  });
  await writeFile(join(folder, "both.pem"), key + cert);
  await writeFile(join(folder, "ca.pem"), cert);
  const port = at.port ?? (await freePort());
  const config = `
defaults
  mode http
  timeout connect 5s
  timeout client ${idleSeconds}s
  timeout server ${idleSeconds}s
  timeout tunnel ${idleSeconds}s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${join(folder, "both.pem")}
  http-request set-header X-Forwarded-Proto https
  default_backend gateway
backend gateway
  server gateway ${target}
`;
  await writeFile(join(folder, "haproxy.cfg"), config);
  const child: ChildProcess = spawn("haproxy", ["-db", "-f", join(folder, "haproxy.cfg")], {
    stdio: "ignore",
  });
  await eventually("the proxy listens", () => reachable(port));
  return {
    url: `https://localhost:${port}`,
    ca: cert,
    env: { NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") },
    stop: () => void child.kill(),
  };
}

const reachable = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
