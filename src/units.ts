/**
 * Numbers with their units, as people read them.
 *
 * @module
 */

/** Writes bytes in kilobytes, megabytes or gigabytes. */
export function byteCount(bytes: number): string {
  if (bytes < 1e5) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}
