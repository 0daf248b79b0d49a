/** Records that must be rejected, one way for each reason of the closed list. Guarantee: pure; each has exactly that reason. */
import { sizeMaxBytes } from './definition.ts';

/** A valid event's members, as JSON texts. */
export type Members = Readonly<Record<string, string>>;

/** How to spoil a valid event, by the reason for which it is rejected then; `time-in-future` is a matter of its time. */
export const poisons: Readonly<Record<string, (members: Members) => Buffer | null>> = {
  'empty-value': ({ id }) => ((id?.length ?? 0) % 2 === 0 ? null : Buffer.alloc(0)),
  'too-large': (members) => write({ ...members, padding: `"${'x'.repeat(sizeMaxBytes)}"` }),
  'invalid-utf8': (members) =>
    Buffer.concat([write(members).subarray(0, -1), Buffer.from([0x2c, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])]),
  'invalid-json': (members) => write(members).subarray(0, -1),
  'too-deep': (members) => write({ ...members, padding: `${'['.repeat(600)}${']'.repeat(600)}` }),
  'missing-field': ({ at: _at, ...members }) => write(members),
  'wrong-type': (members) => write({ ...members, qty: '"3"' }),
  'schema-violation': (members) => write({ ...members, status: '"lost"' }),
  'malformed-string': (members) => write({ ...members, product: '"\\ud800"' }),
  'number-out-of-range': (members) => write({ ...members, qty: '9007199254740992' }),
  'too-precise': (members) => write({ ...members, amount: '0.001' }),
  // Beyond the year 9999 in every format of numbers, and no number.
  'invalid-time': (members) =>
    write({ ...members, at: members['at']?.startsWith('"') === true ? '"yesterday"' : '9e18' }),
};

export const futureReason = 'time-in-future';

export function write(members: Members): Buffer {
  const texts = Object.entries(members).map(([name, json]) => `${JSON.stringify(name)}:${json}`);
  return Buffer.from(`{${texts.join(',')}}`);
}
