import type { Image } from './image.ts'

/** What is shown of an image inside another record. */
export type NestedImage = Pick<
  Image,
  | 'id'
  | 'accountId'
  | 'name'
  | 'username'
  | 'status'
  | 'locked'
  | 'description'
  | 'source'
  | 'sourceTrigger'
  | 'arch'
  | 'createdAt'
  | 'official'
  | 'public'
>

/** An image and the one it was made from, where the session may see that. */
export interface ShownImage extends Image {
  readonly ancestor: NestedImage | null
}
