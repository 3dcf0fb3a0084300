import { runEcho } from "#runtime/echo/echo.ts";

// The echo as a process of its own: node run-echo.ts HOME
await runEcho(
  process.stdin,
  process.stdout,
  { home: process.argv[2] ?? "" },
  new AbortController().signal,
);
