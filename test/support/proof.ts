/** Sizes of random tests: small by default so that they run often, full with PROVE=full. The size is printed. */
export function proofSize(small: number, full: number): number {
  const size = process.env.PROVE === "full" ? full : small;
  console.info(`random cases: ${size}${size < full ? ` (PROVE=full runs ${full})` : ""}`);
  return size;
}
