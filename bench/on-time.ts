/**
 * Which events are on time, computed from the topic alone by the rule of DESIGN.md section 2: per partition, in offset order,
 * an event is late where the end of its window + the allowed lateness is at or below the largest event time of the earlier
 * records − outOfOrder. Guarantee: nothing of Reckon's own code is used.
 */
import { allowedLatenessMs, outOfOrderMs, windowMs } from './pipeline.ts';
import { cellName, cellOf } from './results.ts';
import type { Results } from './results.ts';

interface BenchFields {
  readonly productId: string;
  readonly amount: number;
  readonly timestamp: number;
}

export class OnTimeRule {
  readonly #newestMs = new Map<number, number>();
  /** The windows as they must be. */
  readonly expected: Results = new Map();
  onTime = 0;
  late = 0;

  /** Takes the next record of the partition. */
  take(partition: number, value: Buffer): void {
    const { productId, amount, timestamp } = JSON.parse(value.toString()) as BenchFields;
    const newestMs = this.#newestMs.get(partition) ?? Number.NEGATIVE_INFINITY;
    this.#newestMs.set(partition, Math.max(newestMs, timestamp));
    const startMs = Math.floor(timestamp / windowMs) * windowMs;
    if (startMs + windowMs + allowedLatenessMs <= newestMs - outOfOrderMs) {
      this.late++;
      return;
    }
    this.onTime++;
    const cell = cellOf(this.expected, cellName(startMs, productId));
    cell.count++;
    cell.cents += Math.round(amount * 100);
  }

  /** How many of the events that are on time are not in their windows. */
  missingIn(results: Results): number {
    let missing = 0;
    for (const [name, { count }] of this.expected)
      missing += Math.max(0, count - (results.get(name)?.count ?? 0));
    return missing;
  }
}
