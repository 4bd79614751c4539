import { LIMITS } from '#control/orbit/limits.ts'
import { BULK_LIMITS } from './bulk-delete.ts'
import { POLICY } from './container.ts'
import { LISTING_LIMIT } from './listing.ts'
import { MAX_HEADER_VALUE } from './metadata.ts'
import { MAX_MANIFEST_SIZE, MAX_SEGMENTS } from './static-entries.ts'

/** What `GET /info` says; clients look at which sections there are. */
export const INFO = {
  swift: {
    version: '2.30.1',
    max_file_size: LIMITS.objectSize,
    max_meta_name_length: LIMITS.metadataName,
    max_meta_value_length: LIMITS.metadataValue,
    max_meta_count: LIMITS.metadataCount,
    max_meta_overall_size: LIMITS.metadataSize,
    max_header_size: MAX_HEADER_VALUE,
    max_object_name_length: LIMITS.objectName,
    max_container_name_length: LIMITS.containerName,
    max_account_name_length: 256,
    container_listing_limit: LISTING_LIMIT,
    account_listing_limit: LISTING_LIMIT,
    extra_header_count: 0,
    strict_cors_mode: true,
    allow_account_management: false,
    account_autocreate: true,
    policies: [{ name: POLICY, aliases: POLICY, default: true }],
  },
  tempurl: {
    methods: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'],
    allowed_digests: ['sha1', 'sha256', 'sha512'],
    incoming_remove_headers: ['x-timestamp'],
    incoming_allow_headers: [],
    outgoing_remove_headers: ['x-object-meta-*'],
    outgoing_allow_headers: ['x-object-meta-public-*'],
  },
  dlo: { max_segments: 10_000 },
  slo: {
    max_manifest_segments: MAX_SEGMENTS,
    max_manifest_size: MAX_MANIFEST_SIZE,
    min_segment_size: 1,
    yield_frequency: 10,
    allow_async_delete: true,
  },
  staticweb: {},
  bulk_delete: {
    max_deletes_per_request: BULK_LIMITS.deletes,
    max_failed_deletes: BULK_LIMITS.failures,
  },
  bulk_upload: {
    max_containers_per_extraction: BULK_LIMITS.containers,
    max_failed_extractions: BULK_LIMITS.failures,
  },
  container_quotas: {},
  account_quotas: {},
  versioned_writes: { allowed_flags: ['x-versions-location', 'x-history-location'] },
} as const
