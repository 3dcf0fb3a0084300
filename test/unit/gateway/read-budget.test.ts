import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { BridgeConnection } from "#gateway/bridge-connection.ts";

const FULL_READ = 48 * 1024;
const READS = 200;

/** Reads that came without a turn of the event loop between them. */
async function longestRun(full: boolean): Promise<number> {
  const flood = Buffer.alloc(256 * 1024, "x");
  const server = createServer((socket) => {
    const write = () => {
      while (socket.write(flood));
    };
    socket.on("drain", write).on("error", () => undefined);
    socket.write('{"id":1,"result":{}}\n');
    write();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const connection = new BridgeConnection({ host: "127.0.0.1", port });
  await connection.ask("{}");
  const enough = Promise.withResolvers<void>();
  let reads = 0;
  let run = 0;
  let longest = 0;
  connection.start({
    wantsOwnBuffer: false,
    data: (chunk) => {
      // The first bytes came with the hello's answer; a short read ends the run by itself.
      if (chunk.length < FULL_READ) return { kept: false, full: false };
      if (run === 0) setImmediate(() => (run = 0));
      run += 1;
      longest = Math.max(longest, run);
      reads += 1;
      if (reads === READS) enough.resolve();
      // A socket that has taken everything drains at once, within the same callback of libuv.
      if (full) process.nextTick(() => connection.resume());
      return { kept: false, full };
    },
    writable: () => undefined,
    ended: () => enough.reject(new Error("the connection ended")),
  });
  await enough.promise;
  connection.destroy();
  server.close();
  return longest;
}

test("a flooding bridge brings one full read per turn of the loop", async () => {
  expect(await longestRun(false)).toBe(1);
});

test("also when its client is full and drains at once", async () => {
  expect(await longestRun(true)).toBe(1);
});
