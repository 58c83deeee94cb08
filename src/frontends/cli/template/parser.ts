/*
 * Go templates as a tree: the subset that people use with `--format` (docs: pkg.go.dev/text/template). Pure.
 * Not here: define/template/block, complex numbers.
 */
import { lexTemplate, type Piece, TemplateError, type Token, type TokenKind } from './lexer.ts';

export type Operand =
  | { readonly type: 'literal'; readonly value: string | number | boolean | null }
  | { readonly type: 'dot' }
  | { readonly type: 'field'; readonly names: readonly string[]; readonly at: number }
  | {
      readonly type: 'variable';
      readonly name: string;
      readonly names: readonly string[];
      readonly at: number;
    }
  | { readonly type: 'function'; readonly name: string; readonly at: number }
  | {
      readonly type: 'pipeline';
      readonly pipeline: Pipeline;
      readonly names: readonly string[];
      readonly at: number;
    };

export interface Command {
  readonly operands: readonly [Operand, ...Operand[]];
  /** Source text, for error texts. */
  readonly source: string;
}

export interface Pipeline {
  readonly declares: readonly string[];
  readonly isAssign: boolean;
  readonly commands: readonly Command[];
}

export type Node =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'action'; readonly pipeline: Pipeline }
  | {
      readonly type: 'if' | 'with' | 'range';
      readonly pipeline: Pipeline;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    }
  | { readonly type: 'break' | 'continue' };

interface Source {
  readonly text: string;
  readonly pieces: readonly Piece[];
  readonly functionNames: ReadonlySet<string>;
  next: number;
}

function fail(source: Source, at: number, what: string): never {
  throw new TemplateError(`template: :${source.text.slice(0, at).split('\n').length}: ${what}`);
}

/** Reads the tokens of one action. */
class ActionParser {
  readonly #source: Source;
  readonly #tokens: readonly Token[];
  readonly #at: number;
  #next = 0;

  constructor(source: Source, tokens: readonly Token[], at: number) {
    this.#source = source;
    this.#tokens = tokens;
    this.#at = at;
  }

  #skipSpace(): void {
    while (this.#tokens[this.#next]?.kind === 'space') this.#next++;
  }

