/** The usual calls of sessions, by hand; `src/session/session_record.ts` has the record's fields. */
import { type FastPath, READ_TIME } from "./_lua.ts";
import { fromPairs, listOf, rawOf } from "./_replies.ts";

/** A session that lives: its record is answered as it was read. 23 µs against 33 µs compiled, in one run on a loaded machine. */
const load = (): FastPath => ({
  lua: `
local flat = redis.call('HGETALL', KEYS[1])
local own = {}
for n = 1, #flat, 2 do
  local name = flat[n]
  if #name == 1 then own[name] = flat[n + 1] end
end
if not own.h or own.g then break end
${READ_TIME}
local idle, ends, deadline = tonumber(own.t), tonumber(own.x), tonumber(own['@'])
local span = tonumber(own.i)
if not (idle and span and ends and deadline) or now >= idle + span or now >= ends or now >= deadline then break end
return '!' .. cjson.encode(flat)`,
  output(reply) {
    const text = rawOf(reply);
    if (text === undefined) return undefined;
    const { "@": _deadline, ...record } = fromPairs(listOf<string>("~" + text));
    return record;
  },
});

/** By the names of their transitions. */
export const sessionFast = (): Record<string, FastPath> => ({ "session.load": load() });
