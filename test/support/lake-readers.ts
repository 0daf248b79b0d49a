/**
 * The lake as others read it: delta-rs, and DuckDB's Delta extension (on a bucket with its S3 extension), in Python. They share no code with the project; what
 * they say of a table is what its users will see.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { provision } from '../../scripts/stack/provision.ts';
import type { S3Server } from '../../scripts/stack/versitygw.ts';

/** Rows of a table, and the sum of each column that was asked for, as text; null where there is nothing to add up. */
export interface TableSums {
  readonly rows: number;
  readonly sums: Readonly<Record<string, string | null>>;
}

const script = `
import json, os, sys
import duckdb
from deltalake import DeltaTable, QueryBuilder
paths, options, columns = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
def asked(length):
    term = lambda name: f'{length}("{name[2:]}")' if name.startswith("[]") else f'"{name}"'
    return "".join(f', sum({term(name)}) AS "{name}"' for name in columns)
def shown(row):
    text = [None if value is None else str(value) for value in row]
    return {"rows": int(row[0]), "sums": dict(zip(columns, text[1:]))}
connection = duckdb.connect()
for extension in ["httpfs", "delta"]:
    for folder, _, files in os.walk(os.path.join(os.environ["PYTHONPATH"], f"duckdb_extension_{extension}")):
        for name in files:
            if name.endswith(".duckdb_extension"):
                connection.execute(f"LOAD '{os.path.join(folder, name)}'")
if options:
    connection.execute(f"""CREATE SECRET (TYPE s3, KEY_ID '{options["aws_access_key_id"]}', SECRET '{options["aws_secret_access_key"]}',
        REGION '{options["aws_region"]}', ENDPOINT '{options["aws_endpoint"].removeprefix("http://")}', URL_STYLE 'path', USE_SSL false)""")
def read(path):
    table = DeltaTable(path, storage_options=options)
    batches = QueryBuilder().register("t", table).execute(f"SELECT count(*) AS _rows{asked('array_length')} FROM t")
    found = batches.read_all()
    delta_rs = shown([found.column(name)[0].as_py() for name in ["_rows", *columns]])
    duck_db = shown(connection.execute(f"SELECT count(*){asked('len')} FROM delta_scan('{path}')").fetchone())
    return {"version": table.version(), "deltaRs": delta_rs, "duckDb": duck_db}
print(json.dumps([read(path) for path in paths]))
`;

const vacuumScript = `
import json, sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
print(json.dumps(table.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)))
`;

export interface OthersSums {
  readonly version: number;
  readonly deltaRs: TableSums;
  readonly duckDb: TableSums;
}

/**
 * @param path folder of the table, or its URL in a bucket
 * @param columns whose sums are wanted; `[]name`: of a list, the sum of its lengths
 * @param server that has the bucket; null for a local disk
 */
export async function readByOthers(
  path: string,
  columns: readonly string[],
  server: S3Server | null = null,
): Promise<OthersSums> {
  const [found] = await readAllByOthers([path], columns, server);
  if (found === undefined) throw new Error('Python has read nothing');
  return found;
}

/** Many tables by one Python process, in this order. */
export async function readAllByOthers(
  paths: readonly string[],
  columns: readonly string[],
  server: S3Server | null = null,
): Promise<OthersSums[]> {
  const options =
    server === null
      ? {}
      : {
          aws_endpoint: server.endpoint,
          aws_region: server.region,
          aws_access_key_id: server.credentials.accessKeyId,
          aws_secret_access_key: server.credentials.secretAccessKey,
          aws_allow_http: 'true',
        };
  const args = [JSON.stringify(paths), JSON.stringify(options), ...columns];
  return (await runPython(script, args)) as OthersSums[];
}

/** @returns what delta-rs would delete if nothing had to be kept for old readers */
export async function vacuumByOthers(path: string): Promise<string[]> {
  return (await runPython(vacuumScript, [path])) as string[];
}

async function runPython(code: string, args: readonly string[]): Promise<unknown> {
  const packages = await provision('lake-readers', process.env, (line) => process.stderr.write(`${line}\n`));
  const env = { ...process.env, PYTHONPATH: packages };
  const { stdout } = await promisify(execFile)('python3', ['-c', code, ...args], { env });
  // The packages may log before it.
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as unknown;
}
