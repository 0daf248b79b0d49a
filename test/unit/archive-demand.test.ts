/** What is wanted of the archive: demands add up, and what nobody can read asks for nothing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArchiveDemand } from '../../batch/archive-demand.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';

let folder: string;
let store: LocalObjectStore;
let demand: ArchiveDemand;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-demand-'));
  store = new LocalObjectStore(folder);
  demand = new ArchiveDemand(store, 'orders');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('nobody wants anything of an archive that was not asked for', async () => {
  expect(await demand.read()).toEqual({});
  expect(await demand.wantsMore({ '0': '0' })).toBe(false);
});

it('more is wanted only of what is behind and has more to write', async () => {
  await demand.ask({ '0': '10', '1': '5' });
  expect(await demand.wantsMore({ '0': '9' })).toBe(true);
  expect(await demand.wantsMore({ '0': '10' })).toBe(false);
  expect(await demand.wantsMore({ '0': '10', '1': '4' })).toBe(true);
  expect(await demand.wantsMore({ '2': '0' })).toBe(false);
  expect(await demand.wantsMore({})).toBe(false);
});

it('of two demands the larger counts, partition by partition; a smaller one takes nothing back', async () => {
  await demand.ask({ '0': '10', '1': '5' });
  await new ArchiveDemand(store, 'orders').ask({ '0': '9', '1': '100', '2': '1' });
  expect(await demand.read()).toEqual({ '0': '10', '1': '100', '2': '1' });
  await demand.ask({ '0': '3' });
  expect(await demand.read()).toEqual({ '0': '10', '1': '100', '2': '1' });
  expect(await new ArchiveDemand(store, 'other').read()).toEqual({});
});

it.each(['', '{', 'null', '[]', '{"vector":7}', '{"vector":{"0":"-1","1":"x","2":3}}'])(
  '%j asks for nothing, and is replaced',
  async (text) => {
    await store.put('orders/archive-demand.json', Buffer.from(text));
    expect(await demand.read()).toEqual({});
    await demand.ask({ '0': '1' });
    expect(await demand.read()).toEqual({ '0': '1' });
  },
);
