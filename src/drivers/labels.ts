/*
 * Values of driver options as Docker's labels carry them, strictly, with Docker Engine 28's texts. Pure. Which labels a
 * driver has is its own matter.
 */
import { LinkspanError } from '../errors/linkspanError.ts';

export type Labels = Readonly<Record<string, string>>;

export function refuseLabel(label: string, value: string, why: string): never {
  throw new LinkspanError('driverOptionInvalid', `failed to parse ${label} value: ${value} (${why})`);
}

export function invalidOption(text: string): never {
  throw new LinkspanError('driverOptionInvalid', text);
}

/** What Go's strconv.ParseBool takes, and its error. */
export function parseBool(labels: Labels, label: string, whenAbsent: boolean): boolean {
  const value = labels[label];
  if (value === undefined) return whenAbsent;
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  return refuseLabel(label, value, `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`);
}

/** What Go's strconv.Atoi takes; undefined if it would not. */
export function parseInteger(value: string): number | undefined {
  return /^[+-]?\d{1,15}$/.test(value) ? Number(value) : undefined;
}
