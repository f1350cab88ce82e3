/**
 * The Lua twins: each transition once more, in the language that runs next to the data. They agree with the
 * TypeScript in `src/`, line by line; a differential test compares both over random histories.
 *
 * `apply(r, i, now)` gets the record (or nil), the input and the time, and returns output, next record and
 * deadline. A nil record changes nothing, `false` deletes. Numbers become text through `int` only. A twin may
 * have a `fast` part: the usual case done at once, with its reply, or a `break` that leaves the decision to
 * `apply`.
 *
 * Redis runs one script at a time, and every function that a script defines costs time at each call: scripts
 * are straight code.
 */
import type { Fields } from "../../src/store/transition.ts";

/** A transition's native form. */
export interface LuaTwin {
  /**
   * Whether the script may write. Clients send a request again after a broken connection, and so does a
   * runtime's own fetch; such a copy arrives at once, late, or after other calls, and must answer the same
   * and change nothing more. No writing transition does that at all three times by itself, so the engine
   * keeps the reply of each for a minute, under a key of its own, and answers copies with it.
   */
  readonly kind: "read" | "write";
  /** Helpers and `apply`. */
  readonly lua: string;
  /** Fields of the input that travel without their names, in this order; an empty one is a missing one. */
  readonly fields?: readonly string[];
  /**
   * The usual case. It finds its input in `ARGV`; of what surrounds it, only `int`, `now` and `virtual` are
   * defined.
   */
  readonly fast?: string;
  /** Whether `fast` itself keeps its reply under `KEYS[2]`, where there is one. */
  readonly fastRemembers?: true;
  /** The output, made of the whole numbers that `fast` answers; `undefined` if they are no valid reply. */
  readonly output?: (figures: readonly number[]) => Fields | undefined;
}

/**
 * `now`, in milliseconds: the clock of Redis, or in tests a virtual one, which comes before the other
 * arguments.
 */
const now = (virtual: boolean) => `
local function int(n) return string.format('%d', n) end
${virtual ? VIRTUAL : TIME}`;
const TIME = `local t = redis.call('TIME')
local now, virtual = t[1] * 1000 + math.floor(t[2] / 1000), false`;
const VIRTUAL = `local now, virtual = tonumber(table.remove(ARGV, 1)), true`;

/** A helper of twins: whether a text is a whole number that a double holds. */
export const WHOLE = `
local function whole(v) return v and #v <= 16 and string.find(v, '^%d+$') end
`;

/**
 * Reads `record`; nil when there is none or it has expired. It is a hash, whose field `@` is its deadline,
 * `was`.
 */
const READ = `
local flat, record, was = redis.call('HGETALL', KEYS[1]), nil, nil
if flat[1] then
  record = {}
  for n = 1, #flat, 2 do record[flat[n]] = flat[n + 1] end
  was, record['@'] = record['@'], nil
  if was and now >= tonumber(was) then record = nil end
end
`;

/** Makes `nxt` the record until `deadline`; writes what differs from what was read. */
const WRITE = `
if nxt == false then redis.call('DEL', KEYS[1]) elseif nxt then
  deadline = deadline and int(deadline)
  nxt['@'] = deadline
  local gone, set = {}, {}
  for n = 1, #flat, 2 do
    local name = flat[n]
    local value = nxt[name]
    if value == nil then gone[#gone + 1] = name elseif value == flat[n + 1] then nxt[name] = nil end
  end
  for name, value in pairs(nxt) do set[#set + 1] = name set[#set + 1] = value end
  -- One command each, but for a record with more fields than unpack takes.
  for n = 1, #set, 2000 do redis.call('HSET', KEYS[1], unpack(set, n, math.min(n + 1999, #set))) end
  for n = 1, #gone, 2000 do redis.call('HDEL', KEYS[1], unpack(gone, n, math.min(n + 1999, #gone))) end
  if not deadline then redis.call('PERSIST', KEYS[1])
  elseif not virtual and was ~= deadline then redis.call('PEXPIREAT', KEYS[1], deadline) end
end
`;

/**
 * Answers `out` as one text. The tilde keeps clients that guess types from parsing it, and is no letter of
 * base64.
 */
const REPLY = `
return '~' .. cjson.encode(out)`;

/** `KEYS[2]`, where there is one, keeps the reply of a call whose copies may arrive later. */
const KNOWN = `
local memory = KEYS[2]
local known = memory and redis.call('GET', memory)
if known then return known end
`;

/** How long a reply is kept, in milliseconds: longer than any client goes on sending copies of a request. */
const MEMORY = 60_000;

const REMEMBER = `
out = '~' .. cjson.encode(out)
if memory then redis.call('SET', memory, out, 'PX', ${MEMORY}) end
return out`;

/** Ends a script that was executed before, where a copy needs no other reply than an empty one. */
export const UNLESS_DONE =
  `if memory and not redis.call('SET', memory, '~[]', 'NX', 'PX', ${MEMORY}) then return '~[]' end`;

/**
 * Runs `fast` after a look at the memory, and keeps its numbers there: `=` and decimal digits, since cjson
 * rounds them.
 */
const remembered = (fast: string) => `
${KNOWN}
local function quick()
  repeat
${fast}
  until true
end
local figures = quick()
if figures then
  if memory then
    local texts = {}
    for n, figure in ipairs(type(figures) == 'table' and figures or {figures}) do texts[n] = int(figure) end
    redis.call('SET', memory, '=' .. table.concat(texts, ','), 'PX', ${MEMORY})
  end
  return figures
end
`;

