/** Faults of the broker: restarted, killed, unreachable. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafka } from '../../clients/kafka.ts';
import { kafkaPid, progress } from '../system.ts';
import type { Fault, System } from '../system.ts';
import { NotReached, until } from '../wait.ts';

const restart =
  (signal: 'SIGTERM' | 'SIGKILL'): Fault =>
  async (system) => {
    await progress(system, 50);
    const before = kafkaPid(system);
    const startMs = performance.now();
    await system.kafka.restart('kafka', signal);
    const after = kafkaPid(system);
    if (after === before || after === 0) throw new NotReached('the broker is the same process as before');
    return `broker pid ${before} ended by ${signal}; pid ${after} answers after ${seconds(startMs)} s`;
  };

export const kafkaRestarted = restart('SIGTERM');
export const kafkaKilled = restart('SIGKILL');

const answerMs = 1_500;

/** The broker is stopped (SIGSTOP): connections stay open, nothing answers. */
export const kafkaUnreachable: Fault = async (system, random) => {
  await progress(system, 50);
  const startMs = performance.now();
  await system.kafka.kill('kafka', 'SIGSTOP');
  try {
    if (await brokerAnswers(system)) throw new NotReached('the broker still answers');
    await sleep(random.pick([1_000, 3_000, 10_000]));
    if (await brokerAnswers(system)) throw new NotReached('the broker answers again');
  } finally {
    await system.kafka.kill('kafka', 'SIGCONT');
  }
  const away = seconds(startMs);
  await until('the broker answers', () => brokerAnswers(system), 30_000);
  return `broker pid ${kafkaPid(system)} stopped for ${away} s: no answer at both ends of it`;
};

async function brokerAnswers({ brokers }: System): Promise<boolean> {
  const admin = createKafka(brokers, 'chaos', 0).admin({ retry: { retries: 0 } });
  const asked = admin
    .connect()
    .then(() => admin.listTopics())
    .then(
      () => true,
      () => false,
    );
  const answered = await Promise.race([asked, sleep(answerMs, false)]);
  // Not waited for: it may answer only when the broker goes on.
  void asked.then(() => admin.disconnect()).catch(() => undefined);
  return answered;
}

function seconds(sinceMs: number): string {
  return ((performance.now() - sinceMs) / 1_000).toFixed(1);
}
