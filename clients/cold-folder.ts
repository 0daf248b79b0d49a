/**
 * Another disk for the cold files of a local lake: a folder of the lake becomes a symbolic link to one on that disk, so that all
 * programs find the files below the table's root. Guarantee: the link is made once, whole; what else is in its place is never touched.
 */
import { lstat, mkdir, readlink, stat, symlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ReckonError } from '../domain/errors.ts';

/**
 * Makes `folder` a link to `target`, unless it is one already.
 * @throws ReckonError `invalid-config` when the folder is something else, or when the other disk is not there
 */
export async function linkColdFolder(folder: string, target: string): Promise<void> {
  if ((await kindOf(folder)) === 'none') {
    await mkdir(target, { recursive: true });
    await mkdir(dirname(folder), { recursive: true });
    // Another process may be as far as this one: then it has made the same link.
    await symlink(target, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  if ((await kindOf(folder)) !== 'link' || resolve(dirname(folder), await readlink(folder)) !== target)
    throw new ReckonError(
      'invalid-config',
      `${folder} is not a link to ${target}, where LAKE_COLD_DIR wants the cold files.`,
      'Move its files there and remove the folder, or correct LAKE_COLD_DIR.',
    );
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory() !== true)
    throw new ReckonError(
      'invalid-config',
      `${target}, which holds the cold files of the lake, is not there.`,
      'Mount its disk, or correct LAKE_COLD_DIR.',
    );
}

async function kindOf(path: string): Promise<'none' | 'link' | 'other'> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (found === null) return 'none';
  return found.isSymbolicLink() ? 'link' : 'other';
}
