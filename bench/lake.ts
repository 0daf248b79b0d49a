/**
 * A lake for the benchmarks that need no Kafka: the benchmarks' events, decoded and archived in files of the size that the archiver
 * writes. Guarantee: what is in it is a function of the seed and the options.
 */
import { ArchiveTable } from '../batch/archive-table.ts';
import type { ArchiveRange } from '../batch/archive-table.ts';
import { eventColumns, RowBuffer } from '../batch/event-table.ts';
import type { DuckDb } from '../clients/duckdb.ts';
import { readUtf8 } from '../clients/kafka.ts';
import { LocalObjectStore } from '../clients/object-store.ts';
import { createDecoder } from '../domain/decode.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import { generateEvents } from './events.ts';
import { partitions } from './pipeline.ts';

export interface LakeOptions {
  readonly records: number;
  readonly seed: number;
  /** Event time of the first event, and between two events. */
  readonly firstMs: number;
  readonly stepMs: number;
  /** Of one file. */
  readonly rowsPerFile: number;
}

export class BenchLake {
  readonly archive: ArchiveTable;
  readonly store: LocalObjectStore;
  readonly #pipeline: Pipeline;
  readonly #nextOffsets = new Array<number>(partitions).fill(0);

  constructor(folder: string, pipeline: Pipeline) {
    this.store = new LocalObjectStore(folder);
    this.archive = new ArchiveTable(this.store, pipeline);
    this.#pipeline = pipeline;
  }

  /** Appends events behind those that are there; every record's broker timestamp is the time at which it was due. */
  async append(
    database: DuckDb,
    { records, seed, firstMs, stepMs, rowsPerFile }: LakeOptions,
  ): Promise<void> {
    await this.archive.create(null, firstMs);
    const decode = createDecoder(this.#pipeline, readUtf8);
    const newRows = () => new RowBuffer(eventColumns(this.#pipeline));
    let buffers = this.#nextOffsets.map(newRows);
    const begun = [...this.#nextOffsets];
    const roll = async () => {
      const ranges = buffers.flatMap((rows, partition): ArchiveRange[] => {
        const expectedOffset = begun[partition] as number;
        const nextOffset = this.#nextOffsets[partition] as number;
        begun[partition] = nextOffset;
        return nextOffset === expectedOffset ? [] : [{ partition, expectedOffset, nextOffset, rows }];
      });
      if (ranges.length > 0) await this.archive.append(database, ranges, firstMs);
      buffers = this.#nextOffsets.map(newRows);
    };
    let i = 0;
    for (const { key, json } of generateEvents(records, seed, (at) => firstMs + at * stepMs)) {
      const partition = Number(key.slice(1)) % partitions;
      const offset = this.#nextOffsets[partition] as number;
      const record = {
        partition,
        offset,
        timestampMs: firstMs + i++ * stepMs,
        key: null,
        value: Buffer.from(json),
      };
      buffers[partition]?.add(record, decode(record));
      this.#nextOffsets[partition] = offset + 1;
      if (i % (rowsPerFile * partitions) === 0) await roll();
    }
    await roll();
  }
}
