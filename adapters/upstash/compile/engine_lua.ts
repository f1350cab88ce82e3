/**
 * The Lua that surrounds a transition, and the engine's own scripts. `deno task generate` shortens them as it
 * does what is compiled. All of them share one set of short names, so a name stands for the same thing
 * wherever passages are put together; what a compiled part defines begins with a capital and stays apart from
 * them.
 */

/** How long a reply is kept, in milliseconds: longer than any client goes on sending copies of a request. */
const MEMORY = 60_000;

/** `now`, in milliseconds of the clock of Redis, and `micro`, the microseconds within it. */
const time = `
local now = redis.call('TIME')
local micro = now[2] % 1000
now = now[1] * 1000 + (now[2] - micro) / 1000`;

/** `KEYS[2]`, where there is one, keeps the reply of a call whose copies may arrive later. */
const known = `
local memory = KEYS[2]
local known = memory and redis.call('GET', memory)
if known then return known end`;

/**
 * Reads `record`; nil when there is none or it has expired. It is a hash, whose field `@` is its deadline,
 * `was`.
 */
const read = `
local flat, record, was = redis.call('HGETALL', KEYS[1]), nil, nil
if flat[1] then
  record = {}
  for n = 1, #flat, 2 do record[flat[n]] = flat[n + 1] end
  was, record['@'] = record['@'], nil
  if was and now >= tonumber(was) then record = nil end
end`;

/**
 * Calls `apply` with the input, which `inputArgs` made of `fields`, a text; `out` is the list of the output's
 * pairs.
 */
const decide = `
local input, out, count = {}, {}, 0
for name in string.gmatch(fields, '%S+') do
  count = count + 1
  local value = ARGV[count]
  if value and value ~= '' then
    if string.byte(value) == 0 then value = string.sub(value, 2) end
    input[name] = value
  end
end
for n = count + 1, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end
local step = apply(record, input, now)
for name, value in pairs(step.output) do out[#out + 1] = name out[#out + 1] = value end`;

/** What the step writes. */
const change = `
local changes, nxt, deadline = step.write, nil, nil
if changes then nxt, deadline = changes.record, changes.expiresAt end`;

/**
 * Makes `nxt` the record until `deadline`, if it `changes`; writes what differs from what was read. One
 * command each, but for a record with more fields than unpack takes. Redis keeps a key through the
 * millisecond that it is told, so it is told the one before: a value is read without a look at the clock.
 */
const write = `
if changes and not nxt then redis.call('DEL', KEYS[1]) elseif changes then
  deadline = deadline and string.format('%d', deadline)
  nxt['@'] = deadline
  local gone, set = {}, {}
  for n = 1, #flat, 2 do
    local name = flat[n]
    local value = nxt[name]
    if value == nil then gone[#gone + 1] = name elseif value == flat[n + 1] then nxt[name] = nil end
  end
  for name, value in pairs(nxt) do set[#set + 1] = name set[#set + 1] = value end
  for n = 1, #set, 2000 do redis.call('HSET', KEYS[1], unpack(set, n, math.min(n + 1999, #set))) end
  for n = 1, #gone, 2000 do redis.call('HDEL', KEYS[1], unpack(gone, n, math.min(n + 1999, #gone))) end
  if not deadline then if was then redis.call('PERSIST', KEYS[1]) end
  elseif was ~= deadline then redis.call('PEXPIREAT', KEYS[1], string.format('%d', deadline - 1)) end
end`;

/** Answers `out` as one text. The tilde keeps clients that guess types from parsing it. */
const reply = `
return '~' .. cjson.encode(out)`;

/** Answers `out`, and keeps that reply. */
const remember = `
out = '~' .. cjson.encode(out)
if memory then redis.call('SET', memory, out, 'PX', '${MEMORY}') end
return out`;

/**
 * In a fast path, after what decides and before the first write: keeps the reply, or answers a copy of an
 * earlier call with the reply that was kept then. `memory` must be `KEYS[2]`.
 */
export function unlessDone(reply: string): string {
  return `if memory and not redis.call('SET', memory, ${reply}, 'NX', 'PX', '${MEMORY}') then
  return redis.call('GET', memory)
end`;
}

