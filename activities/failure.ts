/**
 * The one place where errors become Temporal failures. Guarantee: a `ReckonError` keeps its code (as the failure's type)
 * and its line, and is retried exactly when its code says that a retry can help; a cancellation stays one; anything
 * unforeseen stays retryable, within the workflow's retry policy.
 */
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { ReckonError } from '../domain/errors.ts';

export function toFailure(error: unknown): Error {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  if (error instanceof ReckonError)
    return ApplicationFailure.create({
      type: error.code,
      message: error.line,
      nonRetryable: !error.retryable,
      ...(error.cause instanceof Error ? { cause: error.cause } : {}),
    });
  return ApplicationFailure.fromError(error);
}
