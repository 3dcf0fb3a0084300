import { connect } from "node:net";

/** Sends a line of 200 B, waits for its echo, pauses; after the time it prints all round trips as JSON, ms. */
const [port = "0", forMs = "0"] = process.argv.slice(2);
const PAUSE_MS = 1;
const line = `${"x".repeat(199)}\n`;
const socket = connect(Number(port), "127.0.0.1");
socket.setNoDelay(true);
const times: number[] = [];
let sentMs = 0;
let got = 0;
const endMs = performance.now() + Number(forMs);
const send = () => {
  if (performance.now() > endMs) {
    process.stdout.write(JSON.stringify(times));
    return socket.destroy();
  }
  got = 0;
  sentMs = performance.now();
  return socket.write(line);
};
socket.on("connect", send);
socket.on("data", (data) => {
  got += data.length;
  if (got < line.length) return;
  times.push(performance.now() - sentMs);
  setTimeout(send, PAUSE_MS);
});
