/** What a benchmark says: the machine, goals with their limits, rows; as a table for people and an object for programs. */
import { cpus, release, totalmem } from 'node:os';

export type Goal = { name: string; value: number; limit: number; better: 'lower' | 'higher'; ok: boolean };
export type Row = Record<string, string | number>;
export type Report = {
  bench: string;
  machine: Record<string, string | number>;
  goals: Goal[];
  rows: Row[];
  /** Tables after the first, of what has other columns. */
  more?: { title: string; rows: Row[] }[];
};

const GIB = 1024 ** 3;

export function thisMachine(): Report['machine'] {
  const [first] = cpus();
  return {
    cpu: first?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / GIB),
    linux: release(),
    node: process.versions.node,
  };
}

/** A goal that is met when `value` is on the right side of `limit`. */
export function goal(name: string, value: number, limit: number, better: Goal['better']): Goal {
  const ok = better === 'lower' ? value <= limit : value >= limit;
  return { name, value: Math.round(value * 1_000) / 1_000, limit, better, ok };
}

export function missed(report: Report): Goal[] {
  return report.goals.filter((one) => !one.ok);
}

export function printReport(report: Report, json: boolean, print: (line: string) => void): void {
  print(
    Object.entries(report.machine)
      .map(([name, value]) => `${name} ${value}`)
      .join(', '),
  );
  for (const line of table(report.rows)) print(line);
  for (const { title, rows } of report.more ?? []) {
    print(`\n${title}`);
    for (const line of table(rows)) print(line);
  }
  for (const { name, value, limit, better, ok } of report.goals)
    print(
      `${ok ? 'met   ' : 'MISSED'} ${name}: ${value} (${better === 'lower' ? 'at most' : 'at least'} ${limit})`,
    );
  if (json) print(JSON.stringify(report));
}

/** Columns as wide as their widest cell, numbers to the right. */
export function table(rows: readonly Row[]): string[] {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value: string | number | undefined): string =>
    typeof value === 'number' ? value.toFixed(2) : (value ?? '');
  const widths = columns.map((column) =>
    Math.max(column.length, ...rows.map((row) => cell(row[column]).length)),
  );
  const line = (cells: string[], numeric: boolean[]): string =>
    cells
      .map((text, index) =>
        numeric[index] ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const numeric = columns.map((column) => rows.some((row) => typeof row[column] === 'number'));
  return [
    line(columns, numeric),
    ...rows.map((row) =>
      line(
        columns.map((column) => cell(row[column])),
        numeric,
      ),
    ),
  ];
}