/** Answers the record's pairs as they are, and the clock: seconds, and the microseconds within them. */
const load = `
local out, clock = redis.call('HGETALL', KEYS[1]), redis.call('TIME')
out[#out + 1] = clock[1]
out[#out + 1] = clock[2]`;

/**
 * Writes if the record is still the one that was loaded. `ARGV`: the length of the list of loaded pairs,
 * those pairs, the deadline or an empty text, then the pairs of the next record (none: delete).
 */
const commit = `
local count, left, same = tonumber(ARGV[1]), 0, true
for _ in pairs(record or {}) do left = left + 1 end
for n = 2, count + 1, 2 do
  same = same and record ~= nil and record[ARGV[n]] == ARGV[n + 1]
  left = left - 1
end
local out, changes, nxt, deadline = {'0'}, false, nil, nil
if same and left == 0 then
  out, changes, deadline = {'1'}, true, tonumber(ARGV[count + 2])
  for n = count + 3, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
end`;

/** Answers the encoded values of many keys; `false` for a missing one. */
const getMany = `
local out = {}
for n, key in ipairs(KEYS) do
  out[n] = redis.call('HGET', key, 'v') or (redis.call('EXISTS', key) == 1 and '\\0')
end`;

/**
 * Sets many keys. `KEYS`: the memory, then the keys. `ARGV`: milliseconds to live or empty, then a value per
 * key. A key of another program is an error at HLEN, before anything is written.
 */
const setMany = `
local memory, there = table.remove(KEYS, 1), {}
for n, key in ipairs(KEYS) do there[n] = redis.call('HLEN', key) > 0 end
${unlessDone("'~[]'")}
local ttl = tonumber(ARGV[1])
local deadline = ttl and string.format('%d', now + ttl)
for n, key in ipairs(KEYS) do
  if there[n] then redis.call('DEL', key) end
  redis.call('HSET', key, 'v', ARGV[n + 1], unpack(deadline and {'e', deadline, '@', deadline} or {}))
  if deadline then redis.call('PEXPIREAT', key, string.format('%d', deadline - 1)) end
end
return '~[]'`;

/** Deletes many keys and answers how many there were. `KEYS`: the memory, then the keys. */
const deleteMany = `
local memory = table.remove(KEYS, 1)
local known = redis.call('GET', memory)
if known then return known end
local out = {redis.call('UNLINK', unpack(KEYS)) .. ''}`;

/**
 * Lists a page of keys. `KEYS[1]` routes the script to a node of a cluster, and shows the head that keys
 * really have: a client may put its own prefix in front of every key. `ARGV`: cursor, beginning of the keys,
 * how many, and the length of what follows the head in `KEYS[1]`. Answers the next cursor, the least slot of
 * each master (empty without a cluster), and the keys without the head.
 */
const listPage = `
local head = string.sub(KEYS[1], 1, #KEYS[1] - tonumber(ARGV[4]))
local pattern = string.gsub(head .. ARGV[2], '[%*%?%[%]\\\\]', '\\\\%0') .. '*'
local page, slots = redis.call('SCAN', ARGV[1], 'MATCH', pattern, 'COUNT', ARGV[3]), {}`;

/** After `listPage`, where the server may be a cluster: the least slot of each master. */
const listSlots = `
local least, ranges = {}, redis.pcall('CLUSTER', 'SLOTS')
for _, range in ipairs(ranges.err and {} or ranges) do
  local id = range[3][3] or range[3][1] .. ':' .. range[3][2]
  least[id] = math.min(least[id] or range[1], range[1])
end
for _, slot in pairs(least) do slots[#slots + 1] = slot end`;

const listKeys = `
local out = {page[1], table.concat(slots, ',')}
for _, key in ipairs(page[2]) do
  local own = string.sub(key, #head + 1)
  if string.sub(own, 1, 2) ~= '//' then out[#out + 1] = own end
end`;

/** By the names of the constants in `generated/_engine.ts`. */
export const engineLua: Readonly<Record<string, string>> = {
  time,
  known,
  read,
  decide,
  change,
  write,
  reply,
  remember,
  load,
  commit,
  getMany,
  setMany,
  deleteMany,
  listPage,
  listSlots,
  listKeys,
};
