/**
 * Whose leftover a file is: the names of files carry the id of the process that wrote them, so that the sweep finds what a
 * fenced writer left behind.
 *
 * Checkpoints carry the id without its dashes. The release before does not know what a checkpoint of changes builds on, and
 * its sweep would take the whole one of a fenced writer for a leftover; so it must not take it for anybody's.
 */
export function plainWriterId(writerId: string): string {
  return writerId.replaceAll('-', '')
}

export function isOfWriter(path: string, writerId: string): boolean {
  return path.includes(writerId) || path.includes(plainWriterId(writerId))
}
