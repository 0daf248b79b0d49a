/**
 * The servers that all rounds share: a Kafka and a Toxiproxy of our own, in a temporary folder. Guarantee: never those that the
 * environment names; `stop` ends everything that was begun, also in the middle of a round.
 */
import { join } from 'node:path';
import { startStack, stopStack } from '../scripts/stack/stack.ts';
import type { Stack } from '../scripts/stack/stack.ts';
import type { ToxiproxyClient } from '../scripts/stack/toxiproxy-client.ts';
import { startToxiproxy, stopToxiproxy } from '../scripts/stack/toxiproxy.ts';

export interface Servers {
  readonly brokers: string;
  readonly kafka: Stack;
  readonly kafkaDir: string;
  readonly toxiproxy: ToxiproxyClient;
  /** What a round has begun; the newest replaces what the round before had. */
  atEnd(work: () => Promise<void>): void;
  stop(): Promise<void>;
}

export async function startServers(folder: string, progress: (line: string) => void): Promise<Servers> {
  const kafkaDir = join(folder, 'kafka');
  let roundEnd = async (): Promise<void> => undefined;
  const stop = async (): Promise<void> => {
    await roundEnd().catch(() => undefined);
    await stopToxiproxy(folder);
    await stopStack(kafkaDir, () => undefined);
  };
  try {
    const kafka = await startStack({ dir: kafkaDir, only: ['kafka'], ports: 'free', progress });
    const { client } = await startToxiproxy(folder, progress);
    return {
      brokers: kafka.endpoints.kafkaBrokers,
      kafka,
      kafkaDir,
      toxiproxy: client,
      atEnd: (work) => {
        roundEnd = work;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
