/**
 * The Lua twins of throttles; see `_lua.ts` for the rules. They are asked at every request: what they share is text that stands
 * where it is needed, as a function or a table costs a call more than what it would do.
 */
import { type LuaTwin, WHOLE } from "./_lua.ts";

/** Of a policy's `line` in the input: its kind, two figures and the field of its state. */
const RULE = `
local kind, a, b, field = match(line, '^(%w):(%d+):(%d+):(.*)$')
a, b, field = tonumber(a), tonumber(b), kind .. ':' .. field
`;

/**
 * How long to wait for the cost, the count if it is taken, and the state as it is: count, index and previous count. `state` becomes
 * nil when it is none of ours.
 */
const WEIGH = `
local retry, taken, count, index, previous = 0, 0, 0, 0, 0
if kind == 'g' then
  local us = now * 1000
  if state then
    state = #state <= 16 and match(state, '^%d+$')
    count = tonumber(state or 0)
  end
  if count < us then count = us end
  taken = count + cost * a
  if taken < us then taken = us end
  local over = taken - b * a - us
  if cost > 0 and over > 0 then retry = cost > b and -1 or ceil(over / 1000) end
else
  index = floor(now / b)
  if state then
    local s1, s2, s3 = match(state, kind == 'f' and '^(%d+):(%d+)$' or '^(%d+):(%d+):(%d+)$')
    if not s1 or #s1 > 16 or #s2 > 16 or (s3 and #s3 > 16) then state = nil else
      s1, s2 = tonumber(s1), tonumber(s2)
      if s1 >= index then index, count, previous = s1, s2, tonumber(s3 or 0)
      elseif s1 == index - 1 then previous = s2 end
    end
  end
  taken = count + cost
  if taken < 0 then taken = 0 end
  if kind == 'f' then
    if cost > 0 and taken > a then retry = cost > a and -1 or (index + 1) * b - now end
  else
    -- Milliseconds until room units or fewer are in use.
    till = till or function(window, room, count, previous, elapsed)
      if room < 0 then return -1 end
      local lag = 0
      if elapsed < 0 then elapsed, lag = 0, -elapsed end
      if room >= count then
        local at = 0
        if previous ~= 0 then at = window - floor((room - count) * window / previous) end
        if at <= elapsed then return 0 end
        if at < window or room == count then return at - elapsed + lag end
      end
      return window - elapsed + math.max(0, window - floor(room * window / count)) + lag
    end
    if cost > 0 then retry = till(b, a - cost, count, previous, now - index * b) end
  end
end
`;

/** What is left, when all is back and when one more is; and the state as text, if it is to be written. */
const VIEW = `
local remaining, reset, more, text = 0, 0, 0, nil
if kind == 'g' then
  local ahead = count - now * 1000
  remaining, reset = floor((b * a - ahead) / a), ceil(ahead / 1000)
  if remaining < 0 then remaining = 0 end
  local wait = ahead - (b - remaining - 1) * a
  if ahead ~= 0 and wait > 0 then more = ceil(wait / 1000) end
  if take then text = int(count) end
elseif kind == 'f' then
  if count < a then remaining = a - count end
  if count ~= 0 then reset = (index + 1) * b - now end
  more = reset
  if take then text = string.format('%d:%d', index, count) end
else
  local elapsed = now - index * b
  local used = count + ceil(previous * (b - math.max(0, elapsed)) / b)
  if used < a then remaining = a - used end
  reset = till(b, 0, count, previous, elapsed)
  if used ~= 0 then more = till(b, a - remaining - 1, count, previous, elapsed) end
  if take then text = string.format('%d:%d:%d', index, count, previous) end
end
`;

/** Gives up on what `found` is not simple: it is blocked, over or none of ours, or this call was counted already. */
const FRESH = `
if found[3] then break end
if found[1] then if not x or now >= x or not found[4] or string.find(calls, id, 1, true) then break end
elseif redis.call('EXISTS', key) == 1 then break end
`;

/** Adds the call's id to those that were counted, and says when all is over: in steps, as most checks then leave that as it is. */
const NOTE = `
if id then calls = string.sub(id .. ',' .. calls, 1, 64) end
local over = ceil(math.max(now + lasts, tonumber(x or 0)) / 10000) * 10000
`;

/** The key goes when all is over. */
const MOVE = `
if over ~= x and not virtual then redis.call('PEXPIREAT', key, int(over)) end
`;

/** Decides all `rules` on their `states`. Makes `figures`, which is whether it is allowed and four a policy. */
const DECIDE = `
local lasts, corrupt = 0, false
for n, p in ipairs(rules) do
  local kind, a, b, state = p[1], p[2], p[3], states[n]
  local there = state
  ${WEIGH}
  corrupt = corrupt or (there and not state)
  if retry ~= 0 then fits = false end
  p[5], p[6], p[7], p[8], p[9] = retry, taken, count, index, previous
end
local take, figures = fits and cost ~= 0 and not again, {(fits or again) and 1 or 0}
for n, p in ipairs(corrupt and {} or rules) do
  local kind, a, b, count, index, previous = p[1], p[2], p[3], take and p[6] or p[7], p[8], p[9]
  ${VIEW}
  p[10], lasts = text, math.max(lasts, reset)
  local at = 4 * n - 2
  figures[at], figures[at + 1], figures[at + 2], figures[at + 3] = remaining, reset, more, again and 0 or p[5]
end
`;

