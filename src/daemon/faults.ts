/*
 * How a test steers the fault seam of a running daemon: it names a file in LINKSPAN_FAULT_FILE, writes an order into it
 * and sends SIGUSR2. `crash@N`, `ENOSPC@N` and `count` load and arm that plan; `report` disarms. The daemon answers by
 * replacing the file's text: `armed`, or `count N`. Without the variable nothing listens.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseFaultPlan, type Seam } from '../base/seam.ts';

function answer(order: string, seam: Seam): string {
  const plan = parseFaultPlan(order);
  if (plan !== undefined) {
    seam.load(plan);
    seam.arm();
    return 'armed';
  }
  const { count } = seam;
  seam.load({ at: 0, action: 'count' });
  return `count ${count}`;
}

/** Starts to listen for orders in `file`. */
export function obeyFaultFile(file: string, seam: Seam): void {
  process.on('SIGUSR2', () => {
    writeFileSync(file, answer(readFileSync(file, 'utf8').trim(), seam));
  });
}
