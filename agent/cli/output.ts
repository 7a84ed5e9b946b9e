// How every listing is printed: a table for people, JSON or YAML for programs.
import { InvalidArgumentError, Option } from 'commander';
import { stringify } from 'yaml';

export type OutputFormat = 'table' | 'json' | 'yaml';

/** `-o, --output table|json|yaml`, as every listing has it. */
export function outputOption(): Option {
  return new Option('-o, --output <format>', 'table, json or yaml').default('table').argParser((text): OutputFormat => {
    if (text === 'table' || text === 'json' || text === 'yaml') return text;
    throw new InvalidArgumentError('It must be table, json or yaml.');
  });
}

/**
 * @param value - plain data, as programs get it
 * @param table - what people get; only called for the table format
 * @returns text that ends with a newline
 */
export function formatOutput(format: OutputFormat, value: unknown, table: () => string): string {
  if (format === 'json') return `${JSON.stringify(value, null, 2)}\n`;
  if (format === 'yaml') return stringify(value);
  const text = table();
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** Columns padded to their widest cell, two spaces apart, headings in capitals; no trailing blanks. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings.map((heading) => heading.toUpperCase()), ...rows];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return `${lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')}\n`;
}
