/**
 * What an S3 server's errors mean to us. Guarantee: whether an object is missing is told by the error's name, never by the status
 * 404 alone (servers answer so for unknown buckets and users, too); what a person can mend is a ReckonError with one line.
 */
import { ReckonError } from '../domain/errors.ts';

interface S3Error {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
}

export interface Asked {
  readonly bucket: string;
  /** Whom: an endpoint, or words for it. */
  readonly server: string;
}

const refused = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'CredentialsProviderError',
  'ExpiredToken',
  'Forbidden',
  'InvalidAccessKeyId',
  'InvalidToken',
  'SignatureDoesNotMatch',
  'TokenProviderError',
  'XAdminUserNotFound',
]);
/** The second comes with 403, and has nothing to do with credentials. */
const classFailures: Readonly<Record<string, string>> = {
  InvalidStorageClass: 'there is no such storage class',
  InvalidObjectState: 'an object has to be restored before it can be read',
};
const wrongRegion = new Set([
  'AuthorizationHeaderMalformed',
  'PermanentRedirect',
  'IllegalLocationConstraintException',
]);
/** Of Node's connections and the SDK's time-outs; a wrapped error has it in its message only. */
const cutOff =
  /\b(ECONN\w+|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EPIPE|EPROTO|ERR_STREAM_PREMATURE_CLOSE|TimeoutError|SlowDown|RequestTimeout|aborted|socket hang up)\b/;

export function isMissing(error: unknown): boolean {
  const { name } = error as S3Error;
  return name === 'NoSuchKey' || name === 'NotFound';
}

export function isPreconditionFailed(error: unknown): boolean {
  return statusOf(error) === 412;
}

/** Another put of the same name was under way: this one has to be sent again. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 409;
}

/** Whether the next try may succeed. */
export function canRetry(error: unknown): boolean {
  if (error instanceof ReckonError) return error.retryable;
  const status = statusOf(error) ?? 0;
  return status >= 500 || status === 429 || cutOffBy(error) !== null;
}

/** Whether the SDK has tried it several times already. */
export function wasRepeated(error: unknown): boolean {
  return ((error as S3Error).$metadata?.attempts ?? 1) > 1;
}

/**
 * @param text of AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3
 * @returns the endpoint without a name and a password, for messages; null where none is set
 * @throws ReckonError `invalid-config` where it is no URL; what it is is not said, as it may hold a password
 */
export function endpointOf(text: string | undefined): string | null {
  if (text === undefined || text === '') return null;
  if (!/^https?:\/\/./i.test(text) || !URL.canParse(text))
    throw new ReckonError(
      'invalid-config',
      'AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3) must be http://host:port or https://host:port.',
    );
  return withoutSecrets(text);
}

/** What stands before the @ of a URL names somebody, or proves it. */
function withoutSecrets(text: string): string {
  return text.replace(/(\w:\/\/)[^/?#\s]*@/g, '$1');
}

/** @returns what to throw instead: the error itself where it is not known */
export function s3Failure(error: unknown, { bucket, server }: Asked): unknown {
  if (error instanceof ReckonError) return error;
  const { name = '', message = '' } = error as S3Error;
  const options = { cause: error };
  const said = withoutSecrets(message)
    .replace(/^AWS SDK error wrapper for /, '')
    .replace(/\s+/g, ' ')
    .replace(/\.$/, '');
  if (name === 'NoSuchBucket')
    return new ReckonError(
      'invalid-config',
      `LAKE_URL: there is no bucket ${bucket} on ${server}.`,
      'Create it, or name another.',
      options,
    );
  const ofClass = classFailures[name];
  if (ofClass !== undefined)
    return new ReckonError(
      'invalid-config',
      `LAKE_COLD_CLASS: ${ofClass} (bucket ${bucket} on ${server}: ${said}).`,
      'Use a storage class whose objects can be read at once, such as STANDARD_IA or GLACIER_IR.',
      options,
    );
  if (refused.has(name) || statusOf(error) === 403 || statusOf(error) === 401)
    return new ReckonError(
      'invalid-config',
      `${server} refuses the credentials for bucket ${bucket} (${name === 'CredentialsProviderError' ? said : name}).`,
      'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to ones that may read, write, list and delete there.',
      options,
    );
  if (wrongRegion.has(name) || said === 'Region is missing')
    return new ReckonError(
      'invalid-config',
      `AWS_REGION does not fit bucket ${bucket} on ${server} (${said}).`,
      'Set it to the region of the bucket.',
      options,
    );
  if (statusOf(error) === 501)
    return new ReckonError(
      'unsafe-server',
      `${server} does not support what a lake needs (${said}).`,
      'Use a server that knows conditional puts (If-None-Match).',
      options,
    );
  if (canRetry(error) || isConflict(error))
    return new ReckonError(
      'unreachable',
      `The lake's server ${server} does not answer (${[cutOffBy(error) ?? name, said].join(': ')}).`,
      'Check AWS_ENDPOINT_URL and the network.',
      options,
    );
  return error;
}

function cutOffBy(error: unknown): string | null {
  const { name = '', code = '', message = '' } = error as S3Error;
  return cutOff.exec(`${code} ${name} ${message}`)?.[1] ?? null;
}

function statusOf(error: unknown): number | undefined {
  return (error as S3Error).$metadata?.httpStatusCode;
}
