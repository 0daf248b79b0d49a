/** Waiting for conditions. Guarantee: nothing here waits for time to pass for luck; what does not come is an error that names it. */
import { setTimeout as sleep } from 'node:timers/promises';

/** A fault that could not be shown to have happened, or a state that was not reached. */
export class NotReached extends Error {}

/**
 * Repeats the look until it finds something.
 * @param look null, undefined or false: not yet. What it throws is tried again, and told at the end.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 30_000,
  pauseMs = 20,
): Promise<NonNullable<Exclude<T, false>>> {
  const deadlineMs = performance.now() + timeoutMs;
  // A look itself may hang, as at a server that is away.
  const giveUp = sleep(timeoutMs, null, { ref: false });
  let failure: unknown = null;
  for (;;) {
    try {
      const found = await Promise.race([look(), giveUp]);
      if (found !== null && found !== undefined && found !== false)
        return found as NonNullable<Exclude<T, false>>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadlineMs)
      throw new NotReached(
        `${what}: not within ${timeoutMs / 1_000} s${failure instanceof Error ? ` (${failure.message})` : ''}`,
      );
    await sleep(pauseMs);
  }
}

/** Waits for the end of something, but not longer than is decent: kafkajs may wait for answers that never come. */
export async function atMost(ending: Promise<unknown>, ms = 3_000): Promise<void> {
  await Promise.race([ending.catch(() => undefined), sleep(ms, undefined, { ref: false })]);
}
