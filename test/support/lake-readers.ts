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
path, columns = sys.argv[1], sys.argv[2:]
def asked(length):
    term = lambda name: f'{length}("{name[2:]}")' if name.startswith("[]") else f'"{name}"'
    return "".join(f', sum({term(name)}) AS "{name}"' for name in columns)
def shown(row):
    text = [None if value is None else str(value) for value in row]
    return {"rows": int(row[0]), "sums": dict(zip(columns, text[1:]))}
table = DeltaTable(path)
batches = QueryBuilder().register("t", table).execute(f"SELECT count(*) AS n{asked('array_length')} FROM t")
found = batches.read_all()
delta_rs = shown([found.column(name)[0].as_py() for name in ["n", *columns]])
connection = duckdb.connect()
for folder, _, files in os.walk(os.path.join(os.environ["PYTHONPATH"], "duckdb_extension_delta")):
    for name in files:
        if name.endswith(".duckdb_extension"):
            connection.execute(f"LOAD '{os.path.join(folder, name)}'")
duck_db = shown(connection.execute(f"SELECT count(*){asked('len')} FROM delta_scan('{path}')").fetchone())
print(json.dumps({"version": table.version(), "deltaRs": delta_rs, "duckDb": duck_db}))
`;

/** @param path folder of the table @param columns whose sums are wanted; `[]name`: of a list, the sum of its lengths */
export async function readByOthers(
  path: string,
  columns: readonly string[],
): Promise<{ version: number; deltaRs: TableSums; duckDb: TableSums }> {
  const packages = await provision('lake-readers', process.env, (line) => process.stderr.write(`${line}\n`));
  const env = { ...process.env, PYTHONPATH: packages };
  const { stdout } = await promisify(execFile)('python3', ['-c', script, path, ...columns], { env });
  return JSON.parse(stdout) as { version: number; deltaRs: TableSums; duckDb: TableSums };
}
