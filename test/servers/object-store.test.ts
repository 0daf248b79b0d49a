/**
 * The contract of an object store, on the local disk and on a real S3 server; and what goes wrong between a client and such a server:
 * answers that are lost, conditions that are ignored, wrong buckets, credentials and addresses.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { openLakeStore, probePutIfAbsent } from '../../clients/lake-store.ts';
import { LocalObjectStore } from '../../clients/object-store.ts';
import type { LocalCopies, ObjectStore } from '../../clients/object-store.ts';
import { S3ObjectStore } from '../../clients/s3-store.ts';
import type { S3StoreOptions } from '../../clients/s3-store.ts';
import { chooseOwnPort } from '../../scripts/stack/ports.ts';
import type { S3Server } from '../../scripts/stack/versitygw.ts';
import { lakeKinds, openLakes } from '../support/lakes.ts';
import type { Lakes } from '../support/lakes.ts';
import { startProxy } from '../support/s3-proxy.ts';
import type { Meddle } from '../support/s3-proxy.ts';

const bytesOf = (text: string) => Buffer.from(text);
const textOf = async (store: ObjectStore, path: string) => {
  const found = await store.get(path);
  return found === null ? null : Buffer.from(found).toString();
};
/** A finished file of this size that no compression makes small. */
async function scratchOf(store: ObjectStore, size: number): Promise<{ file: string; digest: string }> {
  const file = await store.scratchFile();
  const bytes =
    size === 0 ? bytesOf('') : createHash('shake256', { outputLength: size }).update('some').digest();
  writeFileSync(file, bytes);
  return { file, digest: createHash('sha256').update(bytes).digest('hex') };
}
const digestOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

