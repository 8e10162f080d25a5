/** What a server answers to `help`: enough to chat with `nc`. */

/** One line of help a request, as JSON that can be typed. */
export const CLIENT_HELP: readonly string[] = [
  '{"type":"register","user":"ann","password":"at least 8 characters"}',
  '{"type":"login","user":"ann","password":"…"} answers a session and its secret',
  '{"type":"resume","session":"…","secret":"…"} goes on with a session, at any server',
  '{"type":"send","to":"bob","text":"hello"} answers the message\'s number n',
  '{"type":"list"} the newest messages to you; "after", "before", "limit", "unread":true, "linearizable":true',
  '{"type":"mark_read","upto":17} all messages up to that number are read',
  '{"type":"delete_account","password":"…"} deletes the account and all its messages',
  '{"type":"logout"} ends the session',
  '{"type":"status"} how this server and its group are',
  '{"type":"watch"} who leads, and where the servers are; now and after each change',
  '{"type":"leave"} sends this server away for good: for its operator, from its own machine or with the key',
  '{"type":"ping"}',
  'Any request may have an "id": its answer has the same. Messages to you come by themselves.',
];
