import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/**
 * Fills a container of the first account with empty objects, a thousand to a folder. The library must not be running.
 * Straight into the catalog: a million uploads would take longer than all that is measured.
 */
export function fillContainer(data: string, objects: number): void {
  const database = new DatabaseSync(join(data, 'catalog.sqlite'))
  try {
    database.exec(`
      BEGIN;
      INSERT INTO containers (account_id, name, object_count, bytes_used, created_at, updated_at, metadata)
        SELECT account_id, 'million', ${objects}, 0, created_at, updated_at, '{}' FROM containers WHERE name = 'large';
      WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${objects - 1})
        INSERT INTO objects (container_id, name, size, md5, content_type, headers, metadata, modified_at)
        SELECT container.id, 'd' || (n / 1000) || '/' || (n % 1000), 0, 'd41d8cd98f00b204e9800998ecf8427e',
          'application/octet-stream', '{}', '{}', container.created_at + n * 10
        FROM numbers, (SELECT id, created_at FROM containers WHERE name = 'million') AS container ORDER BY 2;
      COMMIT;`)
  } finally {
    database.close()
  }
}
