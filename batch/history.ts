/**
 * The archived log as the speed layer reads it where Kafka has no more. Guarantee: every archived record of the range once, in
 * offset order, with the values that the decoder gave it when it was archived.
 */
import { quoteIdentifier, parquetSql } from '../clients/duckdb.ts';
import type { DuckDb, DuckDBValue } from '../clients/duckdb.ts';
import type { Decoded, RejectionReason } from '../domain/event.ts';
import type { Field, Value } from '../domain/field.ts';
import type { ArchivedRecord, History } from '../domain/history.ts';
import type { Pipeline } from '../domain/pipeline.ts';
import type { ArchiveTable } from './archive-table.ts';
import { eventsSql } from './event-table.ts';
import type { DataFile } from './file-statistics.ts';

/** Offsets of one query: its sort stays small, and the partition is committed in between. */
const offsetsPerQuery = 500_000;

export class LakeHistory implements History {
  readonly #archive: ArchiveTable;
  readonly #pipeline: Pipeline;
  readonly #openDatabase: () => Promise<DuckDb>;
  #database: Promise<DuckDb> | null = null;

  /** @param openDatabase called at the first read, which most processes never come to */
  constructor(archive: ArchiveTable, pipeline: Pipeline, openDatabase: () => Promise<DuckDb>) {
    this.#archive = archive;
    this.#pipeline = pipeline;
    this.#openDatabase = openDatabase;
  }

  topicId(): Promise<string | null> {
    return this.#archive.topicId();
  }

  async range(partition: number): Promise<{ start: number; end: number } | null> {
    const files = await this.#archive.filesOf(partition);
    const end = (await this.#archive.position(partition))?.nextOffset;
    if (end === undefined) return null;
    // Where all has expired nothing is left, and it goes on where the archive ends.
    const hasExpired = (await this.#archive.expired()).has(partition);
    const start = files[0]?.firstOffset ?? (hasExpired ? end : null);
    return start === null ? null : { start, end };
  }

  async offsetAtTime(partition: number, timestampMs: number): Promise<number | null> {
    const files = await this.#archive.filesOf(partition);
    if (files.length === 0) return null;
    if (!Number.isFinite(timestampMs)) return files[0]?.firstOffset ?? null;
    // Only a file whose timestamps reach the asked one can hold the first record at or after it.
    const candidate = files.find(({ newestMs }) => newestMs >= timestampMs);
    if (candidate === undefined) return null;
    const database = await this.#open();
    const copies = await this.#archive.localCopies([candidate]);
    const [row] = await database
      .query(
        `SELECT min(_offset) AS first FROM ${parquetSql(copies.files)} WHERE epoch_ms(_timestamp) >= ${timestampMs}`,
      )
      .finally(() => copies.release());
    const first = row?.['first'] ?? null;
    return first === null ? null : Number(first);
  }

  async *read(partition: number, from: number, to: number): AsyncGenerator<readonly ArchivedRecord[]> {
    const files = (await this.#archive.filesOf(partition)).filter(
      ({ firstOffset, lastOffset }) => firstOffset < to && lastOffset >= from,
    );
    if (files.length === 0) return;
    // Whoever reads takes as long as it takes to count what was read.
    const lease = await this.#archive.hold(files);
    try {
      for (let low = from; low < to; low += offsetsPerQuery)
        yield* this.#query(files, partition, low, Math.min(to, low + offsetsPerQuery));
    } finally {
      await lease.release();
    }
  }

  async *#query(
    files: readonly DataFile[],
    partition: number,
    low: number,
    high: number,
  ): AsyncGenerator<readonly ArchivedRecord[]> {
    const wanted = files.filter(({ firstOffset, lastOffset }) => firstOffset < high && lastOffset >= low);
    if (wanted.length === 0) return;
    const database = await this.#open();
    const columns = this.#pipeline.fields.map((field) => `, ${valueSql(field)}`).join('');
    const copies = await this.#archive.localCopies(wanted);
    const rows = database.stream(
      `SELECT _offset::DOUBLE, epoch_ms(_timestamp)::DOUBLE, _id, epoch_ms(_time)::DOUBLE, _rejected, _detail${columns}
       FROM (${eventsSql(this.#pipeline, copies.files)})
       WHERE _partition = ${partition} AND _offset >= ${low} AND _offset < ${high}
       ORDER BY _offset`,
    );
    try {
      for await (const chunk of rows) yield toRecords(partition, chunk);
    } finally {
      await copies.release();
    }
  }

  #open(): Promise<DuckDb> {
    return (this.#database ??= this.#openDatabase());
  }
}

/** A column as the decoder's value: integers as doubles (they are below 2^53), decimals at their scale. */
function valueSql({ column, type, scale }: Field): string {
  const name = quoteIdentifier(column);
  if (type === 'integer') return `${name}::DOUBLE`;
  return type === 'decimal' ? `(${name} * ${10 ** scale})::BIGINT::DOUBLE` : name;
}

function toRecords(partition: number, columns: readonly (readonly DuckDBValue[])[]): ArchivedRecord[] {
  const [offsets = [], timestamps = [], ids = [], times = [], reasons = [], details = [], ...values] =
    columns;
  return offsets.map((offset, i) => {
    const reason = reasons[i] as RejectionReason | null;
    const decoded: Decoded =
      reason !== null
        ? { ok: false, rejection: { reason, detail: details[i] as string } }
        : {
            ok: true,
            event: {
              id: ids[i] as string,
              timeMs: times[i] as number,
              values: values.map((column) => (column[i] ?? null) as Value),
            },
          };
    return {
      partition,
      offset: offset as number,
      timestampMs: timestamps[i] as number,
      key: null,
      value: null,
      decoded,
    };
  });
}
