/**
 * The order in which a Java HashMap gives its keys: where two fields fall together under one name (a rename, flattening), the
 * last one wins, and Connect's maps without a schema are HashMaps.
 *
 * A key's place is its hash modulo the number of buckets; in a bucket they are in the order of arrival.
 */
export function inHashOrder(keys: readonly string[]): string[] {
  let buckets = 16
  while (keys.length > buckets * 0.75) buckets *= 2
  return keys
    .map((key, arrival) => ({ key, arrival, bucket: spread(hashOf(key)) & (buckets - 1) }))
    .sort((a, b) => a.bucket - b.bucket || a.arrival - b.arrival)
    .map(({ key }) => key)
}

/** `String.hashCode` */
function hashOf(text: string): number {
  let hash = 0
  for (let i = 0; i < text.length; i += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
  return hash
}

function spread(hash: number): number {
  return hash ^ (hash >>> 16)
}
