/*
 * One line of comma-separated values with double quotes, as `--mount` and `--network` take them (RFC 4180). Pure.
 */

/** The fields of `text`. A quote inside quotes is doubled. */
export function splitCsv(text: string): string[] {
  const fields: string[] = [];
  let field = '';
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? '';
    if (c === '"' && isQuoted && text[i + 1] === '"') {
      field += '"';
      i++;
    } else if (c === '"') isQuoted = !isQuoted;
    else if (c === ',' && !isQuoted) {
      fields.push(field);
      field = '';
    } else field += c;
  }
  return [...fields, field];
}
