/*
 * Sizes and durations in words, as Docker prints them: decimal sizes with four significant digits (`1.23MB`),
 * binary ones in `info` (`1.953GiB`), durations in the largest unit (`About a minute`). Pure.
 */

function humanSizeOf(bytes: number, base: number, units: readonly string[], precision: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${significant(value, precision)}${units[unit] ?? ''}`;
}

/** Go's %.Ng: at most N significant digits, no trailing zeros, exponent when it is at least N or below -4. */
export function significant(value: number, digits: number): string {
  if (value === 0) return '0';
  const exponent = Number(value.toExponential(digits - 1).split('e')[1]);
  if (exponent < -4 || exponent >= digits) {
    const [mantissa = '', exp = ''] = value.toExponential(digits - 1).split('e');
    const sign = exp.startsWith('-') ? '-' : '+';
    return `${trimZeros(mantissa)}e${sign}${exp.replace(/^[-+]/, '').padStart(2, '0')}`;
  }
  return trimZeros(value.toPrecision(digits));
}

function trimZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

const decimalUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];
const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB', 'ZiB', 'YiB'];

/** `1.234MB`: powers of 1000; `digits` significant digits (Docker: 4, in tables of images and containers 3). */
export function formatSize(bytes: number, digits = 4): string {
  return humanSizeOf(bytes, 1000, decimalUnits, digits);
}

/** `1.953GiB`: powers of 1024, four significant digits. */
export function formatBinarySize(bytes: number): string {
  return humanSizeOf(bytes, 1024, binaryUnits, 4);
}

/** Bytes in `64m`, `1.5g`, `100`, `10kb`, `1GiB` (powers of 1024); undefined if malformed. */
export function parseMemoryBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  if (match === null) return undefined;
  const power = ['', 'k', 'm', 'g', 't', 'p'].indexOf((match[2] ?? '').toLowerCase());
  return Math.trunc(Number(match[1]) * 1024 ** power);
}

/** `5 minutes`, `About an hour`, `Less than a second`: Docker's rounding. */
export function formatDuration(seconds: number): string {
  const s = Math.trunc(seconds);
  if (s < 1) return 'Less than a second';
  if (s === 1) return '1 second';
  if (s < 60) return `${s} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(seconds / 3600 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(seconds / 3600 / 24 / 365)} years`;
}
