/*
 * Entry of the `linkspan` command: the program on this process's arguments and streams.
 */
import { processIo } from './io.ts';
import { runProgram } from './program.ts';

const exitCode = await runProgram(process.argv.slice(2), processIo());
// Sockets and stdin may still be open; what was written must leave first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
