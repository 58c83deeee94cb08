/*
 * A body of JSON values one after another (progress, events), split into texts. Values are separated by newlines
 * or by nothing at all, so the split counts braces outside strings. Pure but for the source.
 */

/** Yields the text of each JSON object. Throws if the body ends inside one. */
export async function* jsonTexts(body: AsyncIterable<Buffer>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let pending = '';
  for await (const piece of body) {
    pending += decoder.decode(piece, { stream: true });
    for (let end = endOfObject(pending); end > 0; end = endOfObject(pending)) {
      yield pending.slice(0, end).trim();
      pending = pending.slice(end);
    }
  }
  if (pending.trim() !== '') throw new Error('unexpected EOF');
}

/** The index just after the first complete object in `text`, or 0. */
export function endOfObject(text: string): number {
  let depth = 0;
  let isString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (isString) {
      if (c === '\\') i++;
      else if (c === '"') isString = false;
    } else if (c === '"') isString = true;
    else if (c === '{' || c === '[') depth++;
    else if ((c === '}' || c === ']') && --depth === 0) return i + 1;
  }
  return 0;
}
