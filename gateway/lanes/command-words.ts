/** The command line as its writer meant it: without the shell that runs it, `bash -lc '…'`. Pure. */
export function commandWords(line: string): string {
  const [, quoted] = /^(?:\S*\/)?(?:ba|da|z)?sh -l?c (.+)$/s.exec(line) ?? [];
  if (quoted === undefined) return line;
  const [, single] = /^'([^']*)'$/s.exec(quoted) ?? [];
  const [, double] = /^"((?:[^"\\]|\\.)*)"$/s.exec(quoted) ?? [];
  if (single !== undefined) return single;
  if (double !== undefined) return double.replace(/\\(["$`\\])/g, "$1");
  return /^[^\s'"\\]+$/.test(quoted) ? quoted : line;
}
