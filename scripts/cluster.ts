import { resolve } from "node:path";
import { errorMessage } from "#lib/errors.ts";
import { ALL_PROGRAMS, buildPrograms, CONTROL_PLANE } from "#test/cluster/binaries.ts";
import { runningCluster, startCluster, stopCluster } from "#test/cluster/cluster.ts";

/** The project's own Kubernetes of one node, for tests: see docs/development.md. */
const USAGE = `npm run cluster -- <command>
  up                      build what is missing, start a Kubernetes of one node, say how to use it
  down                    stop it and remove everything that it made
  status                  say whether it runs
  build [control-plane]   only build: everything, or what the API server alone needs
  images import FILE      load an OCI archive into the running node`;

const say = (line: string): void => console.error(line);

async function up(): Promise<void> {
  await buildPrograms(ALL_PROGRAMS, say);
  const running = await runningCluster();
  say(running ? "it runs already" : "starting");
  const { kubeconfig, own } = running ?? (await startCluster());
  say(`folder ${own?.folder}, stop it with: npm run cluster -- down`);
  console.log(`export KUBECONFIG=${kubeconfig}`);
}

async function status(): Promise<void> {
  const running = await runningCluster();
  if (!running) {
    say("it does not run");
    process.exitCode = 1;
    return;
  }
  console.log(`export KUBECONFIG=${running.kubeconfig}`);
}

async function importArchive(file: string): Promise<void> {
  const running = await runningCluster();
  if (!running?.own) throw new Error("it does not run: npm run cluster -- up");
  await running.own.importImages(resolve(file));
}

async function main([command, first, second]: string[]): Promise<void> {
  if (command === "up") return up();
  if (command === "down") return stopCluster();
  if (command === "status") return status();
  if (command === "build" && (!first || first === "control-plane")) {
    return buildPrograms(first ? CONTROL_PLANE : ALL_PROGRAMS, say);
  }
  if (command === "images" && first === "import" && second) return importArchive(second);
  say(USAGE);
  process.exitCode = 64;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  say(errorMessage(error));
  if (error instanceof Error && error.cause) say(errorMessage(error.cause));
  process.exitCode = 1;
}
