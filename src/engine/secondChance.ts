/*
 * Steps of a teardown can be repeated: what fails once gets a second chance, so that a hiccup leaves nothing half
 * removed. Not for set-up, which rolls back instead.
 */
import type { Logger } from '../base/logger.ts';

/** Runs `step`, and once more if it rejects; rejects with the second failure. `subject` names what goes, for the log. */
export async function withSecondChance(
  logger: Logger,
  subject: Readonly<Record<string, string>>,
  step: () => Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    logger.warn({ ...subject, err: error }, 'a step of a teardown failed; trying once more');
    await step();
  }
}
