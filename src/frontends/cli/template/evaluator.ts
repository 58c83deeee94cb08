/*
 * Runs a parsed Go template over a value. Errors carry Go's texts and positions, because scripts and users know them.
 * Pure: text out.
 */
import { templateFunctions, typeNameOf } from './functions.ts';
import { TemplateError } from './lexer.ts';
import { type Command, type Node, type Operand, type Pipeline, parseTemplate } from './parser.ts';
import { formatValue, GoStruct, type GoValue, isTruthy, sortedKeys } from './values.ts';

export interface TemplateOptions {
  /** Fail on a missing map key, in place of printing `<no value>`. */
  readonly failsOnMissingKey?: boolean;
}

interface Scope {
  readonly text: string;
  readonly options: TemplateOptions;
  /** Innermost last; assignment changes an existing one. */
  readonly variables: [string, GoValue][];
}

type Flow = 'next' | 'break' | 'continue';

const functionNames: ReadonlySet<string> = new Set([...Object.keys(templateFunctions), 'and', 'or']);

/** A template ready to run. */
export interface Template {
  /** The text for `dot`. Throws TemplateError. */
  readonly run: (dot: GoValue, options?: TemplateOptions) => string;
}

/** Parses `text`. Throws TemplateError. */
export function compileTemplate(text: string): Template {
  const nodes = parseTemplate(text, functionNames);
  return {
    run: (dot, options = {}) => {
      const out: string[] = [];
      walk(nodes, dot, { text, options, variables: [['$', dot]] }, out);
      return out.join('');
    },
  };
}

function fail(scope: Scope, at: number, source: string, what: string): never {
  const before = scope.text.slice(0, at);
  const line = before.split('\n').length;
  const column = Buffer.byteLength(before) - Buffer.byteLength(before.slice(0, before.lastIndexOf('\n') + 1));
  throw new TemplateError(`template: :${line}:${column}: executing "" at <${source}>: ${what}`);
}

function walk(nodes: readonly Node[], dot: GoValue, scope: Scope, out: string[]): Flow {
  const depth = scope.variables.length;
  for (const node of nodes) {
    const flow = walkNode(node, dot, scope, out);
    if (flow !== 'next') {
      scope.variables.length = depth;
      return flow;
    }
  }
  return 'next';
}

function walkNode(node: Node, dot: GoValue, scope: Scope, out: string[]): Flow {
  switch (node.type) {
    case 'text':
      out.push(node.text);
      return 'next';
    case 'action': {
      const value = evaluatePipeline(node.pipeline, dot, scope);
      if (node.pipeline.declares.length === 0) out.push(formatValue(value));
      return 'next';
    }
    case 'break':
    case 'continue':
      return node.type;
    case 'if':
    case 'with':
    case 'range':
      return walkControl(node, dot, scope, out);
  }
}

function walkControl(
  node: Extract<Node, { type: 'if' | 'with' | 'range' }>,
  dot: GoValue,
  scope: Scope,
  out: string[],
): Flow {
  const depth = scope.variables.length;
  const value = evaluatePipeline(node.pipeline, dot, scope);
  let flow: Flow = 'next';
  if (node.type === 'range') walkRange(node, value, dot, scope, out);
  else if (isTruthy(value)) flow = walk(node.body, node.type === 'with' ? value : dot, scope, out);
  else flow = walk(node.otherwise, dot, scope, out);
  scope.variables.length = depth;
  return flow;
}

function entriesOf(value: GoValue): [GoValue, GoValue][] | undefined {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value.map((item: GoValue, i) => [i, item]);
  if (typeof value === 'number') return Array.from({ length: value }, (_, i) => [i, i]);
  if (value instanceof Map) return sortedKeys(value).map((key) => [key, value.get(key) as GoValue]);
  return undefined;
}

function walkRange(
  node: Extract<Node, { type: 'if' | 'with' | 'range' }>,
  value: GoValue,
  dot: GoValue,
  scope: Scope,
  out: string[],
): void {
  const entries = entriesOf(value);
  if (entries === undefined) {
    const source = node.pipeline.commands[0]?.source ?? '';
    fail(scope, scope.text.indexOf(source), source, `range can't iterate over ${formatValue(value)}`);
  }
  if (entries.length === 0) {
    walk(node.otherwise, dot, scope, out);
    return;
  }
  const names = node.pipeline.declares;
  const depth = scope.variables.length;
  for (const [key, item] of entries) {
    scope.variables.length = depth;
    if (names.length === 1) setVariable(scope, names[0] ?? '', item, false);
    if (names.length === 2) {
      setVariable(scope, names[0] ?? '', key, false);
      setVariable(scope, names[1] ?? '', item, false);
    }
    if (walk(node.body, item, scope, out) === 'break') return;
  }
}

