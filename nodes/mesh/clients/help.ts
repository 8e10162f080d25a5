/** What a mesh server answers to `help`: enough to chat with `nc`. */

const LINES: readonly string[] = [
  'Log in first: {"type":"login","username":"Dana"}; with "more":true every message has all its fields.',
  '{"type":"msg","text":"Hello"} to everyone; "room":"R" to a room, "local":true to this server\'s clients only.',
  '{"type":"dm","to":"Ahmad","text":"…"} to one alone.',
  '{"type":"join","room":"R"}, {"type":"leave","room":"R"}, {"type":"rooms"}, {"type":"who"} ("room").',
  '{"type":"history"} what was said; "room", "limit", "before" (a seq).',
  '{"type":"status"}, {"type":"topology"} ("topology":"mesh", "ring", "bus" or "star" to switch), {"type":"trace"}.',
  '{"type":"drain"} sends clients to other servers; from this server\'s own machine; "undo":true.',
  '{"type":"ping"}, {"type":"quit"}.',
  'Any request may have an "id": its answer has the same.',
];

/** Lines for people. */
export const HELP_TEXT: string = LINES.join("\n");
