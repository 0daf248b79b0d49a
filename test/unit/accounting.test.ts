/** The accounting identity: its terms, its lines, and every way in which it can fail to hold. */
import { accountOf, describeAccount, identityHolds } from '../../domain/accounting.ts';

const partition = {
  partition: 2,
  baseOffset: 0,
  nextOffset: 5003,
  counters: {
    consumed: '5000',
    gaps: '3',
    duplicate: '20',
    'dead:invalid-json': '15',
    'dead:future-event': '5',
    'counted:daily': '4900',
    'filtered:daily': '50',
    'late:daily': '10',
    'counted:hourly': '4960',
  },
};

it('takes every record into one term, and says so in one line', () => {
  const account = accountOf('daily', partition);
  expect(account).toEqual({
    aggregate: 'daily',
    partition: 2,
    baseOffset: 0,
    nextOffset: 5003,
    offsetGaps: '3',
    terms: { consumed: '5000', counted: '4900', filtered: '50', duplicate: '20', late: '10', dead: '20' },
    holds: true,
  });
  expect(describeAccount(account)).toBe(
    'consumed 5000 = counted 4900 + filtered 50 + duplicate 20 + late 10 + dead 20; offsets 0..5003 = consumed 5000 + gaps 3: holds',
  );
});

it('knows the terms of each aggregate by itself', () => {
  expect(accountOf('hourly', partition).terms).toMatchObject({ counted: '4960', filtered: '0', late: '0' });
  expect(accountOf('hourly', partition).holds).toBe(true);
});

it('begins where the state began', () => {
  const account = accountOf('daily', { ...partition, baseOffset: 700, nextOffset: 5703 });
  expect(account.holds).toBe(true);
  expect(describeAccount(account)).toContain('offsets 700..5703 = ');
});

it('an empty partition adds up', () => {
  expect(accountOf('daily', { partition: 0, baseOffset: 9, nextOffset: 9, counters: {} }).holds).toBe(true);
});

it.each(['consumed', 'duplicate', 'dead:invalid-json', 'counted:daily', 'filtered:daily', 'late:daily'])(
  'does not hold when %s is one off',
  (name) => {
    const before = partition.counters[name as keyof typeof partition.counters];
    const counters = { ...partition.counters, [name]: String(Number(before) + 1) };
    const account = accountOf('daily', { ...partition, counters });
    expect(account.holds).toBe(false);
    expect(describeAccount(account)).toMatch(/ ≠ counted .+: DOES NOT HOLD$/);
  },
);

it('does not hold when an offset is neither a record nor a known gap', () => {
  const account = accountOf('daily', { ...partition, nextOffset: 5004 });
  expect(identityHolds(account.terms)).toBe(true);
  expect(account.holds).toBe(false);
  expect(describeAccount(account)).toBe(
    'consumed 5000 = counted 4900 + filtered 50 + duplicate 20 + late 10 + dead 20; offsets 0..5004 ≠ consumed 5000 + gaps 3: DOES NOT HOLD',
  );
});

it('is exact beyond the doubles', () => {
  const large = '9007199254740993';
  const terms = { consumed: large, counted: large, filtered: '0', duplicate: '0', late: '0', dead: '0' };
  expect(identityHolds(terms)).toBe(true);
  expect(identityHolds({ ...terms, counted: '9007199254740992' })).toBe(false);
});
