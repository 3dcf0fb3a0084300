import { crc32 } from "node:zlib";

/** Changes of several documents that were committed together. */
export interface LogRecord {
  /** Numbers have no gaps. */
  seq: number;
  /** Records before it were not needed any more when this one was written. */
  oldest: number;
  /** JSON: what the changes are. */
  docs: string;
  changes: Uint8Array;
  /** Where it lies in its file. */
  start: number;
  end: number;
}

/** Its first byte occurs in no UTF-8 text, so no text that people send is taken for a record. */
const MAGIC = Buffer.from([0xff, 0xa6, 0x0d, 0x01]);
/** Magic, seq, oldest, bytes of docs, bytes of changes, checksum of all this and of docs. */
const HEADER_BYTES = 32;
const AT = { seq: 4, oldest: 12, docs: 20, changes: 24, checksum: 28 };

/** What is written before the changes. They have checksums of their own, in `docs`. */
export function headerOf(record: Pick<LogRecord, "seq" | "oldest" | "docs" | "changes">): Buffer {
  const docsBytes = Buffer.byteLength(record.docs);
  const header = Buffer.allocUnsafe(HEADER_BYTES + docsBytes);
  MAGIC.copy(header);
  header.writeDoubleLE(record.seq, AT.seq);
  header.writeDoubleLE(record.oldest, AT.oldest);
  header.writeUInt32LE(docsBytes, AT.docs);
  header.writeUInt32LE(record.changes.length, AT.changes);
  header.write(record.docs, HEADER_BYTES);
  header.writeUInt32LE(checksum(header), AT.checksum);
  return header;
}

/** The records of a file whose header is as it was written, in the order in which they lie there; what lies between them is passed over. */
export function recordsIn(file: Buffer): LogRecord[] {
  const records: LogRecord[] = [];
  for (let at = file.indexOf(MAGIC); at >= 0; ) {
    const record = recordAt(file, at);
    if (record) records.push(record);
    at = file.indexOf(MAGIC, record ? record.end : at + 1);
  }
  return records;
}

function recordAt(file: Buffer, start: number): LogRecord | undefined {
  const docsStart = start + HEADER_BYTES;
  if (docsStart > file.length) return undefined;
  const docsEnd = docsStart + file.readUInt32LE(start + AT.docs);
  const end = docsEnd + file.readUInt32LE(start + AT.changes);
  if (end > file.length) return undefined;
  const header = file.subarray(start, docsEnd);
  if (header.readUInt32LE(AT.checksum) !== checksum(header)) return undefined;
  return {
    seq: header.readDoubleLE(AT.seq),
    oldest: header.readDoubleLE(AT.oldest),
    docs: file.toString("utf8", docsStart, docsEnd),
    changes: file.subarray(docsEnd, end),
    start,
    end,
  };
}

function checksum(header: Buffer): number {
  return crc32(header.subarray(HEADER_BYTES), crc32(header.subarray(0, AT.checksum)));
}
