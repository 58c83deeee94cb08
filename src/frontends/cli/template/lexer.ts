/*
 * Splits a Go template into text and tokens. Pure. Positions are offsets into the template, used in error texts.
 */

export class TemplateError extends Error {}

export type TokenKind =
  | 'field'
  | 'variable'
  | 'identifier'
  | 'string'
  | 'char'
  | 'number'
  | 'dot'
  | 'pipe'
  | 'open'
  | 'close'
  | 'comma'
  | 'declare'
  | 'assign'
  | 'space';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly at: number;
}

export type Piece =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'action'; readonly tokens: readonly Token[]; readonly at: number };

const patterns: readonly (readonly [TokenKind, RegExp])[] = [
  ['space', /[ \t\r\n]+/y],
  ['string', /"(?:[^"\\\n]|\\.)*"|`[^`]*`/y],
  ['char', /'(?:[^'\\\n]|\\.)+'/y],
  ['number', /[-+]?(?:0x[\da-fA-F_]+|\d[\d_]*(?:\.\d+)?(?:e[-+]?\d+)?)/y],
  ['variable', /\$\w*/y],
  ['field', /\.[A-Za-z_]\w*/y],
  ['dot', /\./y],
  ['identifier', /[A-Za-z_]\w*/y],
  ['declare', /:=/y],
  ['assign', /=/y],
  ['pipe', /\|/y],
  ['open', /\(/y],
  ['close', /\)/y],
  ['comma', /,/y],
];

function lineOf(source: string, at: number): number {
  return source.slice(0, at).split('\n').length;
}

/** Tokens of an action from `start` up to its `}}`, and where that is. */
function lexAction(source: string, start: number): { tokens: Token[]; end: number; trimsAfter: boolean } {
  const tokens: Token[] = [];
  for (let at = start; at < source.length; ) {
    if (source.startsWith('}}', at)) return { tokens, end: at + 2, trimsAfter: false };
    const trim = /[ \t\r\n]+-\}\}/y;
    trim.lastIndex = at;
    const trimmed = trim.exec(source);
    if (trimmed !== null) return { tokens, end: at + trimmed[0].length, trimsAfter: true };
    const token = nextToken(source, at);
    tokens.push(token);
    at += token.text.length;
  }
  throw new TemplateError(`template: :${lineOf(source, start)}: unclosed action`);
}

function nextToken(source: string, at: number): Token {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text !== undefined) return { kind, text, at };
  }
  const c = source[at] ?? '';
  const what =
    c === '"'
      ? 'unterminated quoted string'
      : `unexpected ${JSON.stringify(c).replaceAll('"', "'")} in operand`;
  throw new TemplateError(`template: :${lineOf(source, at)}: ${what}`);
}

/** The pieces of a template in order; comments vanish, trim markers are applied. Throws TemplateError. */
export function lexTemplate(source: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimsNext = false;
  while (at <= source.length) {
    const open = source.indexOf('{{', at);
    let text = source.slice(at, open < 0 ? source.length : open);
    if (trimsNext) text = text.trimStart();
    const trimsBefore = open >= 0 && /^-[ \t\r\n]/.test(source.slice(open + 2, open + 4));
    if (trimsBefore) text = text.trimEnd();
    if (text !== '') pieces.push({ type: 'text', text });
    if (open < 0) return pieces;
    const start = open + (trimsBefore ? 3 : 2);
    const comment = /\s*\/\*[\s\S]*?\*\/(\s+-)?\}\}/y;
    comment.lastIndex = start;
    const skipped = comment.exec(source);
    if (skipped !== null) {
      at = start + skipped[0].length;
      trimsNext = skipped[1] !== undefined;
      continue;
    }
    const { tokens, end, trimsAfter } = lexAction(source, start);
    pieces.push({ type: 'action', tokens, at: open });
    at = end;
    trimsNext = trimsAfter;
  }
  return pieces;
}
