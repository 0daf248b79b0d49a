/**
 * Runs the work of an activity under a heartbeat. Guarantee: the server hears of it every second, so a dead worker is
 * noticed within the heartbeat timeout; a cancelled activity ends at once, even where the work does not watch the signal.
 */
import { Context } from '@temporalio/activity';
import { toFailure } from './failure.ts';

const heartbeatEveryMs = 1_000;

/**
 * @param work gets the signal that is aborted when the activity is cancelled, and a function that sets the details of
 * the next heartbeats (shown in the Temporal UI beside the pending activity).
 * @throws ApplicationFailure or CancelledFailure, by `failure.ts`.
 */
export async function underHeartbeat<Result>(
  work: (signal: AbortSignal, report: (details: unknown) => void) => Promise<Result>,
): Promise<Result> {
  const context = Context.current();
  let details: unknown;
  const beat = (): void => context.heartbeat(details);
  beat();
  const timer = setInterval(beat, heartbeatEveryMs);
  try {
    return await Promise.race([
      work(context.cancellationSignal, (next) => {
        details = next;
      }),
      context.cancelled,
    ]);
  } catch (error) {
    throw toFailure(context.cancellationSignal.aborted ? await cancellationOf(context.cancelled) : error);
  } finally {
    clearInterval(timer);
  }
}

/** Work that watches the signal fails in its own words (an AbortError); Temporal wants its own. */
async function cancellationOf(cancelled: Promise<never>): Promise<unknown> {
  try {
    return await cancelled;
  } catch (cancellation) {
    return cancellation;
  }
}
