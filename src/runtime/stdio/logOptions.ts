/*
 * Log drivers and their options (`--log-driver`, `--log-opt`): checked with Docker's words, and what they mean for the
 * files that are written here. Pure.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

export interface LogConfig {
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
}

/** Docker's own, where nothing else is said. */
export const defaultLogConfig: LogConfig = { driver: 'json-file', options: {} };

/** How the files of a log are kept. */
export interface LogFileRules {
  /** A file that has this many bytes or more is followed by a new one. Absent = one file that grows. */
  readonly maxBytes?: number;
  /** Of one log, the one that is written included; at least 1. */
  readonly maxFiles: number;
  readonly compresses: boolean;
  /** Output that is no UTF-8 is kept as it is, in a form that only this engine reads. */
  readonly keepsBytes: boolean;
}

/** What an option may ask for beside each line. */
export interface LogSubject {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `NAME=value` */
  readonly env: readonly string[];
}

const everyDriver = ['mode', 'max-buffer-size'];
const extraKeys = ['labels', 'labels-regex', 'env', 'env-regex', 'tag'];
const fileKeys = ['max-size', 'max-file', 'compress'];

const drivers: Readonly<Record<string, readonly string[]>> = {
  'json-file': [...fileKeys, ...extraKeys],
  local: fileKeys,
  journald: extraKeys,
};

function isFileDriver(driver: string): boolean {
  return driver === 'json-file' || driver === 'local';
}

/** Docker has them, we have not. */
const absentDrivers = new Set('awslogs etwlogs fluentd gcplogs gelf logentries splunk syslog'.split(' '));

function refuse(message: string): never {
  throw new LinkspanError('containerConfigInvalid', message);
}

function refuseValue(message: string): never {
  return refuse(`failed to initialize logging driver: ${message}`);
}

const units = ['', 'k', 'm', 'g', 't', 'p'];

/** `10m`, `1.5 kB`: decimal or, as Docker takes memory, powers of 1024. */
function parseBytes(text: string, base: 1000 | 1024): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgtp])b?|b)?$/i.exec(text);
  return match === null
    ? undefined
    : Math.floor(Number(match[1]) * base ** units.indexOf((match[2] ?? '').toLowerCase()));
}

