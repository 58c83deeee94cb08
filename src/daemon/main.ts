/*
 * linkspand: command line, signals, exit codes. SIGINT and SIGTERM end it and leave containers running; SIGHUP reads
 * the configuration file again and takes the log level from it.
 */
import { flushCompileCache } from 'node:module';
import { basename } from 'node:path';
import type { Logger } from '../base/logger.ts';
import { Seam } from '../base/seam.ts';
import { LinkspanError, messageOf } from '../errors/linkspanError.ts';
import { releaseStartupPages } from '../kernel/startupPages.ts';
import { type DaemonConfig, isUsageEnd, readConfig } from './config.ts';
import { startDaemon } from './daemon.ts';
import { obeyFaultFile } from './faults.ts';
import { type DaemonLogger, openLogger } from './logger.ts';
import { takePidfile } from './pidfile.ts';

/** By then what start-up began (workers, connections) has come to rest. */
const settledAfterMs = 1000;
/** How long a clean end may take before the process goes anyway. */
const endTimeoutMs = 10_000;

function programName(): string {
  return basename(process.env['LINKSPAND_NAME'] ?? 'linkspand');
}

function reload(args: readonly string[], logger: DaemonLogger): void {
  try {
    logger.level = readConfig(args, programName()).logLevel;
    logger.info({ level: logger.level }, 'read the configuration again');
  } catch (error) {
    logger.error({ err: error }, 'kept the configuration: the new one is wrong');
  }
}

/** What the start leaves to do once. */
function settle(): void {
  // Else Node writes it at its end, which kill -9 spares it.
  flushCompileCache();
  releaseStartupPages();
}

/** Resolves with the first signal that asks for the end. */
function endSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
}

async function run(config: DaemonConfig, args: readonly string[], logger: DaemonLogger): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new LinkspanError(
      'notRoot',
      `${programName()} needs to run as root: it makes network namespaces and mounts`,
    );
  for (const text of config.ignored) logger.info({}, text);
  using _pidfile = takePidfile(config.pidfile);
  const seam = new Seam(undefined);
  const faultFile = process.env['LINKSPAN_FAULT_FILE'];
  if (faultFile !== undefined) obeyFaultFile(faultFile, seam);
  const end = endSignal();
  process.on('SIGHUP', () => reload(args, logger));
  const daemon = await startDaemon({ config, logger, seam });
  logger.info({ pid: process.pid }, 'ready');
  setTimeout(settle, settledAfterMs).unref();
  const signal = await end;
  logger.info({ signal }, 'ending; containers go on');
  setTimeout(() => process.exit(1), endTimeoutMs).unref();
  await daemon[Symbol.asyncDispose]();
}

function readConfigOrExit(args: readonly string[]): DaemonConfig {
  try {
    return readConfig(args, programName());
  } catch (error) {
    if (isUsageEnd(error)) process.exit(error.exitCode);
    process.stderr.write(`${programName()}: ${messageOf(error)}\n`);
    process.exit(1);
  }
}

function reportUnexpected(logger: Logger): void {
  process.on('unhandledRejection', (error) => {
    logger.error({ err: error }, 'a rejection that nobody handled');
  });
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const config = readConfigOrExit(args);
  const logger = openLogger(config.logLevel);
  reportUnexpected(logger);
  try {
    await run(config, args, logger);
    process.exit(0);
  } catch (error) {
    logger.error(error instanceof LinkspanError ? { code: error.code } : { err: error }, messageOf(error));
    process.stderr.write(`${programName()}: ${messageOf(error)}\n`);
    process.exit(1);
  }
}

await main();
