/** Our own archiver under measurement. Guarantee: it has archived when the lake's log says so. */
import { ArchiveDemand } from '../batch/archive-demand.ts';
import { ArchiveTable } from '../batch/archive-table.ts';
import type { ObjectStore } from '../clients/object-store.ts';
import { covers, toOffsetVector } from '../domain/offset-vector.ts';
import { AppProcess } from './app-process.ts';
import type { BenchPipeline } from './pipeline.ts';
import type { Servers } from './servers.ts';

/** When so much is left, the archiver is asked for it: it would wait for more. */
const lastRows = 400_000;

export class ArchiveProcess extends AppProcess {
  readonly #archive: ArchiveTable;
  readonly #demand: ArchiveDemand;

  /** @param lake folder of the store */
  constructor(
    { kafkaBrokers, dir }: Servers,
    { pipeline, file }: BenchPipeline,
    store: ObjectStore,
    lake: string,
  ) {
    super(
      'archive',
      { KAFKA_BROKERS: kafkaBrokers, RECKON_PIPELINE: file, RECKON_HOME: dir, LAKE_URL: lake },
      'partitions assigned',
    );
    this.#archive = new ArchiveTable(store, pipeline);
    this.#demand = new ArchiveDemand(store, pipeline.name);
  }

  /** Waits until the lake reaches these offsets. */
  archived(ends: ReadonlyMap<number, number>, signal: AbortSignal) {
    const wanted = toOffsetVector(ends);
    const total = [...ends.values()].reduce((sum, end) => sum + end, 0);
    let isAsked = false;
    return this.done(async () => {
      const reached = await this.#archive.reached();
      const rows = Object.values(reached).reduce((sum, offset) => sum + Number(offset), 0);
      if (!isAsked && total - rows <= lastRows && total > rows) {
        isAsked = true;
        await this.#demand.ask(wanted);
      }
      return covers(reached, wanted);
    }, signal);
  }
}