  #peek(kind: TokenKind): Token | undefined {
    const token = this.#tokens[this.#next];
    return token?.kind === kind ? token : undefined;
  }

  /** The keyword that the action starts with, consumed if it is one of `words`. */
  takeWord(words: readonly string[]): string | undefined {
    this.#skipSpace();
    const text = this.#peek('identifier')?.text;
    if (text === undefined || !words.includes(text)) return undefined;
    this.#next++;
    return text;
  }

  get isEmpty(): boolean {
    this.#skipSpace();
    return this.#next >= this.#tokens.length;
  }

  fail(what: string): never {
    return fail(this.#source, this.#at, what);
  }

  /** A pipeline up to the end of the action or to `)`. `context` names the construct in errors. */
  pipeline(context: string): Pipeline {
    const { declares, isAssign } = this.#declarations();
    const commands: Command[] = [];
    for (;;) {
      commands.push(this.#command(context));
      this.#skipSpace();
      if (this.#peek('pipe') === undefined) return { declares, isAssign, commands };
      this.#next++;
    }
  }

  #declarations(): { declares: string[]; isAssign: boolean } {
    const start = this.#next;
    const names: string[] = [];
    for (;;) {
      this.#skipSpace();
      const variable = this.#peek('variable');
      if (variable === undefined) break;
      names.push(variable.text);
      this.#next++;
      this.#skipSpace();
      if (this.#peek('comma') !== undefined) {
        this.#next++;
        continue;
      }
      const isAssign = this.#peek('assign') !== undefined;
      if (isAssign || this.#peek('declare') !== undefined) {
        this.#next++;
        return { declares: names, isAssign };
      }
      break;
    }
    this.#next = start;
    return { declares: [], isAssign: false };
  }

  #command(context: string): Command {
    const operands: Operand[] = [];
    this.#skipSpace();
    const from = this.#tokens[this.#next]?.at ?? 0;
    for (;;) {
      this.#skipSpace();
      const token = this.#tokens[this.#next];
      if (token === undefined || token.kind === 'pipe' || token.kind === 'close') break;
      operands.push(this.#operand(token, context));
    }
    const [first, ...rest] = operands;
    if (first === undefined) return this.fail(`missing value for ${context}`);
    const last = this.#tokens[this.#next - 1];
    const to = last === undefined ? from : last.at + last.text.length;
    return { operands: [first, ...rest], source: this.#source.text.slice(from, to).trim() };
  }

  /** The fields that follow an operand without a space, and where Go says the chain is. */
  #chain(): { names: string[]; at: number | undefined } {
    const names: string[] = [];
    let at: number | undefined;
    for (let token = this.#peek('field'); token !== undefined; token = this.#peek('field')) {
      at ??= token.at;
      names.push(token.text.slice(1));
      this.#next++;
    }
    return { names, at };
  }

  #operand(token: Token, context: string): Operand {
    this.#next++;
    switch (token.kind) {
      case 'field': {
        const { names, at } = this.#chain();
        return { type: 'field', names: [token.text.slice(1), ...names], at: at ?? token.at };
      }
      case 'variable': {
        const { names, at } = this.#chain();
        return { type: 'variable', name: token.text, names, at: at ?? token.at };
      }
      case 'dot':
        return { type: 'dot' };
      case 'string':
        return { type: 'literal', value: unquote(token.text) };
      case 'char':
        return { type: 'literal', value: unquote(`"${token.text.slice(1, -1)}"`).codePointAt(0) ?? 0 };
      case 'number':
        return { type: 'literal', value: Number(token.text.replaceAll('_', '')) };
      case 'identifier':
        return this.#identifier(token);
      case 'open': {
        const pipeline = this.pipeline('parenthesized pipeline');
        this.#skipSpace();
        if (this.#peek('close') === undefined) return this.fail('unclosed left paren');
        this.#next++;
        const { names, at } = this.#chain();
        return { type: 'pipeline', pipeline, names, at: at ?? token.at };
      }
      case 'assign':
      case 'close':
      case 'comma':
      case 'declare':
      case 'pipe':
      case 'space':
        return this.fail(`unexpected ${JSON.stringify(token.text)} in ${context}`);
    }
  }

  #identifier(token: Token): Operand {
    if (token.text === 'true' || token.text === 'false')
      return { type: 'literal', value: token.text === 'true' };
    if (token.text === 'nil') return { type: 'literal', value: null };
    if (!this.#source.functionNames.has(token.text))
      return fail(this.#source, token.at, `function ${JSON.stringify(token.text)} not defined`);
    return { type: 'function', name: token.text, at: token.at };
  }
}

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

/** The value of a quoted or backquoted Go string literal. */
export function unquote(literal: string): string {
  if (literal.startsWith('`')) return literal.slice(1, -1);
  return literal
    .slice(1, -1)
    .replace(/\\(x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|.)/g, (_all, code: string) =>
      code.length > 1 ? String.fromCodePoint(Number.parseInt(code.slice(1), 16)) : (escapes[code] ?? code),
    );
}

interface List {
  readonly nodes: Node[];
  /** What ended the list: undefined at the end of the template. */
  readonly ender: { readonly word: 'end' | 'else'; readonly parser: ActionParser } | undefined;
}

function parseList(source: Source): List {
  const nodes: Node[] = [];
  while (source.next < source.pieces.length) {
    const piece = source.pieces[source.next++];
    if (piece === undefined) break;
    if (piece.type === 'text') {
      nodes.push(piece);
      continue;
    }
    const parser = new ActionParser(source, piece.tokens, piece.at);
    const word = parser.takeWord(['if', 'with', 'range', 'end', 'else', 'break', 'continue']);
    if (word === 'end' || word === 'else') return { nodes, ender: { word, parser } };
    if (word === 'break' || word === 'continue') nodes.push({ type: word });
    else if (word === 'if' || word === 'with' || word === 'range')
      nodes.push(parseControl(source, word, parser));
    else {
      const pipeline = parser.pipeline('command');
      if (!parser.isEmpty) parser.fail('unexpected ")" in command');
      nodes.push({ type: 'action', pipeline });
    }
  }
  return { nodes, ender: undefined };
}

function parseControl(source: Source, type: 'if' | 'with' | 'range', parser: ActionParser): Node {
  const pipeline = parser.pipeline(type);
  const { nodes: body, ender } = parseList(source);
  if (ender === undefined) return fail(source, source.text.length, 'unexpected EOF');
  if (ender.word === 'end') return { type, pipeline, body, otherwise: [] };
  const again = ender.parser.takeWord(['if', 'with']);
  if (again === 'if' || again === 'with')
    return { type, pipeline, body, otherwise: [parseControl(source, again, ender.parser)] };
  const rest = parseList(source);
  if (rest.ender === undefined) return fail(source, source.text.length, 'unexpected EOF');
  if (rest.ender.word === 'else') return rest.ender.parser.fail('expected end; found {{else}}');
  return { type, pipeline, body, otherwise: rest.nodes };
}

/** Parses a template. Throws TemplateError with Go's text. */
export function parseTemplate(text: string, functionNames: ReadonlySet<string>): readonly Node[] {
  const source: Source = { text, pieces: lexTemplate(text), functionNames, next: 0 };
  const { nodes, ender } = parseList(source);
  if (ender !== undefined) ender.parser.fail(`unexpected {{${ender.word}}}`);
  return nodes;
}
