/** Servers and their volumes. Times are milliseconds since 1970; `trouble`, `console` and `layers` are JSON. */
export interface ServerRow {
  id: string
  account_id: string
  name: string
  status: string
  goal: string
  locked: number
  type_id: string
  cores: number
  /** MiB. */
  ram: number
  zone_id: string
  image_id: string
  compatibility_mode: number
  user_data: string | null
  mac_address: string
  /** Distinct among those that are not deleted. */
  slot: number
  ssh_port: number | null
  accelerator: string | null
  trouble: string | null
  console: string | null
  created_at: number
  started_at: number | null
  deleted_at: number | null
  updated_at: number
}

export interface VolumeRow {
  id: string
  account_id: string
  server_id: string
  image_id: string
  name: string | null
  status: string
  size: number
  manifest: string
  image_size: number
  filled: number
  stands_alone: number
  layers: string
  created_at: number
  updated_at: number
  deleted_at: number | null
}