function setVariable(scope: Scope, name: string, value: GoValue, isAssign: boolean): void {
  const existing = isAssign ? scope.variables.findLast(([known]) => known === name) : undefined;
  if (existing === undefined) scope.variables.push([name, value]);
  else existing[1] = value;
}

function evaluatePipeline(pipeline: Pipeline, dot: GoValue, scope: Scope): GoValue {
  let value: GoValue;
  let hasValue = false;
  for (const command of pipeline.commands) {
    value = evaluateCommand(command, dot, scope, hasValue ? [value] : []);
    hasValue = true;
  }
  for (const name of pipeline.declares) setVariable(scope, name, value, pipeline.isAssign);
  return value;
}

function evaluateCommand(command: Command, dot: GoValue, scope: Scope, piped: readonly GoValue[]): GoValue {
  const [first, ...rest] = command.operands;
  if (first.type === 'function') return callFunction(first, rest, command, dot, scope, piped);
  const args = (): GoValue[] => [...rest.map((operand) => evaluateOperand(operand, dot, scope)), ...piped];
  const isField = first.type === 'field' || (first.type === 'variable' && first.names.length > 0);
  if (isField) return evaluateFields(first, dot, scope, args());
  if (rest.length + piped.length > 0) {
    const at = scope.text.indexOf(command.source);
    fail(scope, at, command.source, `can't give argument to non-function ${command.source}`);
  }
  return evaluateOperand(first, dot, scope);
}

function callFunction(
  operand: Extract<Operand, { type: 'function' }>,
  rest: readonly Operand[],
  command: Command,
  dot: GoValue,
  scope: Scope,
  piped: readonly GoValue[],
): GoValue {
  if (operand.name === 'and' || operand.name === 'or') {
    let value: GoValue;
    for (const each of rest) {
      value = evaluateOperand(each, dot, scope);
      if (isTruthy(value) === (operand.name === 'or')) return value;
    }
    return piped.length > 0 ? piped[0] : value;
  }
  const args = [...rest.map((each) => evaluateOperand(each, dot, scope)), ...piped];
  try {
    return templateFunctions[operand.name]?.(...args);
  } catch (error) {
    if (error instanceof TemplateError) throw error;
    return fail(scope, operand.at, command.source, error instanceof Error ? error.message : String(error));
  }
}

function evaluateOperand(operand: Operand, dot: GoValue, scope: Scope): GoValue {
  switch (operand.type) {
    case 'literal':
      return operand.value;
    case 'dot':
      return dot;
    case 'function':
      return callFunction(operand, [], { operands: [operand], source: operand.name }, dot, scope, []);
    case 'field':
    case 'variable':
    case 'pipeline':
      return evaluateFields(operand, dot, scope, []);
  }
}

type Chained = Extract<Operand, { type: 'field' | 'variable' | 'pipeline' }>;

function startOf(operand: Chained, dot: GoValue, scope: Scope): GoValue {
  if (operand.type === 'field') return dot;
  if (operand.type === 'pipeline') return evaluatePipeline(operand.pipeline, dot, scope);
  const variable = scope.variables.findLast(([name]) => name === operand.name);
  if (variable === undefined)
    throw new TemplateError(`template: :1: undefined variable ${JSON.stringify(operand.name)}`);
  return variable[1];
}

function evaluateFields(operand: Chained, dot: GoValue, scope: Scope, args: readonly GoValue[]): GoValue {
  let value = startOf(operand, dot, scope);
  operand.names.forEach((name, i) => {
    const isLast = i === operand.names.length - 1;
    value = fieldOf(value, name, operand, scope, isLast ? args : []);
  });
  return value;
}

function fieldOf(
  value: GoValue,
  name: string,
  operand: Chained,
  scope: Scope,
  args: readonly GoValue[],
): GoValue {
  const source = `${operand.type === 'variable' ? operand.name : ''}.${operand.names.join('.')}`;
  const report = (what: string): never => fail(scope, operand.at, source, what);
  if (value instanceof Map) {
    const key: unknown = value.get(name);
    if (key === undefined && scope.options.failsOnMissingKey === true && !value.has(name))
      report(`map has no entry for key ${JSON.stringify(name)}`);
    return key as GoValue;
  }
  if (value instanceof GoStruct) {
    if (!value.fields.has(name)) report(`can't evaluate field ${name} in type ${value.typeName}`);
    const field = value.fields.get(name);
    if (typeof field === 'function') return field(...args);
    if (args.length > 0) report(`${name} is not a method but has arguments`);
    return field;
  }
  if (value === undefined) return undefined;
  if (value === null) return report(`nil pointer evaluating interface {}.${name}`);
  return report(`can't evaluate field ${name} in type ${typeNameOf(value)}`);
}
