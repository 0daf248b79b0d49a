/** Toxiproxy, for tests and chaos only: network faults between clients and servers. Guarantee: it listens on 127.0.0.1. */
import { versions, type Progress } from './model.ts';
import { chooseOwnPort } from './ports.ts';
import { startSideServer, stopSideServer, type SideServer } from './side-server.ts';
import { ToxiproxyClient } from './toxiproxy-client.ts';

export interface Toxiproxy {
  readonly client: ToxiproxyClient;
  /** Ends the process, and with it all of its connections. */
  stop(): Promise<void>;
}

const server: SideServer = {
  name: 'toxiproxy',
  label: 'Toxiproxy',
  program: 'toxiproxy-server',
  missing: {
    message: 'Network faults need toxiproxy-server on PATH, or Go to build it; neither was found.',
    hint: `Install one (macOS: brew install toxiproxy; with Go: github.com/Shopify/toxiproxy/v2/cmd/server@v${versions.toxiproxy}).`,
  },
};

/** @param dir Toxiproxy keeps its log and its record in `toxiproxy` of this folder */
export async function startToxiproxy(
  dir: string,
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Toxiproxy> {
  const port = await chooseOwnPort();
  const client = new ToxiproxyClient(`http://127.0.0.1:${port}`);
  const args = ['-host', '127.0.0.1', '-port', String(port)];
  const stop = await startSideServer(server, dir, { args, answers: () => client.answers() }, progress, env);
  return { client, stop };
}

/** Ends the Toxiproxy that is recorded in the folder, if it still runs. */
export function stopToxiproxy(dir: string): Promise<void> {
  return stopSideServer(server, dir);
}
