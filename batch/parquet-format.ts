/**
 * How DuckDB writes the lake's Parquet files. Dictionaries of at most 256 entries: parquetjs-lite misreads the values of larger ones
 * (its `lib/codec/rle.js` takes widths above eight bits for wrong), and files of the benchmarks' events are no larger without them.
 */
export const parquetFormat = 'FORMAT parquet, COMPRESSION zstd, DICTIONARY_SIZE_LIMIT 256';
