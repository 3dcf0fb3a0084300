const table = (id: string) => `ffc40014${id}01${"00".repeat(16)}`;

/** A whole baseline JPEG: 8 × 8 grey pixels, Huffman tables of one code each. */
export const TINY_JPEG = Buffer.from(
  [
    "ffd8",
    `ffdb004300${"01".repeat(64)}`,
    "ffc0000b080008000801011100",
    table("00"),
    table("10"),
    "ffda0008010100003f00",
    "3f",
    "ffd9",
  ].join(""),
  "hex",
);