describe.each(lakeKinds)('on %s', (kind) => {
  let lakes: Lakes;
  beforeAll(async () => (lakes = await openLakes(kind)));
  afterAll(() => lakes.close());

  it('what is put is there, whole, until it is replaced or removed', async () => {
    const { store, scratch } = lakes.newLake();
    const path = `a b/p0/é%"'+?*[x].json`;
    expect(await store.get(path)).toBeNull();
    await store.put(path, bytesOf('one'));
    await store.put(path, bytesOf('two'));
    expect(await textOf(store, path)).toBe('two');
    await store.put('empty', bytesOf(''));
    expect(await textOf(store, 'empty')).toBe('');
    await store.remove(path);
    await store.remove(path);
    expect(await store.get(path)).toBeNull();
    expect(store.location('x/y')).toBe(`${store.url}/x/y`);
    expect(scratch()).toEqual([]);
  });

  it('lists a folder at any depth, by name, and nothing beside it', async () => {
    const { store } = lakes.newLake();
    expect(await store.list('t')).toEqual([]);
    const names = ['a/b/c', 'a.x', 'b', 'p0/1', 'p0/2', 'p10/1'];
    for (const name of names) await store.put(`t/${name}`, bytesOf(name));
    await store.put('tt/other', bytesOf('x'));
    await store.put('t2', bytesOf('x'));
    const found = await store.list('t');
    expect(found.map(({ name }) => name)).toEqual([...names].sort());
    // Some servers tell whole seconds.
    for (const { modifiedMs } of found) expect(Math.abs(Date.now() - modifiedMs)).toBeLessThan(60_000);
    expect((await store.list('t/p0')).map(({ name }) => name)).toEqual(['1', '2']);
  });

  it('lists more than one page', async () => {
    const { store } = lakes.newLake();
    const names = Array.from({ length: 1_100 }, (_, i) => String(i).padStart(5, '0'));
    for (let from = 0; from < names.length; from += 50)
      await Promise.all(names.slice(from, from + 50).map((name) => store.put(`t/${name}`, bytesOf(name))));
    expect((await store.list('t')).map(({ name }) => name)).toEqual(names);
  });

  it('of 20 callers at once one creates the object, and it holds what that one sent', async () => {
    const { store, scratch } = lakes.newLake();
    for (let round = 0; round < 5; round++) {
      const path = `log/${round}.json`;
      const won = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.putIfAbsent(path, bytesOf(`writer ${i}`))),
      );
      expect(won.filter(Boolean)).toHaveLength(1);
      expect(await textOf(store, path)).toBe(`writer ${won.indexOf(true)}`);
      expect(await store.putIfAbsent(path, bytesOf('late'))).toBe(false);
    }
    expect(scratch()).toEqual([]);
  });

  it('takes over finished files, also large ones, and gives copies of them', async () => {
    const { store, scratch } = lakes.newLake();
    const sizes = [0, 1, 40 << 20];
    const digests: string[] = [];
    for (const size of sizes) {
      const { file, digest } = await scratchOf(store, size);
      expect(await store.adopt(file, `t/${size}`)).toBe(size);
      expect(existsSync(file)).toBe(false);
      digests.push(digest);
    }
    const paths = sizes.map((size) => `t/${size}`);
    const copies = await store.localCopies(paths);
    expect(copies.files.map(digestOf)).toEqual(digests);
    await copies.release();
    await copies.release();
    const unwanted = await store.scratchFile();
    writeFileSync(unwanted, 'x');
    await store.discard(unwanted);
    await store.discard(unwanted);
    expect(scratch()).toEqual([]);
  });

  it('copies of objects that are not there are told, and nothing stays of the others', async () => {
    const { store } = lakes.newLake();
    await store.put('t/here', bytesOf('here'));
    await expect(store.localCopies(['t/here', 't/gone'])).rejects.toMatchObject({
      code: 'corrupt-lake',
      message: `t/gone of the lake (${store.url}) is missing.`,
    });
    expect((await store.localCopies([])).files).toEqual([]);
  });

  it.each([
    'p0/0-9-x.parquet',
    'p0/a b.parquet',
    'p0/100%.parquet',
    'p0/50%20+1+%2B.parquet',
    'p0/Größe Ä é ß 日本.parquet',
    `p0/?x=1&y#z;'"!()*[~].parquet`,
  ])('copies %s to cold storage: the same bytes, by their checksum', async (name) => {
    const { store, scratch } = lakes.newLake();
    const [from, to] = [`a t/${name}`, `a t/cold/${name}`];
    const { file, digest } = await scratchOf(store, 300_000);
    await store.adopt(file, from);
    await store.copyCold(from, to);
    expect(
      Buffer.compare((await store.get(from)) ?? bytesOf(''), (await store.get(to)) ?? bytesOf('x')),
    ).toBe(0);
    expect([await store.checksum(from), await store.checksum(to)]).toEqual([digest, digest]);
    expect((await store.list('a t')).map((object) => object.name)).toEqual([`cold/${name}`, name]);
    // The copy is an object of its own.
    await store.remove(from);
    expect(await store.checksum(to)).toBe(digest);
    expect(scratch()).toEqual([]);
  });

  it('a checksum is that of what is there: of nothing, of a byte, of what has been replaced', async () => {
    const { store } = lakes.newLake();
    for (const text of ['', 'x', 'y'.repeat(3_000_000)]) {
      await store.put('t/x', bytesOf(text));
      expect(await store.checksum('t/x')).toBe(createHash('sha256').update(text).digest('hex'));
    }
  });

  it('a copy or a checksum of an object that is not there is one line, and leaves nothing', async () => {
    const { store } = lakes.newLake();
    const missing = {
      code: 'corrupt-lake',
      message: `t/p0/gone of the lake (${store.url}) is missing.`,
    };
    await expect(store.copyCold('t/p0/gone', 't/cold/p0/gone')).rejects.toMatchObject(missing);
    await expect(store.checksum('t/p0/gone')).rejects.toMatchObject(missing);
    expect(await store.list('t')).toEqual([]);
  });

  it('passes the probe, which leaves nothing behind', async () => {
    const { store } = lakes.newLake();
    await probePutIfAbsent(store);
    expect(await store.list('_scratch')).toEqual([]);
  });
});

