/** The committed state of one partition as plain maps: what Redis would hold, merged by the textbook. */
import { registers } from '../../domain/distinct.ts';
import type { Changes, Position } from '../../stream/fold.ts';
import { paneMember } from '../../stream/keys.ts';
import type { PaneCells } from '../../stream/pane-cells.ts';

interface StoredPane {
  readonly integers: Record<string, bigint>;
  readonly sketches: Record<string, Uint8Array>;
  revision: number;
}

export class MemoryState {
  readonly counters: Record<string, bigint> = {};
  #panes: Record<string, StoredPane> = {};
  position: Position;

  constructor(position: Position) {
    this.position = position;
  }

  commit(changes: Changes): void {
    expect(changes.from).toEqual(this.position);
    for (const [name, addition] of changes.counters)
      this.counters[name] = (this.counters[name] ?? 0n) + BigInt(addition);
    for (const { aggregate, startMs, endMs, operations } of changes.deltas.drain()) {
      const member = paneMember({ aggregate: aggregate.name, startMs, endMs });
      const pane = (this.#panes[member] ??= { integers: {}, sketches: {}, revision: 0 });
      pane.revision++;
      for (const { kind, field, value } of operations)
        if (kind === 'sketch') addMarks((pane.sketches[field] ??= new Uint8Array(registers)), value);
        else pane.integers[field] = merged(kind, pane.integers[field], BigInt(value));
    }
    this.position = changes.to;
  }

  copy(): MemoryState {
    const copy = new MemoryState(this.position);
    Object.assign(copy.counters, this.counters);
    copy.#panes = structuredClone(this.#panes);
    return copy;
  }

  /** The panes but for their revisions, which say how often they were committed; sketches as text, which compares quickly. */
  cells(): unknown[] {
    return this.panes()
      .map(({ member, integers, sketches }) => ({
        member,
        integers: Object.fromEntries(
          integers.flatMap((field, i) => (i % 2 === 0 ? [[field, integers[i + 1]]] : [])),
        ),
        sketches: Object.fromEntries(
          Object.entries(sketches).map(([field, sketch]) => [
            field,
            Buffer.from(sketch ?? []).toString('latin1'),
          ]),
        ),
      }))
      .sort((a, b) => (a.member < b.member ? -1 : 1));
  }

  panes(): PaneCells[] {
    return Object.entries(this.#panes).map(([member, { integers, sketches, revision }]) => ({
      member,
      revision,
      integers: Object.entries(integers).flatMap(([field, value]) => [field, String(value)]),
      sketches,
      texts: [],
    }));
  }
}

function merged(kind: 'add' | 'min' | 'max', before: bigint | undefined, now: bigint): bigint {
  if (before === undefined) return now;
  if (kind === 'add') return before + now;
  return (kind === 'min' ? now < before : now > before) ? now : before;
}

/** Every register is a set of ranks of which the three upper ones are kept: the union of two, cut down again. */
function addMarks(sketch: Uint8Array, marks: string): void {
  const flat = JSON.parse(marks) as number[];
  for (let i = 0; i < flat.length; i += 2) {
    const register = flat[i] ?? 0;
    const seen = new Set([...ranksOf(sketch[register] ?? 0), ...ranksOf(flat[i + 1] ?? 0)]);
    const top = Math.max(...seen);
    sketch[register] = 4 * top + (seen.has(top - 1) ? 2 : 0) + (seen.has(top - 2) ? 1 : 0);
  }
}

function ranksOf(state: number): number[] {
  const top = Math.floor(state / 4);
  return [top, ...(state & 2 ? [top - 1] : []), ...(state & 1 ? [top - 2] : [])].filter((rank) => rank > 0);
}
