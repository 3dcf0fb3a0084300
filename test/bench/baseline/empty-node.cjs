// What Node itself takes for the parts that the gateway cannot do without: an HTTP server, a TLS client, SQLite in a thread.
const { Worker } = require("node:worker_threads");
const store = 'new (require("node:sqlite").DatabaseSync)(":memory:"); setInterval(() => {}, 1000);';
new Worker(store, { eval: true });
require("node:https")
  .get("https://127.0.0.1:9")
  .on("error", () => {});
require("node:http").createServer().listen(Number(process.argv[2]), "127.0.0.1");