describe('a folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-folder-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('on a file system without link(2) is refused', async () => {
    // No such file system can be mounted here.
    class Linkless extends LocalObjectStore {
      override putIfAbsent(): Promise<boolean> {
        return Promise.reject(Object.assign(new Error('EPERM: link'), { code: 'EPERM' }));
      }
    }
    await expect(probePutIfAbsent(new Linkless(folder))).rejects.toMatchObject({
      code: 'unsafe-server',
      message: `The lake at ${folder} is not safe for several writers: its file system has no hard links (EPERM).`,
    });
  });

  it('that is a file is told', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(probePutIfAbsent(new LocalObjectStore(file))).rejects.toMatchObject({
      code: 'invalid-config',
      message: `LAKE_URL: ${file} cannot be written to (ENOTDIR).`,
    });
    const settings = { lakeColdDir: null, lakeColdClass: null, lakeCacheBytes: 1, home: folder };
    await expect(openLakeStore({ lakeUrl: file, ...settings }, 'read')).rejects.toMatchObject({
      code: 'invalid-config',
      message: `LAKE_URL: ${file} cannot be read (ENOTDIR).`,
    });
  });
});

describe('a bucket', () => {
  let lakes: Lakes;
  let server: S3Server;
  let stores = 0;
  beforeAll(async () => {
    lakes = await openLakes('S3');
    if (lakes.server === null) throw new Error('no server');
    server = lakes.server;
  });
  afterAll(() => lakes.close());
  const storeWith = (change: Partial<S3StoreOptions> = {}) =>
    new S3ObjectStore({
      url: `s3://lakes/own-${++stores}`,
      folder: join(lakes.folder, `own-${stores}`),
      cacheBytes: 1 << 20,
      connection: server,
      ...change,
    });
  /** A store behind a proxy that meddles with its requests. */
  async function behind<T>(meddle: Meddle, work: (store: S3ObjectStore) => Promise<T>): Promise<T> {
    const proxy = await startProxy(server.endpoint, meddle);
    try {
      return await work(storeWith({ connection: { ...server, endpoint: proxy.endpoint } }));
    } finally {
      await proxy.close();
    }
  }
  const isConditional: (asked: Parameters<Meddle>[0]) => boolean = ({ headers }) =>
    headers['if-none-match'] === '*';

  describe('local copies', () => {
    /** Objects of 100,000 bytes each. */
    const fill = async (store: ObjectStore, count: number) => {
      const paths = Array.from({ length: count }, (_, i) => `t/${i}`);
      for (const path of paths) await store.adopt((await scratchOf(store, 100_000)).file, path);
      return paths;
    };
    const cached = (folder: string) =>
      readdirSync(join(folder, 'copies'), { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => name);
    const leased = (folder: string) => readdirSync(join(folder, 'copies', 'used'), { recursive: true });

    it('are downloaded once, however many want them at once, and again after that', async () => {
      let downloads = 0;
      const count: Meddle = ({ method, url }, forward) => {
        if (method === 'GET' && url.includes('/t/')) downloads++;
        return forward();
      };
      await behind(count, async (store) => {
        const paths = await fill(store, 5);
        const all = await Promise.all(
          Array.from({ length: 8 }, () => store.localCopies([...paths, paths[0] ?? ''])),
        );
        expect(downloads).toBe(5);
        const files = all.flatMap((copies) => copies.files);
        // Nobody's release takes another's copy away.
        expect(new Set(files).size).toBe(8 * 6);
        await all[0]?.release();
        expect(files.slice(6).every((file) => statSync(file).size === 100_000)).toBe(true);
        await Promise.all(all.map((copies) => copies.release()));
        expect(files.filter((file) => existsSync(file))).toEqual([]);
        await (await store.localCopies(paths)).release();
        expect(downloads).toBe(5);
      });
    });

    it('take no more than the bound, but for those in use; the oldest go first', async () => {
      const folder = join(lakes.folder, 'bounded');
      const store = storeWith({ folder, cacheBytes: 350_000 });
      const paths = await fill(store, 6);
      const [first = '', second = ''] = paths;
      const held = await store.localCopies([first]);
      await (await store.localCopies([second])).release();
      for (const path of paths.slice(2)) await (await store.localCopies([path])).release();
      // The first, which is in use, and the two that were used last.
      expect(cached(folder)).toHaveLength(3);
      const all = await store.localCopies(paths);
      expect(all.files.map((file) => statSync(file).size)).toEqual(paths.map(() => 100_000));
      await all.release();
      expect(cached(folder)).toHaveLength(3);
      expect(statSync(held.files[0] ?? '').size).toBe(100_000);
      await held.release();
      expect(leased(folder)).toEqual([]);
    });

    it('of several stores on one folder, as of several processes, with a bound below what each uses', async () => {
      const folder = join(lakes.folder, 'shared');
      const url = 's3://lakes/shared';
      const sharing = Array.from({ length: 4 }, () => storeWith({ url, folder, cacheBytes: 150_000 }));
      const paths = await fill(sharing[0] as ObjectStore, 6);
      const [{ file, digest }] = [await scratchOf(storeWith(), 100_000)];
      expect(digestOf(file)).toBe(digest);
      const work = sharing.map(async (store, who) => {
        for (let round = 0; round < 15; round++) {
          const wanted = paths.filter((_, i) => (i + who + round) % 3 !== 0);
          const copies: LocalCopies = await store.localCopies(wanted);
          expect(copies.files.map(digestOf)).toEqual(wanted.map(() => digest));
          await copies.release();
        }
      });
      await Promise.all(work);
      await (await sharing[0]?.localCopies(paths.slice(0, 1)))?.release();
      expect(cached(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
      expect(cached(folder).length).toBeLessThanOrEqual(2);
      expect(leased(folder)).toEqual([]);
    });

    it('that a killed process used, or had begun, go after an hour', async () => {
      const folder = join(lakes.folder, 'abandoned');
      const [path = ''] = await fill(storeWith({ folder, url: 's3://lakes/abandoned' }), 1);
      const abandoned = ['dead', 'alive'].map((name) => join(folder, 'copies', 'used', name));
      const parts = ['old', 'new'].map((name) => join(folder, 'copies', `${name}.part`));
      for (const dir of abandoned) {
        mkdirSync(dir, { recursive: true });
        writeFileSync(join(dir, 'copy'), 'x');
      }
      for (const part of parts) writeFileSync(part, 'x');
      const longAgo = new Date(Date.now() - 2 * 3_600_000);
      for (const old of [abandoned[0], parts[0]]) utimesSync(old ?? '', longAgo, longAgo);
      const store = storeWith({ folder, url: 's3://lakes/abandoned' });
      await (await store.localCopies([path])).release();
      expect([...abandoned, ...parts].map((file) => existsSync(file))).toEqual([false, true, false, true]);
    });

    it('are whole, also where the first download breaks off half-way', async () => {
      let broken = 0;
      const breakFirst: Meddle = async ({ method, url }, forward) => {
        const reply = await forward();
        if (method !== 'GET' || !url.includes('/t/') || broken++ > 0) return reply;
        return null;
      };
      await behind(breakFirst, async (store) => {
        const { file, digest } = await scratchOf(store, 300_000);
        await store.adopt(file, 't/0');
        const copies = await store.localCopies(['t/0']);
        expect(copies.files.map(digestOf)).toEqual([digest]);
        expect(broken).toBeGreaterThan(1);
        await copies.release();
      });
    });
  });

  describe('put-if-absent', () => {
    it('is ours where the answer was lost, and the next try is told that the object is there', async () => {
      const answers: number[] = [];
      const loseFirst: Meddle = async (asked, forward) => {
        const reply = await forward();
        if (!isConditional(asked)) return reply;
        answers.push(reply.status);
        return answers.length === 1 ? null : reply;
      };
      await behind(loseFirst, async (store) => {
        expect(await store.putIfAbsent('log/0.json', bytesOf('mine'))).toBe(true);
        expect(answers).toEqual([200, 412]);
        expect(await store.putIfAbsent('log/0.json', bytesOf('theirs'))).toBe(false);
        expect(await textOf(store, 'log/0.json')).toBe('mine');
      });
    });

    it('is sent again where another put of the name was under way (409)', async () => {
      let conflicts = 0;
      const conflictTwice: Meddle = async (asked, forward) => {
        if (!isConditional(asked) || conflicts >= 2) return forward();
        conflicts++;
        const body = bytesOf(
          '<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>',
        );
        return { status: 409, headers: { 'content-type': 'application/xml' }, body };
      };
      await behind(conflictTwice, async (store) => {
        expect(await store.putIfAbsent('log/0.json', bytesOf('mine'))).toBe(true);
        expect(conflicts).toBe(2);
        expect(await textOf(store, 'log/0.json')).toBe('mine');
      });
    });

    it('a server that ignores the condition is refused at the start', async () => {
      const client = new S3Client({ ...server, forcePathStyle: true });
      let stripped = 0;
      // A header that was signed cannot be taken out: the request is sent anew without it.
      const strip: Meddle = async (asked, forward) => {
        if (!isConditional(asked)) return forward();
        stripped++;
        const [bucket = '', ...key] = decodeURIComponent(new URL(asked.url, server.endpoint).pathname)
          .slice(1)
          .split('/');
        await client.send(new PutObjectCommand({ Bucket: bucket, Key: key.join('/'), Body: asked.body }));
        return { status: 200, headers: { etag: `"${randomUUID()}"` }, body: bytesOf('') };
      };
      await behind(strip, async (store) => {
        await expect(probePutIfAbsent(store)).rejects.toMatchObject({
          code: 'unsafe-server',
          line: expect.stringMatching(
            /^The lake at s3:\/\/lakes\/own-\d+ is not safe for several writers: it replaces an object that must not be replaced \(If-None-Match is ignored\)\. [^\n]+$/,
          ) as string,
        });
        expect(stripped).toBe(2);
        expect(await store.list('_scratch')).toEqual([]);
      });
      client.destroy();
    });
  });

  it.each([null, 'STANDARD_IA'])('cold copies are asked for with storage class %s', async (coldClass) => {
    const asked: unknown[] = [];
    const note: Meddle = (request, forward) => {
      if (request.headers['x-amz-copy-source'] !== undefined)
        asked.push(request.headers['x-amz-storage-class'] ?? null);
      return forward();
    };
    const proxy = await startProxy(server.endpoint, note);
    try {
      const store = storeWith({ coldClass, connection: { ...server, endpoint: proxy.endpoint } });
      await store.put('t/p0/x', bytesOf('cold'));
      await store.copyCold('t/p0/x', 't/cold/p0/x');
      expect(asked).toEqual([coldClass]);
      expect(await textOf(store, 't/cold/p0/x')).toBe('cold');
    } finally {
      await proxy.close();
    }
  });

  describe('what is wrong is one line', () => {
    const lineOf = async (change: Partial<S3StoreOptions>) => {
      const failed: unknown = await probePutIfAbsent(storeWith(change)).catch((error: unknown) => error);
      return failed;
    };
    const elsewhere = async () => `http://127.0.0.1:${await chooseOwnPort()}`;

    it('no such bucket', async () => {
      expect(await lineOf({ url: 's3://nowhere/x' })).toMatchObject({
        code: 'invalid-config',
        line: `LAKE_URL: there is no bucket nowhere on ${server.endpoint}. Create it, or name another.`,
      });
    });

    it.each([
      ['an unknown key', { accessKeyId: 'nobody', secretAccessKey: 'reckon-secret' }],
      ['a wrong secret', { accessKeyId: 'reckon', secretAccessKey: 'wrong' }],
    ])('%s, which is not taken for an empty lake either', async (_name, credentials) => {
      const connection = { ...server, credentials };
      const refused = {
        code: 'invalid-config',
        line: expect.stringMatching(/ refuses the credentials for bucket lakes \(\w+\)\. Set AWS_/) as string,
      };
      expect(await lineOf({ connection })).toMatchObject(refused);
      const store = storeWith({ connection });
      await expect(store.get('t/_delta_log/0.json')).rejects.toMatchObject(refused);
      await expect(store.list('t')).rejects.toMatchObject(refused);
      await expect(store.localCopies(['t/0'])).rejects.toMatchObject(refused);
    });

    it('a wrong region', async () => {
      expect(await lineOf({ connection: { ...server, region: 'eu-west-1' } })).toMatchObject({
        code: 'invalid-config',
        line: expect.stringMatching(/^AWS_REGION does not fit bucket lakes on http/) as string,
      });
    });

    it.each([
      ['InvalidStorageClass', 400, 'there is no such storage class'],
      // As Amazon answers for what is in an archive.
      ['InvalidObjectState', 403, 'an object has to be restored before it can be read'],
    ])('a storage class that is of no use here (%s)', async (code, status, line) => {
      const refuse: Meddle = async (asked, forward) => {
        const reply = await forward();
        if (asked.headers['x-amz-copy-source'] === undefined) return reply;
        const body = bytesOf(`<Error><Code>${code}</Code><Message>Not so.</Message></Error>`);
        return { status, headers: { 'content-type': 'application/xml' }, body };
      };
      await behind(refuse, async (store) => {
        await store.put('t/p0/x', bytesOf('x'));
        await expect(store.copyCold('t/p0/x', 't/cold/p0/x')).rejects.toMatchObject({
          code: 'invalid-config',
          line: expect.stringMatching(
            new RegExp(
              `^LAKE_COLD_CLASS: ${line} \\(bucket lakes on http://\\S+: Not so\\)\\. Use a storage`,
            ),
          ) as string,
        });
      });
    });

    it('nobody listens there: worth another try', async () => {
      const endpoint = await elsewhere();
      expect(await lineOf({ connection: { ...server, endpoint } })).toMatchObject({
        code: 'unreachable',
        retryable: true,
        line: expect.stringMatching(
          new RegExp(
            `^The lake's server ${endpoint} does not answer \\(ECONNREFUSED: .*\\)\\. Check AWS_ENDPOINT_URL`,
          ),
        ) as string,
      });
    });
  });

  it.each([
    [
      'http://me:hunter2@127.0.0.1:1',
      'unreachable',
      /^The lake's server http:\/\/127\.0\.0\.1:1 does not answer/,
    ],
    [
      'minio:9000',
      'invalid-config',
      /^AWS_ENDPOINT_URL \(or AWS_ENDPOINT_URL_S3\) must be http:\/\/host:port or/,
    ],
    ['me:hunter2@minio:9000', 'invalid-config', /^AWS_ENDPOINT_URL \(or AWS_ENDPOINT_URL_S3\) must be http:/],
  ])('at AWS_ENDPOINT_URL=%s is one line, without the password', async (endpoint, code, line) => {
    const before = { ...process.env };
    const options = { url: 's3://lakes', folder: join(lakes.folder, 'by-endpoint'), cacheBytes: 1 };
    Object.assign(process.env, { ...server.env, AWS_ENDPOINT_URL: endpoint, AWS_ENDPOINT_URL_S3: '' });
    try {
      const error = await (async () => new S3ObjectStore(options).get('x'))().then(
        () => null,
        (thrown: unknown) => thrown as Error,
      );
      expect(error).toMatchObject({ code, message: expect.stringMatching(line) as string });
      expect(error?.message).not.toMatch(/hunter2|\n/);
    } finally {
      process.env = before;
    }
  });

  it('is what LAKE_URL opens, with what the environment says', async () => {
    const before = { ...process.env };
    Object.assign(process.env, server.env);
    try {
      const settings = {
        lakeColdDir: null,
        lakeColdClass: null,
        lakeCacheBytes: 1,
        home: join(lakes.folder, 'home'),
      };
      // What killed processes had begun to write goes when the lake is opened, to be written to.
      const scratch = join(settings.home, 'tmp', 'lake', 'scratch');
      mkdirSync(scratch, { recursive: true });
      for (const name of ['old', 'new']) writeFileSync(join(scratch, name), 'x');
      const longAgo = new Date(Date.now() - 25 * 3_600_000);
      utimesSync(join(scratch, 'old'), longAgo, longAgo);
      await openLakeStore({ lakeUrl: 's3://lakes/by-url', ...settings }, 'read');
      expect(readdirSync(scratch)).toEqual(['new', 'old']);
      const store = await openLakeStore({ lakeUrl: 's3://lakes/by-url', ...settings });
      expect(readdirSync(scratch)).toEqual(['new']);
      expect(store.url).toBe('s3://lakes/by-url');
      await store.put('t/x', bytesOf('x'));
      const root = await openLakeStore({ lakeUrl: 's3://lakes', ...settings });
      expect(await textOf(root, 'by-url/t/x')).toBe('x');
      const none = join(lakes.folder, 'no folder');
      expect(await (await openLakeStore({ lakeUrl: none, ...settings }, 'read')).list('t')).toEqual([]);
      expect(existsSync(none)).toBe(false);
      const local = await openLakeStore({ lakeUrl: join(lakes.folder, 'a folder'), ...settings });
      expect(local.location('t')).toBe(join(lakes.folder, 'a folder', 't'));
    } finally {
      process.env = before;
    }
  });
});
