/** Whether random tests run at their full size. */
export const isFullProof = process.env.PROVE === "full";

/** Sizes of random tests: small by default so that they run often, full with PROVE=full. The size is printed. */
export function proofSize(small: number, full: number): number {
  const size = isFullProof ? full : small;
  console.info(`random cases: ${size}${size < full ? ` (PROVE=full runs ${full})` : ""}`);
  return size;
}

/** Figures of a proof, for the page that keeps them. */
export function proved(figures: string): void {
  console.info(`proof: ${figures}`);
}
