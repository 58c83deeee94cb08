/*
 * What the layers need of a logger; the daemon hands in pino. Fields first, then one sentence, as pino takes them.
 *
 * A field has the same name everywhere: `container` and `network` are names, `endpoint` is an id, `id` the full id of what
 * the line is about, `link` an interface, `err` what was thrown (or its text), `condition` a condition's id, `cause` what
 * was found in a repair.
 */

type LogLine = (fields: Readonly<Record<string, unknown>>, message: string) => void;

export interface Logger {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

/** Drops everything: for tests and tools. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};
