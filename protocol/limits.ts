/**
 * Every bound that both ends of a connection must agree on, with its reason.
 * A bound of one role alone stands in that role's core.
 */

/** Bytes of one frame, header included; 256 KiB is one read of a busy link. */
export const FRAME_BYTES_MAX = 262_144;

/** Bytes of a frame before the handshake is over: strangers get no memory. */
export const HANDSHAKE_FRAME_BYTES_MAX = 4_096;

/** Bytes of one message, its newline not counted; fits a frame four times. */
export const LINE_BYTES_MAX = 65_536;

/** Characters of a node id or cluster name: they stand in logs and tables. */
export const NAME_CHARACTERS_MAX = 64;

/** Characters of an error's text that a peer may send us. */
export const ERROR_TEXT_CHARACTERS_MAX = 1_024;

/** Nodes from one node to the tail; a longer route is taken for a cycle. */
export const ROUTE_NODES_MAX = 64;
