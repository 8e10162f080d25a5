/** Tables for terminals and files. */

/** One column. */
export interface Column {
  readonly heading: string;
  /** A number is set flush right. */
  readonly isNumber?: boolean;
}

/**
 * Lines of a table with its headings: each column as wide as its widest cell,
 * the last one as wide as it is.
 */
export function tableLines(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string[] {
  const widths = columns.map(({ heading }, at) =>
    Math.max(heading.length, ...rows.map((row) => row[at].length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, at) => {
      if (at === cells.length - 1) return cell;
      return columns[at].isNumber === true
        ? cell.padStart(widths[at])
        : cell.padEnd(widths[at]);
    }).join("  ").trimEnd();
  return [line(columns.map(({ heading }) => heading)), ...rows.map(line)];
}
