import { expect, test } from "vitest";
import { commandWords } from "#gateway/lanes/command-words.ts";

test.each([
  ["/usr/bin/bash -lc 'sleep 4321'", "sleep 4321"],
  ["bash -lc ls", "ls"],
  [`/bin/zsh -lc "echo 'a' \\"b\\" \\$HOME"`, `echo 'a' "b" $HOME`],
  ["sh -c 'make\ntest'", "make\ntest"],
  ["make test", "make test"],
  ["bash script.sh", "bash script.sh"],
  [`bash -lc 'it'"'"'s'`, `bash -lc 'it'"'"'s'`],
  [`/bin/bash -lc 'rm -rf /it'\\''s'`, "rm -rf /it's"],
  ["/tmp/evil/bash -lc ls", "/tmp/evil/bash -lc ls"],
  ["bash -lc two words", "bash -lc two words"],
])("%s is shown as %s", (line, shown) => {
  expect(commandWords(line)).toBe(shown);
});
