/** A server that has applied what its group does not have: only after a recovery by force. */

/**
 * What its operator is told. It can go on in no way: its state would differ
 * from that of the others, and what it alone has may be wanted.
 *
 * @param index All up to here is applied there.
 */
export function divergedReason(index: number): string {
  return `This server has applied entries up to ${index} that its group does not have: the group was recovered by force, without them. ` +
    "Nothing was changed here. To join, move its data directory away and start it with an empty one";
}
