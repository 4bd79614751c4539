import { SourceFailure } from '#base/refusal.ts'
import type { Job } from '#control/catalog/jobs.ts'
import type { OwnSource } from '#data/disk/ingest-types.ts'
import type { RegistrationPayload, UploadPayload } from './deps.ts'
import { contentOf } from './own-objects.ts'

/** An upload that nothing is heard of for so long is given up. */
export const UPLOAD_HOURS = 24
export const UPLOAD_MS = UPLOAD_HOURS * 3600_000

/** Bytes of an upload that are on stable storage. */
export function receivedOf({ content }: UploadPayload): number {
  if (!content) return 0
  return 'inline' in content ? Buffer.byteLength(content.inline, 'base64') : content.size
}

/** What a job waits for where it is an upload that is not complete. */
export function waitingUpload(job: Job | undefined): UploadPayload | undefined {
  const payload = job?.payload as RegistrationPayload | undefined
  return payload?.source === 'upload' && !payload.complete ? payload : undefined
}

/** What has come, as it lies in the store. @throws SourceFailure where not all of it came, or none of it is there */
export function uploadSource(payload: UploadPayload): OwnSource {
  const { content, complete } = payload
  if (!complete) {
    throw new SourceFailure(`The upload was not finished within ${UPLOAD_HOURS} hours.`, {
      retryable: false,
      hint: 'Register the image again.',
    })
  }
  if (!content) {
    throw new SourceFailure('The upload was begun with an older version of the library, and cannot go on.', {
      retryable: false,
      hint: 'Register the image again, and upload it once more.',
    })
  }
  return {
    kind: 'parts',
    parts: [{ content: contentOf(content), offset: 0, length: receivedOf(payload) }],
    disk: 'manifest' in content ? content.manifest : undefined,
    url: undefined,
    etag: undefined,
    lastModified: undefined,
  }
}
