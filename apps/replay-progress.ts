/**
 * The progress of a replay on standard error. Guarantee: a bar on a terminal, a line every few seconds elsewhere, and
 * nothing on standard output.
 */
import { SingleBar } from 'cli-progress';

const lineEveryMs = 3_000;
/** A bar needs a total: its steps are thousandths of the file. */
const steps = 1_000;

export class ReplayProgress {
  readonly #name: string;
  readonly #limit: number | null;
  readonly #bar: SingleBar | null;
  readonly #startMs = performance.now();
  #fraction: (rowsRead: number) => number | null = () => null;
  #lastLineMs = performance.now();
  /** Records acknowledged so far. */
  records = 0;

  constructor(name: string, limit: number | null) {
    this.#name = name;
    this.#limit = limit;
    this.#bar = process.stderr.isTTY
      ? new SingleBar({
          stream: process.stderr,
          format: `${name} {bar} {percent} {records} records, {rate} records/s`,
          barsize: 30,
          hideCursor: true,
          gracefulExit: false,
        })
      : null;
  }

  begin(fraction: (rowsRead: number) => number | null): void {
    this.#fraction = fraction;
    this.#bar?.start(steps, 0, this.#numbers());
  }

  update(records: number): void {
    this.records = records;
    if (this.#bar !== null) {
      this.#bar.update(Math.floor((this.#part() ?? 0) * steps), this.#numbers());
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#lastLineMs < lineEveryMs) return;
    this.#lastLineMs = nowMs;
    const { percent, records: count, rate } = this.#numbers();
    process.stderr.write(`${this.#name}: ${percent} ${count} records, ${rate} records/s\n`);
  }

  end(): void {
    if (this.#bar?.isActive !== true) return;
    this.#bar.update(this.#numbers());
    this.#bar.stop();
  }

  #part(): number | null {
    const ofLimit = this.#limit === null || this.#limit === 0 ? null : this.records / this.#limit;
    const ofFile = this.#fraction(this.records);
    const parts = [ofLimit, ofFile].filter((part) => part !== null);
    return parts.length === 0 ? null : Math.min(1, Math.max(...parts));
  }

  #numbers(): { percent: string; records: string; rate: string } {
    const part = this.#part();
    const seconds = (performance.now() - this.#startMs) / 1000;
    return {
      percent: part === null ? '' : `${Math.floor(part * 100)}%`,
      records: this.records.toLocaleString('en'),
      rate: Math.round(this.records / Math.max(seconds, 0.001)).toLocaleString('en'),
    };
  }
}