function parseSwitch(text: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  return refuseValue(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

/** Docker's, where `mode=non-blocking` names no size. */
const defaultBufferBytes = 1_000_000;

/**
 * Output that may wait for the log before lines are dropped; undefined where the process waits instead. Throws
 * containerConfigInvalid.
 */
export function logBufferBytes({ options }: LogConfig): number | undefined {
  if (options['mode'] !== 'non-blocking') return undefined;
  const { 'max-buffer-size': text } = options;
  const bytes = text === undefined ? defaultBufferBytes : parseBytes(text, 1024);
  return bytes ?? refuse(`error parsing option max-buffer-size: invalid size: '${text}'`);
}

/** Files of `config`; undefined for a driver that keeps none. Throws containerConfigInvalid with Docker's texts. */
export function logFileRules({ driver, options }: LogConfig): LogFileRules | undefined {
  if (!isFileDriver(driver)) return undefined;
  const isLocal = driver === 'local';
  const { 'max-size': size, 'max-file': files, compress } = options;
  const maxBytes = size === undefined ? (isLocal ? 20 * 1024 * 1024 : undefined) : parseBytes(size, 1000);
  if (size !== undefined && maxBytes === undefined) refuseValue(`invalid size: '${size}'`);
  if (maxBytes !== undefined && maxBytes <= 0) refuseValue('max-size must be a positive number');
  if (files !== undefined && !/^[+-]?\d+$/.test(files))
    refuseValue(`strconv.Atoi: parsing ${JSON.stringify(files)}: invalid syntax`);
  const maxFiles = files === undefined ? (isLocal ? 5 : 1) : Number(files);
  if (maxFiles < 1) refuseValue('max-file cannot be less than 1');
  const compresses = compress === undefined ? isLocal && maxFiles > 1 : parseSwitch(compress);
  if (compresses && (maxFiles < 2 || maxBytes === undefined))
    refuseValue('compress cannot be true when max-file is less than 2 or max-size is not set');
  return { ...(maxBytes !== undefined && { maxBytes }), maxFiles, compresses, keepsBytes: isLocal };
}

const tagWords: Readonly<Record<string, (subject: LogSubject) => string>> = {
  ID: ({ id }) => id.slice(0, 12),
  FullID: ({ id }) => id,
  Name: ({ name }) => name,
  ImageID: ({ imageId }) => imageId.replace(/^sha256:/, '').slice(0, 12),
  ImageFullID: ({ imageId }) => imageId,
  ImageName: ({ imageName }) => imageName,
  DaemonName: () => 'docker',
};

function formatTag(template: string, subject: LogSubject): string {
  return template.replace(/\{\{(.*?)(\}\}|$)/gs, (_all, inner: string, end: string) => {
    const word = tagWords[/^-? *\.(\w+) *-?$/.exec(inner)?.[1] ?? ''];
    if (end === '') refuseValue('template: log-tag:1: unclosed action');
    if (word === undefined)
      refuseValue(
        `template: log-tag: {{${inner}}} is none of ${Object.keys(tagWords)
          .map((name) => `{{.${name}}}`)
          .join(' ')}`,
      );
    return word(subject);
  });
}

function parsePattern(text: string | undefined): RegExp | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    return new RegExp(text);
  } catch (error) {
    return refuseValue(`error parsing regexp: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** `tag`, or `fallback` where that is absent or empty. Throws containerConfigInvalid. */
export function logTag({ options }: LogConfig, subject: LogSubject, fallback: string): string {
  const { tag = '' } = options;
  return formatTag(tag === '' ? fallback : tag, subject);
}

/** `labels`, `env` and their patterns: what each line has besides. Throws containerConfigInvalid. */
export function logExtras({ options }: LogConfig, subject: LogSubject): Readonly<Record<string, string>> {
  const pick = (kind: 'labels' | 'env', all: readonly (readonly [string, string])[]): typeof all => {
    const names = new Set((options[kind] ?? '').split(','));
    const pattern = parsePattern(options[`${kind}-regex`]);
    return all.filter(([name]) => names.has(name) || pattern?.test(name) === true);
  };
  const env = subject.env.map((entry) => {
    const [name = '', ...value] = entry.split('=');
    return [name, value.join('=')] as const;
  });
  return Object.fromEntries([...pick('labels', Object.entries(subject.labels)), ...pick('env', env)]);
}

/** `logExtras`, and `tag` where there is one. Throws containerConfigInvalid. */
export function logAttributes(config: LogConfig, subject: LogSubject): Readonly<Record<string, string>> {
  const tag = logTag(config, subject, '');
  return { ...logExtras(config, subject), ...(tag !== '' && { tag }) };
}

/**
 * Throws containerConfigInvalid for an unknown driver, option or value, notImplemented for what Docker has and this
 * engine has not.
 */
export function checkLogConfig(config: LogConfig): void {
  const { driver, options } = config;
  if (driver === 'none') return;
  if (absentDrivers.has(driver))
    throw new LinkspanError('notImplemented', `the log driver ${driver} is not supported yet`);
  const known = drivers[driver];
  if (known === undefined)
    refuse(`error looking up logging plugin ${driver}: plugin ${JSON.stringify(driver)} not found`);
  const { mode = '' } = options;
  if (!['', 'blocking', 'non-blocking'].includes(mode)) refuse(`logger: logging mode not supported: ${mode}`);
  if (options['max-buffer-size'] !== undefined && mode !== 'non-blocking')
    refuse("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  logBufferBytes(config);
  for (const key of Object.keys(options))
    if (!known.includes(key) && !everyDriver.includes(key))
      refuse(
        driver === 'local'
          ? `unknown log opt '${key}' for log driver local`
          : `unknown log opt '${key}' for ${driver} log driver`,
      );
  logFileRules(config);
}
