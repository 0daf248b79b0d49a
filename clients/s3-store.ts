/**
 * A bucket of an S3-compatible server as an object store. Guarantee: put-if-absent is the server's own (`If-None-Match: *`), also
 * where its answer is lost on the way: our own bytes under the name are ours. Whatever a person can do about a failure is one line.
 * Region, credentials and endpoint come from the SDK's own environment (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { GetObjectCommandOutput, S3ClientConfig, StorageClass } from '@aws-sdk/client-s3';
import { ReckonError } from '../domain/errors.ts';
import { LocalCache } from './local-cache.ts';
import { missingObject } from './object-store.ts';
import type { LocalCopies, ObjectStore, StoredObject } from './object-store.ts';
import {
  canRetry,
  endpointOf,
  isConflict,
  isMissing,
  isPreconditionFailed,
  s3Failure,
  wasRepeated,
} from './s3-failures.ts';

// The version is pinned: what later ones will need is for us to know, and not on every user's terminal.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

export interface S3StoreOptions {
  /** `s3://bucket[/prefix]`. */
  readonly url: string;
  /** Local folder for files that are being written, and for copies. */
  readonly folder: string;
  /** What copies that nobody uses may take together. */
  readonly cacheBytes: number;
  /** Storage class of cold files; null: the bucket's own. */
  readonly coldClass?: string | null;
  /** Instead of what the environment says. */
  readonly connection?: {
    readonly endpoint: string;
    readonly region: string;
    readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  };
}

/** Of a request whose body the SDK cannot send or read again by itself, and of a put that met another one. */
const triesMax = 6;
const retryMs = 50;
const connectMaxMs = 5_000;
const silenceMaxMs = 30_000;

export class S3ObjectStore implements ObjectStore {
  readonly url: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  /** Empty, or with a slash at its end. */
  readonly #prefix: string;
  readonly #scratch: string;
  readonly #cache: LocalCache;
  readonly #coldClass: string | null;
  readonly #endpoint: string | null;

