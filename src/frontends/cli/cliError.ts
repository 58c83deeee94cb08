/*
 * How a command ends badly: a text for stderr and an exit code. Exit codes are the docker CLI's (version 28):
 * 1 for what the daemon refused, 125 for what `run` or the flag parser refused, 126 and 127 for a command in the
 * container that could not be executed or found, and otherwise the container's own.
 */

export class CliError extends Error {
  readonly exitCode: number;
  /** Exit without a text: everything was already printed, or the code is the container's. */
  readonly isSilent: boolean;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
    this.isSilent = message === '';
  }
}

/** A refusal by the CLI itself that `run` shows without its own prefix and hint. */
export class BareError extends CliError {}

/** Ends the program with `exitCode` and no further text. */
export function silentExit(exitCode: number): CliError {
  return new CliError('', exitCode);
}

/** A refusal of the daemon: an HTTP status of 400 or above with the daemon's message. */
export class DaemonError extends CliError {
  readonly status: number;

  constructor(status: number, message: string) {
    super(`Error response from daemon: ${message}`);
    this.name = 'DaemonError';
    this.status = status;
  }
}

export function isDaemonStatus(error: unknown, status: number): error is DaemonError {
  return error instanceof DaemonError && error.status === status;
}
