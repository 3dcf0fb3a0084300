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
  ["bash -lc two words", "bash -lc two words"],
])("%s is shown as %s", (line, shown) => {
  expect(commandWords(line)).toBe(shown);
});
