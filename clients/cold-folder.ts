/**
 * Another disk for the cold files of a local lake: a folder of the lake becomes a symbolic link to one on that disk, so that all
 * programs find the files below the table's root. Guarantee: the link is made once, whole, to a new folder that no other lake has;
 * what else is in its place is never touched.
 */
import { randomUUID } from 'node:crypto';
import { lstat, mkdir, readlink, rmdir, stat, symlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ReckonError } from '../domain/errors.ts';

const madeName = /^-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Makes `folder` a link to `<target>-<random id>`, unless it is one already. The id makes the cold folder this lake's own: another
 * lake with the same pipeline and disk has another one, so that neither takes the other's files for its orphans.
 * @throws ReckonError `invalid-config` when the folder is something else, or when the other disk is not there
 */
export async function linkColdFolder(folder: string, target: string): Promise<void> {
  if ((await kindOf(folder)) === 'none') {
    const own = `${target}-${randomUUID()}`;
    await mkdir(dirname(own), { recursive: true });
    await mkdir(own);
    await mkdir(dirname(folder), { recursive: true });
    await symlink(own, folder).catch(async (error: NodeJS.ErrnoException) => {
      await rmdir(own);
      // Another process of this lake was faster: its link counts.
      if (error.code !== 'EEXIST') throw error;
    });
  }
  const linked = (await kindOf(folder)) === 'link' ? resolve(dirname(folder), await readlink(folder)) : '';
  if (!linked.startsWith(target) || !madeName.test(linked.slice(target.length)))
    throw new ReckonError(
      'invalid-config',
      `${folder} is not a link to a folder ${target}-<id> of its own, where LAKE_COLD_DIR wants the cold files.`,
      'Move its files to such a folder and link to that, or correct LAKE_COLD_DIR.',
    );
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory() !== true)
    throw new ReckonError(
      'invalid-config',
      `${linked}, which holds the cold files of the lake, is not there.`,
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