  constructor({ url, folder, cacheBytes, connection, coldClass = null }: S3StoreOptions) {
    this.#coldClass = coldClass;
    const [, bucket = '', prefix = ''] = /^s3:\/\/([^/]+)\/?(.*?)\/*$/.exec(url) ?? [];
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.url = prefix === '' ? `s3://${bucket}` : `s3://${bucket}/${prefix}`;
    this.#scratch = join(folder, 'scratch');
    const { AWS_ENDPOINT_URL_S3: ofS3, AWS_ENDPOINT_URL: ofAll } = process.env;
    this.#endpoint = connection?.endpoint ?? endpointOf(ofS3 || ofAll);
    // Two servers may have buckets of one name.
    this.#cache = new LocalCache(join(folder, 'copies'), `${this.#endpoint ?? ''} ${this.url}`, cacheBytes);
    const config: S3ClientConfig = {
      ...connection,
      // Servers other than Amazon's seldom have a host name for each bucket.
      forcePathStyle: this.#endpoint !== null,
      requestHandler: { connectionTimeout: connectMaxMs, socketTimeout: silenceMaxMs },
    };
    this.#client = new S3Client(config);
  }

  location(path: string): string {
    return `${this.url}/${path}`;
  }

  async get(path: string): Promise<Uint8Array | null> {
    return this.#try(async () => {
      const found = await this.#open(path);
      return found?.Body === undefined ? null : found.Body.transformToByteArray();
    });
  }

  async list(folder: string): Promise<StoredObject[]> {
    const prefix = this.#keyOf(`${folder}/`);
    const found: StoredObject[] = [];
    let token: string | undefined;
    do {
      const page = await this.#try(() =>
        this.#client.send(
          new ListObjectsV2Command({ Bucket: this.#bucket, Prefix: prefix, ContinuationToken: token }),
        ),
      );
      for (const { Key: key = '', LastModified: modified, Size: bytes = 0 } of page.Contents ?? [])
        // Some servers show folders as objects.
        if (!key.endsWith('/'))
          found.push({ name: key.slice(prefix.length), modifiedMs: modified?.getTime() ?? 0, bytes });
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.#try(() => this.#send(path, bytes));
  }

  async putIfAbsent(path: string, bytes: Uint8Array): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#send(path, bytes, '*');
        return true;
      } catch (error) {
        if (!isPreconditionFailed(error) && !isConflict(error)) throw this.#failure(error);
        // It is there. An earlier try of ours may have been the one: its answer was lost, and the SDK sent it again.
        const found = await this.get(path);
        if (found !== null) return Buffer.compare(found, bytes) === 0;
        if (isPreconditionFailed(error)) return false; // It was there, and is gone again.
        // Another put of the name is under way, and may yet fail.
        if (tries === triesMax) throw this.#failure(error);
        await sleep(retryMs * 2 ** tries * Math.random());
      }
    }
  }

  async remove(path: string): Promise<void> {
    await this.#try(async () => {
      try {
        await this.#client.send(new DeleteObjectCommand(this.#objectOf(path)));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  /** One put: at most 5 GiB, which the files of a table stay far below. */
  async adopt(localFile: string, path: string): Promise<number> {
    const { size } = await stat(localFile);
    await this.#try(async () => {
      const body = createReadStream(localFile);
      try {
        await this.#send(path, body, undefined, size);
      } finally {
        body.destroy();
      }
    });
    await rm(localFile, { force: true });
    return size;
  }

  async copyCold(from: string, to: string): Promise<void> {
    const source = this.#objectOf(from);
    const command = new CopyObjectCommand({
      ...this.#objectOf(to),
      // A header: what has a meaning in a URL must not have one there.
      CopySource: `${source.Bucket}/${source.Key.split('/').map(encodeURIComponent).join('/')}`,
      ...(this.#coldClass === null ? {} : { StorageClass: this.#coldClass as StorageClass }),
    });
    await this.#try(async () => {
      try {
        await this.#client.send(command);
      } catch (error) {
        throw isMissing(error) ? missingObject(this.url, from) : error;
      }
    });
  }

  async checksum(path: string): Promise<string> {
    return this.#try(async () => {
      const found = await this.#open(path);
      if (found?.Body === undefined) throw missingObject(this.url, path);
      const hash = createHash('sha256');
      await pipeline(found.Body as Readable, hash);
      return hash.digest('hex');
    });
  }

  async localCopies(paths: readonly string[]): Promise<LocalCopies> {
    return this.#cache.copies(paths, (path, file) => this.#download(path, file));
  }

  async scratchFile(): Promise<string> {
    await mkdir(this.#scratch, { recursive: true });
    return join(this.#scratch, randomUUID());
  }

  async discard(localFile: string): Promise<void> {
    await rm(localFile, { force: true });
  }

  async #download(path: string, file: string): Promise<void> {
    await this.#try(async () => {
      const found = await this.#open(path);
      if (found?.Body === undefined) throw missingObject(this.url, path);
      await pipeline(found.Body as Readable, createWriteStream(file));
      const { size } = await stat(file);
      if (size !== found.ContentLength)
        throw new ReckonError(
          'unreachable',
          `${this.location(path)} was cut off at ${size} of ${found.ContentLength} bytes.`,
        );
    });
  }

  /** @returns null where there is no such object */
  async #open(path: string): Promise<GetObjectCommandOutput | null> {
    try {
      return await this.#client.send(new GetObjectCommand(this.#objectOf(path)));
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  #send(path: string, body: Uint8Array | Readable, ifNoneMatch?: '*', size?: number) {
    const condition = ifNoneMatch === undefined ? {} : { IfNoneMatch: ifNoneMatch };
    const length = size === undefined ? {} : { ContentLength: size };
    return this.#client.send(
      new PutObjectCommand({ ...this.#objectOf(path), Body: body, ...length, ...condition }),
    );
  }

  /** Again where a connection broke: the SDK repeats requests, but not streams, nor an answer that breaks off half-way. */
  async #try<T>(work: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (tries >= triesMax || wasRepeated(error) || !canRetry(error)) throw this.#failure(error);
        await sleep(retryMs * 2 ** tries * Math.random());
      }
    }
  }

  #failure(error: unknown): unknown {
    return s3Failure(error, { bucket: this.#bucket, server: this.#endpoint ?? 'Amazon S3' });
  }

  #objectOf(path: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#keyOf(path) };
  }

  #keyOf(path: string): string {
    return `${this.#prefix}${path}`;
  }
}
