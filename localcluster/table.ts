import { jsonPath } from "./json-path.ts";
import type { StoredObject } from "./object.ts";

export interface Column {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority?: number;
  /** The cell of one object. */
  value: (object: StoredObject, nowMs: number) => unknown;
}

export interface CustomColumn {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority?: number;
  jsonPath: string;
}

const SECOND_MS = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;
const YEAR_D = 365;

/** `5s`, `3m20s`, `42m`, `3h20m`, `20h`, `2d3h`, `100d`, `3y40d`: as kubectl shows an age. */
export function shortDuration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / SECOND_MS));
  const m = Math.floor(s / MINUTE_S);
  const h = Math.floor(s / HOUR_S);
  const d = Math.floor(s / DAY_S);
  const two = (a: number, x: string, b: number, y: string) =>
    b > 0 ? `${a}${x}${b}${y}` : `${a}${x}`;
  if (s < 2 * MINUTE_S) return `${s}s`;
  if (m < 10) return two(m, "m", s % MINUTE_S, "s");
  if (m < 180) return `${m}m`;
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return `${h}h`;
  if (d < 8) return two(d, "d", h % 24, "h");
  if (d < 2 * YEAR_D) return `${d}d`;
  return two(Math.floor(d / YEAR_D), "y", d < 8 * YEAR_D ? d % YEAR_D : 0, "d");
}

/** How long ago a timestamp was, or `<unknown>`. */
export function age(time: unknown, nowMs: number): string {
  const then = typeof time === "string" ? Date.parse(time) : Number.NaN;
  return Number.isNaN(then) ? "<unknown>" : shortDuration(nowMs - then);
}

export const NAME_COLUMN: Column = {
  name: "Name",
  type: "string",
  format: "name",
  value: ({ metadata }) => metadata.name,
};
export const AGE_COLUMN: Column = {
  name: "Age",
  type: "string",
  value: ({ metadata }, nowMs) => age(metadata.creationTimestamp, nowMs),
};

/** The columns of a custom resource: its name, then what its definition lists (age when it lists nothing). */
export function customColumns(columns: CustomColumn[] | undefined): Column[] {
  if (!columns?.length) return [NAME_COLUMN, AGE_COLUMN];
  return [NAME_COLUMN, ...columns.map(customColumn)];
}

function customColumn({ jsonPath: path, ...column }: CustomColumn): Column {
  const find = jsonPath(path);
  return {
    ...column,
    value: (object, nowMs) => {
      const [found] = find(object);
      if (found === undefined || found === null) return null;
      if (column.type === "date") return age(found, nowMs);
      return typeof found === "object" ? JSON.stringify(found) : cellOf(found, column.type);
    },
  };
}

const cellOf = (value: unknown, type: string) => (type === "string" ? String(value) : value);

export interface TableOptions {
  columns: Column[];
  nowMs: number;
  /** `includeObject`: None, Metadata (the default) or Object. */
  include: string | null;
  /** Of the list, or of the one object. */
  metadata: object;
  /** Column definitions travel with the first table of a watch only. */
  withColumns?: boolean;
}

/** A meta.k8s.io/v1 Table of these objects. */
export function tableOf(objects: StoredObject[], options: TableOptions) {
  const { columns, nowMs, include, metadata, withColumns = true } = options;
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: withColumns ? columns.map(columnDefinition) : null,
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.value(object, nowMs)),
      object: included(object, include),
    })),
  };
}

const columnDefinition = ({ name, type, format, description, priority }: Column) => ({
  name,
  type,
  format: format ?? "",
  description: description ?? "",
  priority: priority ?? 0,
});

function included(object: StoredObject, include: string | null) {
  if (include === "None") return null;
  if (include === "Object") return object;
  return partialMetadata(object);
}

export const partialMetadata = ({ metadata }: StoredObject) => ({
  kind: "PartialObjectMetadata",
  apiVersion: "meta.k8s.io/v1",
  metadata,
});
