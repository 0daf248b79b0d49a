/** Deltas of many additions are their exact sum, minimum, maximum and count, beyond 2^53 as well. */
import * as fc from 'fast-check';
import { PaneDeltas } from '../../stream/pane-deltas.ts';
import { pipeline } from '../support/odd-pipeline.ts';

const aggregate = pipeline.aggregates[0];
const at = (name: string) => pipeline.fields.findIndex((field) => field.name === name);
const largest = Number.MAX_SAFE_INTEGER;

it('adds exactly, whatever the order and the size', () => {
  const value = fc.option(fc.oneof(fc.maxSafeInteger(), fc.constantFrom(largest, -largest, 0, 1, -1)), {
    freq: 5,
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('a', 'b', null), value), {
        minLength: 1,
        maxLength: 300,
        size: 'max',
      }),
      (events) => {
        if (aggregate === undefined) throw new Error('the fixture has an aggregate');
        const deltas = new PaneDeltas([aggregate], pipeline.fields);
        for (const [shop, price] of events) {
          const values = pipeline.fields.map(() => null as string | number | null);
          values[at('shop')] = shop;
          values[at('price')] = price;
          deltas.add(aggregate, -5_000, 0, { id: 'x', timeMs: -1, values });
        }
        const [window, ...others] = [...deltas.drain()];
        expect(others).toEqual([]);
        expect(window).toMatchObject({ startMs: -5_000, endMs: 0 });
        const operations = new Map(window?.operations.map(({ field, value: text }) => [field, text]));
        let cells = 0;
        for (const shop of new Set(events.map(([name]) => name))) {
          const group = JSON.stringify([shop]);
          const prices = events
            .filter(([name, price]) => name === shop && price !== null)
            .map(([, price]) => BigInt(price ?? 0));
          expect(operations.get(`rows|${group}`)).toBe(
            String(events.filter(([name]) => name === shop).length),
          );
          cells += 1;
          if (prices.length === 0) continue;
          cells += 4;
          const sorted = [...prices].sort((a, b) => (a < b ? -1 : Number(a > b)));
          expect(operations.get(`sum:price|${group}`)).toBe(String(prices.reduce((a, b) => a + b)));
          expect(operations.get(`count:price|${group}`)).toBe(String(prices.length));
          expect(operations.get(`min:price|${group}`)).toBe(String(sorted[0]));
          expect(operations.get(`max:price|${group}`)).toBe(String(sorted.at(-1)));
        }
        expect(operations.size).toBe(cells);
        expect(deltas.operations).toBeGreaterThanOrEqual(cells);
      },
    ),
  );
});
