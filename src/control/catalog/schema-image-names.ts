/** An image that is not deleted, by its name from the start of one of its words on. */
export interface ImageNameRow {
  image_id: string
  /** As `wordsOf` gives it; sorts by its bytes. */
  words: string
  /** The image's own. */
  account_id: string
  /** Whether everybody may find it: the image is public and available. */
  open: number
}
