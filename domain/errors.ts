/**
 * The failures a person sees. Guarantee: every expected failure carries one code of the closed list below, one line
 * that says what is wrong, and one that says what to do; whether a retry can help is decided here, in one place.
 */

/** The closed list of failure codes, each marked with whether trying again can help. */
export const failureCodes = {
  /** The pipeline's definition is wrong; the message names the field. */
  'invalid-definition': { retryable: false },
  /** A command's argument, or a workflow's input, is wrong; the message names it. */
  'invalid-input': { retryable: false },
  /** An environment variable is missing or wrong. */
  'invalid-config': { retryable: false },
  /** A program that the stack needs is missing (JDK, Maven, ...). */
  'missing-program': { retryable: false },
  /** A port is taken by a process that is not ours. */
  'port-taken': { retryable: false },
  /** A server did not answer. */
  unreachable: { retryable: true },
  /** Another owner has taken over; this one must stop writing. */
  fenced: { retryable: false },
  /** Kafka no longer has an offset that is still needed, or the topic was recreated. */
  'log-truncated': { retryable: false },
  /** A sum left the range of a 64-bit integer. */
  overflow: { retryable: false },
  /** A server is set up in a way that would break the guarantees. */
  'unsafe-server': { retryable: false },
  /** The archive has not reached the wanted offsets (yet). */
  'archive-behind': { retryable: true },
  /** Data at rest is not what its log says. */
  'corrupt-lake': { retryable: false },
  /** A workflow was cancelled, terminated, or failed for a reason that has no code of its own. */
  'workflow-failed': { retryable: false },
  /** A bug: a state that the code holds to be impossible. */
  internal: { retryable: false },
} as const satisfies Record<string, { retryable: boolean }>;

export type FailureCode = keyof typeof failureCodes;

/** An expected failure. `message` says what is wrong, `hint` what to do; both are single lines. */
export class ReckonError extends Error {
  readonly code: FailureCode;
  readonly hint: string;

  constructor(code: FailureCode, message: string, hint = '', options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ReckonError';
    this.code = code;
    this.hint = hint;
  }

  get retryable(): boolean {
    return failureCodes[this.code].retryable;
  }

  /** The one line that a terminal shows. */
  get line(): string {
    return this.hint === '' ? this.message : `${this.message} ${this.hint}`;
  }
}

/** For states that the code holds to be impossible. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition)
    throw new ReckonError(
      'internal',
      `internal error: ${message}`,
      'This is a bug in Reckon; please report it.',
    );
}
