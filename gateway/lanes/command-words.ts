/** The command line as its writer meant it: without the shell that runs it, `bash -lc '…'`; a shell from an unusual place is shown. Pure. */
export function commandWords(line: string): string {
  const [, quoted] =
    /^(?:(?:\/usr)?(?:\/local)?\/bin\/)?(?:ba|da|z)?sh -l?c (.+)$/s.exec(line) ?? [];
  if (quoted === undefined) return line;
  const [, single] = /^'((?:[^']|'\\'')*)'$/s.exec(quoted) ?? [];
  const [, double] = /^"((?:[^"\\]|\\.)*)"$/s.exec(quoted) ?? [];
  if (single !== undefined) return single.replaceAll(`'\\''`, "'");
  if (double !== undefined) return double.replace(/\\(["$`\\])/g, "$1");
  return /^[^\s'"\\]+$/.test(quoted) ? quoted : line;
}