/** Any policies on any record. */
const LOOK = WHOLE + `
local function look(r, i, now, cost)
  local floor, ceil, match, till = math.floor, math.ceil, string.match, nil
  if r and not (whole(r.x) and whole(r.b or '0')) then return {e='corrupt'} end
  local blocked, id, calls, x = math.max(0, tonumber(r and r.b or now) - now), i.i, r and r.i or '', r and r.x
  local again = id and string.find(',' .. calls, ',' .. id .. ',', 1, true)
  local rules, states, fits = {}, {}, cost < 0 or blocked == 0
  while i['p' .. #rules] do
    local line = i['p' .. #rules]
    ${RULE}
    rules[#rules + 1] = {kind, a, b, field, 0, 0, 0, 0, 0, ''}
    states[#rules] = r and r[field]
  end
  ${DECIDE}
  if corrupt then return {e='corrupt'} end
  local out, nxt = {a=int(figures[1])}, r or {}
  for n = 1, #rules do
    out['p' .. (n - 1)] = string.format('%d:%d:%d:%d', unpack(figures, 4 * n - 2, 4 * n + 1))
  end
  if blocked > 0 then out.b = int(blocked) end
  if not take then return out end
  if blocked == 0 then nxt.b = nil end
  local ours, alone = {x=true, i=true}, true
  for _, p in ipairs(rules) do
    nxt[p[4]] = p[10]
    ours[p[4]] = true
  end
  for name in pairs(nxt) do alone = alone and ours[name] end
  if lasts == 0 and alone then return out, false end
  ${NOTE}
  if id then nxt.i = calls end
  nxt.x = int(over)
  return out, nxt, over
end
`;

/** By the name of the transition. */
export const throttleTwins: Readonly<Record<string, LuaTwin>> = {
  "throttle.check": {
    kind: "write",
    fields: ["c", "i", "p0"],
    // No block, nothing stale: only the fields of these policies are read, and only those that change are written.
    fast: `
local cost, id, line, key = tonumber(ARGV[1]), ARGV[2], ARGV[3], KEYS[1]
if id == '' or not line then break end
local floor, ceil, match, till = math.floor, math.ceil, string.match, nil
if not ARGV[4] then
  ${RULE}
  local found = redis.call('HMGET', key, 'x', 'i', 'b', field)
  local x, calls, state = tonumber(found[1] or 0), found[2] or '', found[4]
  ${FRESH}
  ${WEIGH}
  if found[4] and not state then break end
  local take, lasts = retry == 0 and cost ~= 0, 0
  if take then count = taken end
  ${VIEW}
  if take then
    lasts = reset
    if lasts == 0 then break end
    ${NOTE}
    if over == x then redis.call('HSET', key, 'i', calls, field, text)
    else redis.call('HSET', key, 'i', calls, field, text, 'x', int(over), '@', int(over)) end
    ${MOVE}
  end
  return {retry == 0 and 1 or 0, remaining, reset, more, retry}
end
local rules, names, again, fits = {}, {'x', 'i', 'b'}, false, true
for n = 3, #ARGV, 2 do
  local line = ARGV[n]
  ${RULE}
  rules[#rules + 1], names[#names + 1] = {kind, a, b, field, 0, 0, 0, 0, 0, ''}, field
end
local found = redis.call('HMGET', key, unpack(names))
local x, calls, states = tonumber(found[1] or 0), found[2] or '', {unpack(found, 4)}
${FRESH}
${DECIDE}
if corrupt or (take and lasts == 0) then break end
if take then
  ${NOTE}
  local set = {'i', calls}
  for _, p in ipairs(rules) do set[#set + 1], set[#set + 2] = p[4], p[10] end
  if over ~= x then set[#set + 1], set[#set + 2], set[#set + 3], set[#set + 4] = 'x', int(over), '@', int(over) end
  redis.call('HSET', key, unpack(set))
  ${MOVE}
end
return figures`,
    output([allowed, ...figures]) {
      if (figures.length === 0 || figures.length % 4 !== 0) return undefined;
      const output: Record<string, string> = { a: String(allowed) };
      for (let n = 0; 4 * n < figures.length; n++) {
        output[`p${n}`] = figures.slice(4 * n, 4 * n + 4).join(":");
      }
      return output;
    },
    lua: LOOK + `
local function apply(r, i, now) return look(r, i, now, tonumber(i.c)) end`,
  },
  "throttle.peek": {
    kind: "read",
    lua: LOOK + `
local function apply(r, i, now) return look(r, i, now, 0) end`,
  },
  "throttle.block": {
    kind: "write",
    lua: WHOLE + `
local function apply(r, i, now)
  if r and not (whole(r.x) and whole(r.b or '0')) then return {e='corrupt'} end
  local b = now + tonumber(i.ms)
  local x = math.max(b, tonumber(r and r.x or '0'))
  r = r or {}
  r.b, r.x = int(b), int(x)
  return {}, r, x
end`,
  },
};
