/** A pane that is read again and again: what comes out is what a first read gives, whatever was read before. */
import * as fc from 'fast-check';
import { definePipeline } from '../../domain/pipeline.ts';
import { splitAgain, toPaneCells, withSketches } from '../../stream/pane-cells.ts';
import { groupsOfPane, PaneGroups } from '../../stream/pane-groups.ts';

const pipeline = definePipeline({
  name: 'panes',
  event: {
    schema: {
      type: 'object',
      properties: {
        id: { type: 'string' },
        at: { type: 'string' },
        shop: { type: 'string' },
        price: { type: 'integer' },
      },
    },
    id: 'id',
    time: 'at',
  },
  aggregates: {
    all: {
      window: { tumbling: '1m' },
      groupBy: 'shop',
      measures: {
        n: 'count',
        spent: { sum: 'price' },
        top: { topK: 'price', k: 2 },
        shops: { distinct: 'shop' },
      },
    },
  },
});
const [aggregate] = pipeline.aggregates;
const member = 'all|0|60000';

/** Fields of a hash in the order in which Redis happens to list them, and values that somebody else may have written. */
const hash = fc
  .uniqueArray(
    fc.tuple(
      fc.constantFrom(
        ...['rows|["a"]', 'rows|["b"]', 'sum:price|["a"]', 'sum:price|["b"]', 'rows|["a b"]'],
        ...['top:price|["a","1"]', 'top:price|["a","2"]', 'top:price|broken', 'gone:price|["a"]'],
        ...['distinct:shop|["a"]', 'revision', 'owner'],
      ),
      fc.constantFrom('0', '7', '-7', '12', '123456789012345', '1234567890123456789', '', 'x', '1e3'),
    ),
    { selector: ([field]) => field },
  )
  .map((entries) => entries.flat());

it('a text is cut as by split, whatever was there before', () => {
  const text = fc.array(fc.constantFrom('', 'a', 'ab', 'b', 'longer than that'), { minLength: 1 });
  fc.assert(
    fc.property(text, text, (parts, before) => {
      expect(splitAgain(parts.join('\0'), before)).toEqual(parts);
    }),
    { numRuns: 1_000 },
  );
});

it('groups are those of a first read, and what was given away before is left as it was', () => {
  if (aggregate === undefined) throw new Error('no aggregate');
  fc.assert(
    fc.property(fc.array(hash, { minLength: 2, maxLength: 6 }), fc.boolean(), (reads, inOneOrder) => {
      const groups = new PaneGroups(aggregate);
      let fields: string[] = [];
      let given: { groups: [string, unknown][]; copy: unknown } | null = null;
      for (const read of reads) {
        // Often the same fields with other values: the way that is taken most.
        if (!inOneOrder || fields.length === 0) fields = read.filter((_, i) => i % 2 === 0);
        const flat = fields.flatMap((field, i) => [
          field,
          read[(2 * i + 1) % Math.max(1, read.length)] ?? '1',
        ]);
        const sketch = new Uint8Array(4).fill(reads.indexOf(read));
        const cells = withSketches(toPaneCells(member, flat), () => sketch);
        const first = groupsOfPane(aggregate, cells);
        groups.take(cells);
        expect(new Map(groups.groups)).toEqual(new Map(first.map(({ group, slots }) => [group, slots])));
        expect(groups.revision).toBe(cells.revision);
        if (given !== null) expect(given.groups).toEqual(given.copy);
        given = { groups: [...groups.groups], copy: structuredClone([...groups.groups]) };
      }
    }),
    { numRuns: 1_000 },
  );
});
