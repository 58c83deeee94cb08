/*
 * `inspect` output: the objects as one indented JSON array, or one template over each. Templates see typed values
 * first (a missing map key is "no value") and, where a field is unknown, plain JSON (a missing key is an error), as in
 * Docker; so an unknown field fails and an optional one does not.
 */
import { CliError, silentExit } from './cliError.ts';
import type { Io } from './io.ts';
import { dockerShape } from './template/dockerShape.ts';
import { compileTemplate, type Template } from './template/evaluator.ts';
import { TemplateError } from './template/lexer.ts';
import { type GoShape, toTyped, toUntyped } from './template/values.ts';
import { indentJson, parseJson } from './text/goJson.ts';

/** Shared by every `inspect` flag table. */
export const formatUsage =
  "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/** As what templates see the objects. */
export interface InspectView {
  /** Go's name of their type, for error texts. */
  readonly typeName: string;
  readonly shape: GoShape;
  /** True: a field that the type has not is an error, whatever the daemon sent. */
  readonly isTypedOnly: boolean;
}

const plainView: InspectView = { typeName: 'inspect', shape: dockerShape, isTypedOnly: false };

function compile(format: string): Template {
  try {
    return compileTemplate(format === 'json' ? '{{json .}}' : format);
  } catch (error) {
    if (error instanceof TemplateError) throw new CliError(`template parsing error: ${error.message}`);
    throw error;
  }
}

function runTemplate(template: Template, json: unknown, view: InspectView): string {
  try {
    return template.run(toTyped(json, view.shape, view.typeName));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    if (view.isTypedOnly) throw new CliError(`template parsing error: ${error.message}`);
  }
  try {
    return template.run(toUntyped(json), { failsOnMissingKey: true });
  } catch (error) {
    if (error instanceof TemplateError) throw new CliError(`template parsing error: ${error.message}`);
    throw error;
  }
}

/**
 * Fetches each name's JSON, prints what was found (as one array, or through the template), then the failures; exit
 * code 1 if any failed.
 */
export async function inspectAll(
  io: Io,
  names: readonly string[],
  format: string,
  fetch: (name: string) => Promise<string>,
  view: InspectView = plainView,
): Promise<void> {
  const template = format === '' ? undefined : compile(format);
  const shown: string[] = [];
  const failures: string[] = [];
  for (const name of names) {
    try {
      const text = (await fetch(name)).trim();
      shown.push(template === undefined ? text : runTemplate(template, parseJson(text), view));
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures.push(error.message);
    }
  }
  // Docker ends the output with a newline even when a template had nothing to show.
  if (template !== undefined) io.out(`${shown.join('\n')}\n`);
  else io.out(`${shown.length === 0 ? '[]' : indentJson(`[${shown.join(',')}]`)}\n`);
  if (failures.length === 0) return;
  io.err(`${failures.join('\n')}\n`);
  throw silentExit(1);
}
