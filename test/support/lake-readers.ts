/**
 * The lake as others read it: delta-rs, and DuckDB's Delta extension, in Python. They share no code with the project; what
 * they say of a table is what its users will see.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { provision } from '../../scripts/stack/provision.ts';

/** Rows of a table, and the sum of each column that was asked for, as text; null where there is nothing to add up. */
export interface TableSums {
  readonly rows: number;
  readonly sums: Readonly<Record<string, string | null>>;
}

const script = `
import json, os, sys
import duckdb
from deltalake import DeltaTable, QueryBuilder
paths, columns = json.loads(sys.argv[1]), sys.argv[2:]
asked = "".join(f', sum("{name}") AS "{name}"' for name in columns)
def shown(row):
    text = [None if value is None else str(value) for value in row]
    return {"rows": int(row[0]), "sums": dict(zip(columns, text[1:]))}
connection = duckdb.connect()
for folder, _, files in os.walk(os.path.join(os.environ["PYTHONPATH"], "duckdb_extension_delta")):
    for name in files:
        if name.endswith(".duckdb_extension"):
            connection.execute(f"LOAD '{os.path.join(folder, name)}'")
def read(path):
    table = DeltaTable(path)
    batches = QueryBuilder().register("t", table).execute(f"SELECT count(*) AS _rows{asked} FROM t")
    found = batches.read_all()
    delta_rs = shown([found.column(name)[0].as_py() for name in ["_rows", *columns]])
    duck_db = shown(connection.execute(f"SELECT count(*){asked} FROM delta_scan('{path}')").fetchone())
    return {"version": table.version(), "deltaRs": delta_rs, "duckDb": duck_db}
print(json.dumps([read(path) for path in paths]))
`;

export interface OthersSums {
  readonly version: number;
  readonly deltaRs: TableSums;
  readonly duckDb: TableSums;
}

/** @param path folder of the table @param columns whose sums are wanted */
export async function readByOthers(path: string, columns: readonly string[]): Promise<OthersSums> {
  const [found] = await readAllByOthers([path], columns);
  if (found === undefined) throw new Error('Python has read nothing');
  return found;
}

/** Many tables by one Python process, in this order. */
export async function readAllByOthers(
  paths: readonly string[],
  columns: readonly string[],
): Promise<OthersSums[]> {
  const packages = await provision('lake-readers', process.env, (line) => process.stderr.write(`${line}\n`));
  const env = { ...process.env, PYTHONPATH: packages };
  const args = ['-c', script, JSON.stringify(paths), ...columns];
  const { stdout } = await promisify(execFile)('python3', args, { env });
  return JSON.parse(stdout) as OthersSums[];
}
