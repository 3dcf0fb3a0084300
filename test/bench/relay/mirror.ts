// An app-server for checks: answers each request with its own params, out of order. Speaks JSON lines on stdio.
import { LineSplitter } from "#lib/lines.ts";
import { randomSource } from "./random-lines.ts";

const splitter = new LineSplitter({ maxBytes: 4 << 20, onOverflow: "stop" });
const random = randomSource(7);
const waiting: string[] = [];

process.stdin.on("data", (chunk: Buffer) => {
  for (const line of splitter.push(chunk).lines) {
    const { id, method, params } = JSON.parse(line.toString()) as Record<string, unknown>;
    if (id === undefined || method === undefined) continue;
    const result = { userAgent: "mirror", data: [], params: params ?? null, id: "nested" };
    const answers = [
      JSON.stringify({ id, result }),
      JSON.stringify({ result, id }),
      `{ "result" : ${JSON.stringify(result)} , "id" : ${JSON.stringify(id)} }`,
    ];
    waiting.push(answers[Math.floor(random() * answers.length)] ?? "");
  }
  setImmediate(() => {
    while (waiting.length > 0) {
      const [answer] = waiting.splice(Math.floor(random() * waiting.length), 1);
      process.stdout.write(`${answer}\n`);
    }
  });
});
process.stdin.on("end", () => process.exit(0));