/** An input as arguments: the values of the twin's own fields, then the other fields as pairs. */
export function inputArgs(input: Fields, fields: readonly string[] = []): string[] {
  const args = fields.map((name) => input[name] ?? "");
  let own = args.length;
  while (own > 0 && args[own - 1] === "") own--;
  for (const name in input) if (!fields.includes(name)) args.push(name, input[name]!);
  if (args.length === fields.length) args.length = own;
  return args;
}

/** The script of a twin. `ARGV`: the result of `inputArgs`. */
export function luaScript(
  twin: Omit<LuaTwin, "kind"> & Partial<Pick<LuaTwin, "kind">>,
  virtual: boolean,
): string {
  const { fields = [], lua } = twin;
  return `${now(virtual)}${fastPart(twin)}${lua.trim()}${READ}
local input, names, out = {}, {${fields.map((name) => `'${name}'`)}}, {}
for n = 1, #names do if ARGV[n] ~= '' then input[names[n]] = ARGV[n] end end
for n = #names + 1, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end
local output, nxt, deadline = apply(record, input, now)
for name, value in pairs(output) do out[#out + 1] = name out[#out + 1] = value end
${WRITE}${REMEMBER}`;
}

function fastPart(
  { kind, fast, fastRemembers }: Omit<LuaTwin, "kind"> & Partial<Pick<LuaTwin, "kind">>,
): string {
  if (fast === undefined) return KNOWN;
  if (kind !== "read" && !fastRemembers) return remembered(fast.trim());
  return `
repeat
${fast.trim()}
until true${KNOWN}`;
}

/** Answers the time, and the record's pairs. */
export const load = (virtual: boolean): string =>
  `${now(virtual)}${READ}
local out = {int(now)}
for name, value in pairs(record or {}) do out[#out + 1] = name out[#out + 1] = value end
${REPLY}`;

/**
 * Writes if the record is still the one that was loaded. `ARGV`: the length of the list of loaded pairs,
 * those pairs, the deadline or an empty text, then the pairs of the next record (none: delete).
 */
export const commit = (virtual: boolean): string =>
  `${now(virtual)}${KNOWN}${READ}
local count, left, same = tonumber(ARGV[1]), 0, true
for _ in pairs(record or {}) do left = left + 1 end
for n = 2, count + 1, 2 do
  same = same and record ~= nil and record[ARGV[n]] == ARGV[n + 1]
  left = left - 1
end
local out, nxt, deadline = {'0'}, nil, nil
if same and left == 0 then
  out, nxt, deadline = {'1'}, false, tonumber(ARGV[count + 2])
  for n = count + 3, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
end
${WRITE}${REMEMBER}`;

/** Answers the encoded values of many keys; `false` for a missing one. */
export const GET_MANY = `
local out = {}
for n, key in ipairs(KEYS) do
  out[n] = redis.call('HGET', key, 'v') or (redis.call('EXISTS', key) == 1 and '\\0')
end
${REPLY}`;

/**
 * Sets many keys. `KEYS`: the memory, then the keys. `ARGV`: milliseconds to live or empty, then a value per
 * key.
 */
export const setMany = (virtual: boolean): string =>
  `${now(virtual)}
local memory, there = table.remove(KEYS, 1), {}
-- A key of another program is an error here, before anything is written.
for n, key in ipairs(KEYS) do there[n] = redis.call('HLEN', key) > 0 end
${UNLESS_DONE}
local ttl = tonumber(ARGV[1])
local e = ttl and int(now + ttl)
for n, key in ipairs(KEYS) do
  if there[n] then redis.call('DEL', key) end
  redis.call('HSET', key, 'v', ARGV[n + 1], unpack(e and {'e', e, '@', e} or {}))
  if e and not virtual then redis.call('PEXPIREAT', key, e) end
end
return '~[]'`;

/** Deletes many keys and answers how many there were. `KEYS`: the memory, then the keys. */
export const DELETE_MANY = `
local memory = table.remove(KEYS, 1)
local known = redis.call('GET', memory)
if known then return known end
local out = {tostring(redis.call('UNLINK', unpack(KEYS)))}
${REMEMBER}`;

/**
 * Lists a page of keys. `KEYS[1]` routes the script to a node of a cluster, and shows the head that keys
 * really have: a client may put its own prefix in front of every key. `ARGV`: cursor, beginning of the keys,
 * how many, the length of what follows the head in `KEYS[1]`, and anything more where the server may be a
 * cluster. Answers the next cursor, the least slot of each master (empty without a cluster), and the keys
 * without the head.
 */
export const LIST = `
local head = string.sub(KEYS[1], 1, #KEYS[1] - tonumber(ARGV[4]))
local pattern = string.gsub(head .. ARGV[2], '[%*%?%[%]\\\\]', '\\\\%0') .. '*'
local page, least, slots, out = redis.call('SCAN', ARGV[1], 'MATCH', pattern, 'COUNT', ARGV[3]), {}, {}, nil
if ARGV[5] then
  local ranges = redis.pcall('CLUSTER', 'SLOTS')
  for _, range in ipairs(ranges.err and {} or ranges) do
    local id = range[3][3] or range[3][1] .. ':' .. range[3][2]
    least[id] = math.min(least[id] or range[1], range[1])
  end
  for _, slot in pairs(least) do slots[#slots + 1] = slot end
end
out = {page[1], table.concat(slots, ',')}
for _, key in ipairs(page[2]) do
  local own = string.sub(key, #head + 1)
  if string.sub(own, 1, 2) ~= '//' then out[#out + 1] = own end
end
${REPLY}`;
