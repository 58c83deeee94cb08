/*
 * `ls`-like output: rows of named columns through `--format` (table, table TEMPLATE, json, TEMPLATE) and `-q`.
 * The row's fields are functions, called only when shown: sizes and mounts cost.
 */
import { CliError } from '../cliError.ts';
import { compileTemplate } from '../template/evaluator.ts';
import { TemplateError } from '../template/lexer.ts';
import { formatValue, GoStruct, type GoValue } from '../template/values.ts';
import { alignColumns } from './columns.ts';
import { encodeGoJsonForHtml } from './goJson.ts';

export interface Listing<T> {
  /** Go's name of the row's type, for error texts: `*formatter.ContainerContext`. */
  readonly typeName: string;
  /** Column headers by field; a field without one keeps its name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Fields that `json` shows; the others exist for templates only. */
  readonly columns: Readonly<Record<string, (row: T) => GoValue>>;
  /** Methods with arguments: `.Label "a"`. */
  readonly methods?: Readonly<Record<string, (row: T, ...args: readonly GoValue[]) => GoValue>>;
  /** The template of the plain table. */
  readonly table: string;
  /** What an error text says before Go's own. */
  readonly errorPrefix?: string;
}

/** A row as a template sees it: `{{json .}}` shows its columns. */
export function structOf<T>(listing: Listing<T>, row: T): GoStruct {
  const fields = new Map<string, GoValue>();
  for (const name of Object.keys(listing.columns).sort())
    fields.set(name, () => listing.columns[name]?.(row));
  for (const [name, method] of Object.entries(listing.methods ?? {}))
    fields.set(name, (...args) => method(row, ...args));
  return new GoStruct(listing.typeName, fields, new Set(Object.keys(listing.columns)));
}

function headerStruct<T>(listing: Listing<T>): GoStruct {
  const names = [...Object.keys(listing.columns), ...Object.keys(listing.methods ?? {})];
  const fields = names.map((name): [string, GoValue] => [
    name,
    // The header of `.Label "com.x"` is the label's name.
    (...args) =>
      args.length > 0 ? headerOfLabel(formatValue(args[0])) : (listing.headers[name] ?? name.toUpperCase()),
  ]);
  return new GoStruct(listing.typeName, new Map(fields));
}

function headerOfLabel(name: string): string {
  const tail = name.split('.').at(-1) ?? name;
  return tail.replaceAll('-', ' ').replaceAll('_', ' ');
}

/** The `{{…}}` fields of a table's header row: values are column names, so functions on them do nothing. */
function formatHeader<T>(listing: Listing<T>, template: string): string {
  const plain = template.replace(/\{\{(?:-\s+)?\s*json\s+(\.\w+)\s*\}\}/g, '{{$1}}');
  return compileTemplate(plain).run(headerStruct(listing));
}

function unescapeTemplate(template: string): string {
  return template.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
}

/**
 * The text of `rows` in `format`: '' or 'table' for the plain table, 'table TEMPLATE', 'json', 'TEMPLATE'.
 * Throws CliError with Go's text for a template that does not fit.
 */
export function formatListing<T>(listing: Listing<T>, rows: readonly T[], format: string): string {
  const isTable = format === '' || format === 'table' || format.startsWith('table ');
  const own = format.replace(/^table\s*/, '');
  const template = unescapeTemplate(isTable ? own || listing.table : format.trim());
  if (format === 'json')
    return rows.map((row) => `${encodeGoJsonForHtml(structOf(listing, row))}\n`).join('');
  try {
    const compiled = compileTemplate(template);
    const lines = rows.map((row) => compiled.run(structOf(listing, row)));
    if (!isTable) return lines.map((line) => `${line}\n`).join('');
    return alignColumns([formatHeader(listing, template), ...lines].flatMap((line) => line.split('\n')))
      .map((line) => `${line}\n`)
      .join('');
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`${listing.errorPrefix ?? 'template parsing error'}: ${error.message}`);
  }
}

/** True if the template mentions the field: some fields need another request. */
export function usesField(format: string, name: string): boolean {
  return new RegExp(`\\.${name}\\b`).test(format);
}

/** Cuts to `length` characters, the last an ellipsis, as Docker's tables do. */
export function ellipsis(text: string, length: number): string {
  const characters = Array.from(text);
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join('')}…`;
}

/** Names of the functions that templates may use, for completion and documents. */

/** `a=b,c=d`, in the order of keys. */
export function formatLabels(labels: Readonly<Record<string, string>> | null | undefined): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',');
}
