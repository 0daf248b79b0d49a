/** The committed state of one partition as plain maps: what Redis would hold, merged by the textbook. */
import type { Changes, Position } from '../../stream/fold.ts';
import type { Outcome } from './naive-model.ts';

export class MemoryState implements Outcome {
  readonly windows: Record<string, Record<string, bigint>> = {};
  readonly counters: Record<string, bigint> = {};
  position: Position;

  constructor(position: Position) {
    this.position = position;
  }

  commit(changes: Changes): void {
    expect(changes.from).toEqual(this.position);
    for (const [name, addition] of changes.counters)
      this.counters[name] = (this.counters[name] ?? 0n) + BigInt(addition);
    for (const { aggregate, startMs, operations } of changes.deltas.drain()) {
      const cells = (this.windows[`${aggregate.name}|${startMs}`] ??= {});
      for (const { kind, field, value } of operations) {
        const [before, now] = [cells[field], BigInt(value)];
        if (before === undefined) cells[field] = now;
        else if (kind === 'add') cells[field] = before + now;
        else if (kind === 'min' ? now < before : now > before) cells[field] = now;
      }
    }
    this.position = changes.to;
  }
}
