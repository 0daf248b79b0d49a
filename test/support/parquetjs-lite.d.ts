/** The parts of parquetjs-lite that the tests use; it ships no types of its own. */
declare module 'parquetjs-lite' {
  export class ParquetReader {
    static openFile(path: string): Promise<ParquetReader>;
    getCursor(): { next(): Promise<Record<string, unknown> | null> };
    close(): Promise<void>;
  }
}

/** The decoders of its encodings. */
declare module 'parquetjs-lite/lib/codec' {
  type DecodeValues = (
    type: string,
    cursor: { buffer: Buffer; offset: number },
    count: number,
    options: object,
  ) => unknown[];
  const codecs: Record<string, { decodeValues: DecodeValues }>;
  export default codecs;
}

declare module 'parquetjs-lite/lib/compression' {
  export const PARQUET_COMPRESSION_METHODS: Record<
    string,
    { deflate?: (bytes: Buffer) => Buffer; inflate: (bytes: Buffer) => Buffer }
  >;
}

declare module 'parquetjs-lite/lib/types' {
  export const PARQUET_LOGICAL_TYPES: Record<
    string,
    {
      primitiveType: string;
      originalType: string;
      toPrimitive?: unknown;
      fromPrimitive: (value: never) => unknown;
    }
  >;
}
