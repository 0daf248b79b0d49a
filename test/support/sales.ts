/** Sales in a lake with its batch views: windows of an hour, three days, hops and sessions that reach over midnight. */
import { join } from 'node:path';
import { ArchiveTable } from '../../batch/archive-table.ts';
import { eventColumns, RowBuffer } from '../../batch/event-table.ts';
import { publishViews } from '../../batch/view.ts';
import { ViewTable } from '../../batch/view-table.ts';
import { quotePath } from '../../clients/duckdb.ts';
import type { DuckDb } from '../../clients/duckdb.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import { createDecoder } from '../../domain/decode.ts';
import { definePipeline } from '../../domain/pipeline.ts';

export const hour = 3_600_000;
export const firstMs = Date.UTC(2026, 0, 10);
export const nowMs = Date.UTC(2026, 1, 1);
export const pipeline = definePipeline({
  name: 'sales',
  event: {
    schema: {
      type: 'object',
      required: ['id', 'at', 'shop', 'price'],
      properties: {
        id: { type: 'string' },
        at: { type: 'integer' },
        shop: { type: 'string' },
        price: { type: 'number' },
      },
    },
    id: 'id',
    key: 'shop',
    time: { field: 'at', format: 'epoch-ms' },
    decimals: { price: 2 },
  },
  aggregates: {
    hourly: {
      window: { tumbling: '1h' },
      groupBy: 'shop',
      measures: { n: 'count', total: { sum: 'price' } },
    },
    long: { window: { tumbling: '3d' }, measures: { n: 'count', prices: { distinct: 'price' } } },
    hops: {
      window: { hopping: '36h', slide: '12h' },
      groupBy: 'shop',
      measures: { n: 'count', mean: { avg: 'price' } },
    },
    visits: {
      window: { session: '9h' },
      groupBy: 'shop',
      measures: { n: 'count', top: { topK: 'price', k: 2 } },
    },
  },
  outOfOrder: '2h',
  allowedLateness: '4h',
  dedupHorizon: '20h',
  maxFuture: '1d',
});
export const [outOfOrderMs, latenessMs, horizonMs] = [2 * hour, 4 * hour, 20 * hour];
const decode = createDecoder(pipeline, readUtf8);

export interface Sale {
  readonly id: string;
  readonly timeMs: number;
  readonly stampMs: number;
  readonly shop: string;
  readonly cents: number;
}

let lakes = 0;
export class SalesLake {
  readonly store: LocalObjectStore;
  readonly archive: ArchiveTable;
  readonly #database: DuckDb;
  /** By partition. */
  readonly logs: Sale[][] = [[], []];

  constructor(folder: string, database: DuckDb) {
    this.store = new LocalObjectStore(join(folder, `lake-${++lakes}`));
    this.archive = new ArchiveTable(this.store, pipeline);
    this.#database = database;
  }

  async append(partition: number, sales: readonly Sale[], archivedMs = nowMs): Promise<void> {
    await this.archive.create(null, nowMs);
    const log = this.logs[partition] as Sale[];
    const rows = new RowBuffer(eventColumns(pipeline));
    const expectedOffset = log.length;
    for (const sale of sales) {
      const json = JSON.stringify({ id: sale.id, at: sale.timeMs, shop: sale.shop, price: sale.cents / 100 });
      const record = {
        partition,
        offset: log.length,
        timestampMs: sale.stampMs,
        key: null,
        value: Buffer.from(json),
      };
      rows.add(record, decode(record));
      log.push(sale);
    }
    const range = { partition, expectedOffset, nextOffset: log.length, rows };
    expect(await this.archive.append(this.#database, [range], archivedMs)).toBe(true);
  }

  publish(atMs = nowMs, store: LocalObjectStore = this.store, database = this.#database) {
    const archive = new ArchiveTable(store, pipeline);
    return publishViews({ store, archive, pipeline, database }, { nowMs: atMs });
  }

  viewOf(name: string): ViewTable {
    return new ViewTable(this.store, pipeline, aggregateOf(name));
  }

  /** The view's rows as texts, sorted. */
  async rows(name: string): Promise<Record<string, string | null>[]> {
    const { table } = this.viewOf(name);
    const files = [...(await table.refresh()).files.keys()];
    if (files.length === 0) return [];
    const list = files.map((path) => quotePath(this.store.location(`${table.root}/${path}`)));
    const found = await this.#database.query(
      `SELECT epoch_ms(window_start)::VARCHAR AS start, epoch_ms(window_end)::VARCHAR AS "end", * EXCLUDE (window_start, window_end), columns('^(n|complete_n)$')::VARCHAR
       FROM read_parquet([${list.join(', ')}], hive_partitioning = false)`,
    );
    return found.map((row) =>
      Object.fromEntries(
        Object.entries(row).map(([column, value]) => [column, value === null ? null : String(value)]),
      ),
    );
  }
}

export function aggregateOf(name: string) {
  const found = pipeline.aggregates.find((aggregate) => aggregate.name === name);
  if (found === undefined) throw new Error(`no aggregate ${name}`);
  return found;
}
