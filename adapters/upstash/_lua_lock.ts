/**
 * The Lua twins of locks; see `_lua.ts` for the rules and `src/lock/lock_transitions.ts` for the record.
 *
 * The `fast` parts decide by the record's summary (`lock`) and the caller's own fields, so that a call costs
 * the same however many wait. They may run while nothing is due, and must leave exactly the record that
 * `apply` would leave.
 */
import type { LuaTwin } from "./_lua.ts";

/**
 * Redis knows its clock in microseconds: tokens stay apart within a millisecond, also when a flush has lost
 * the last one.
 */
const MICRO = `
local micro = virtual and 0 or tonumber(t[2]) % 1000
`;

const STATE = `
local function next_end(s)
  return math.min(s.due, s.q[1] and s.q[1].till or math.huge)
end
local function drop_ended(s, now)
  local left = {}
  for _, w in ipairs(s.q) do if now < w.till then table.insert(left, w) end end
  s.q = left
end
local function parse(r, now)
  local s = {fence=0, lapsed=0, due=0, ends=0, done={}, h={}, n=0, q={}, swept=false}
  if r and r.lock then
    local fence, lapsed, due, ends = r.lock:match('^(%d+) (%d+) (%d+) %d+ (%d+) ')
    s.fence, s.lapsed, s.due, s.ends = tonumber(fence), tonumber(lapsed), tonumber(due), tonumber(ends)
  end
  if s.due == 0 then s.due = math.huge end
  for id in (r and r.done or ''):gmatch('[^,]+') do table.insert(s.done, id) end
  for name, value in pairs(r or {}) do
    local kind, a, c, limit, d = value:match('^([hq]) (%d+) (%d+) (%d+) (%d+)$')
    if kind and name:sub(1, 3) == 'by:' then
      local owner = name:sub(4)
      a, c, limit, d = tonumber(a), tonumber(c), tonumber(limit), tonumber(d)
      if kind == 'q' then table.insert(s.q, {owner=owner, number=a, till=c, limit=limit, front=d})
      else
        s.h[owner] = {till=a, fence=c, limit=limit, delay=d}
        s.n = s.n + 1
      end
    end
  end
  table.sort(s.q, function(x, y) return x.number < y.number end)
  if now >= next_end(s) then
    s.swept, s.due = true, math.huge
    local over = {}
    for owner, h in pairs(s.h) do
      if now >= h.till + h.delay then table.insert(over, owner) else s.due = math.min(s.due, h.till + h.delay) end
    end
    for _, owner in ipairs(over) do lapse(s, owner) end
    drop_ended(s, now)
  end
  return s
end
local function serialize(s, now)
  local idle, alone, first, last = s.n == 0 and not s.q[1], 0, 0, 0
  local ends = idle and now or math.max(s.ends, now)
  local r = {done=table.concat(s.done, ',')}
  if s.q[1] then s.q[1].front, first, last = 1, s.q[1].number, s.q[#s.q].number end
  for o, h in pairs(s.h) do
    r['by:' .. o] = table.concat({'h', int(h.till), int(h.fence), int(h.limit), int(h.delay)}, ' ')
    if h.limit <= 1 then alone = 1 end
  end
  for _, w in ipairs(s.q) do
    r['by:' .. w.owner] = table.concat({'q', int(w.number), int(w.till), int(w.limit), int(w.front)}, ' ')
    r['at:' .. int(w.number)] = w.owner
  end
  local due, head = s.n == 0 and 0 or s.due, s.q[1] and s.q[1].till or 0
  r.lock = table.concat({int(s.fence), int(s.lapsed), int(due), int(head), int(ends), int(s.n), int(alone), int(#s.q), int(first), int(last)}, ' ')
  return r, math.ceil((ends + 86400000) / 3600000) * 3600000
end
local function finish(s, id)
  for _, known in ipairs(s.done) do if known == id then return false end end
  table.insert(s.done, 1, id)
  s.done[9] = nil
  return true
end
local function fits(s, limit)
  if s.n == 0 then return true end
  if s.n >= limit then return false end
  for _, h in pairs(s.h) do if h.limit <= 1 then return false end end
  return true
end
local function note_holder(s, till)
  s.due, s.ends = s.n == 1 and till or math.min(s.due, till), math.max(s.ends, till)
end
local function grant(s, owner, till, limit, delay, now)
  local fence = math.max(s.fence + 1, now * 1000 + micro)
  if s.fence == 0 then s.lapsed = fence - 1 end
  s.fence, s.n = fence, s.n + 1
  s.h[owner] = {till=till, fence=fence, limit=limit, delay=delay}
  note_holder(s, till + delay)
  return s.h[owner]
end
local function grant_next(s, now)
  while s.q[1] and (now >= s.q[1].till or fits(s, s.q[1].limit)) do
    local w = table.remove(s.q, 1)
    if now < w.till then grant(s, w.owner, now + 1000, w.limit, 0, now) end
  end
end
local function current(r, now)
  local s = parse(r, now)
  if s.swept then grant_next(s, now) end
  return s
end
local function place(s, owner)
  for n, w in ipairs(s.q) do if w.owner == owner then return n end end
end
`;

/** Defined before `STATE`, which uses it. */
const LAPSE = MICRO + `
local function remove(s, owner) s.h[owner], s.n = nil, s.n - 1 end
local function lapse(s, owner)
  s.lapsed = math.max(s.lapsed, s.h[owner].fence)
  remove(s, owner)
end
`;

const BOOK = LAPSE + STATE;

const ENQUEUE = `
local function ahead(s, number, joins)
  return math.min(number - (s.q[1] and s.q[1].number or number), #s.q - (joins and 0 or 1))
end
local function enqueue(s, owner, wait, limit, now)
  if not wait then return false end
  local n = place(s, owner)
  local number = n and s.q[n].number or (s.q[1] and s.q[#s.q].number or 0) + 1
  local till = now + math.min(tonumber(wait), 15000 + ahead(s, number, not n) * 200)
  if n then
    if till - s.q[n].till < 4000 then return false end
    s.q[n].till = till
    if n == 1 and #s.q >= 256 then drop_ended(s, now) end
  else
    if #s.q >= 256 then return false end
    table.insert(s.q, {owner=owner, number=number, till=till, limit=limit, front=0})
  end
  s.ends = math.max(s.ends, till)
  return true
end
`;

/** Reads the summary and the caller's field; leaves to `apply` what is damaged, dead or due. */
const OPEN = `${MICRO.trim()}
local key, me = KEYS[1], 'by:' .. ARGV[1]
local found = redis.call('HMGET', key, '@', 'lock', 'done', me)
local deadline, done, mine = tonumber(found[1] or nil), found[3] or '', found[4] or ''
local fence, lapsed, due, head, ends, holders, alone, waiting, first, last = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
if found[2] then
  if not deadline or now >= deadline then break end
  fence, lapsed, due, head, ends, holders, alone, waiting, first, last = string.match(found[2], '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not last then break end
  fence, lapsed, due, head, ends = tonumber(fence), tonumber(lapsed), tonumber(due), tonumber(head), tonumber(ends)
  holders, alone, waiting, first, last = tonumber(holders), tonumber(alone), tonumber(waiting), tonumber(first), tonumber(last)
elseif deadline then break end
if due == 0 then due = math.huge end
if head == 0 then head = math.huge end
if now >= due or now >= head then break end
`;

/** Writes the fields in `set`, the summary, and the record's deadline where that has changed. */
const CLOSE = `
if holders == 0 and waiting == 0 then ends = now else ends = math.max(ends, now) end
if holders == 0 then due = 0 end
if waiting == 0 then head = 0 end
set[#set + 1] = 'lock'
set[#set + 1] = table.concat({int(fence), int(lapsed), int(due), int(head), int(ends), int(holders), int(alone), int(waiting), int(first), int(last)}, ' ')
local keep = math.ceil((ends + 86400000) / 3600000) * 3600000
if keep ~= deadline then
  set[#set + 1] = '@'
  set[#set + 1] = int(keep)
end
redis.call('HSET', key, unpack(set))
if keep ~= deadline and not virtual then redis.call('PEXPIREAT', key, int(keep)) end
`;

/** The holder's lease lasts until `till` at least. */
const LENGTHEN = `
local till, token, most, delay = string.match(mine, '^h (%d+) (%d+) (%d+) (%d+)$')
till = tonumber(till)
if now >= till then break end
till = math.max(till, now + tonumber(ARGV[2]))
`;

/** Notes when the caller's lease ends: exactly, where it is the only holder. */
const noteHolder = (till: string) =>
  `due, ends = holders == 1 and ${till} or math.min(due, ${till}), math.max(ends, ${till})`;

/** By the name of the transition. */
export const lockTwins: Readonly<Record<string, LuaTwin>> = {
  "lock.acquire": {
    kind: "write",
    fields: ["owner", "ttl", "limit", "delay", "wait", "from"],
    fast: `
if ARGV[6] and ARGV[6] ~= '' then break end
${OPEN}
if done ~= '' and string.find(',' .. done .. ',', ',' .. ARGV[1] .. ',', 1, true) then break end
local limit, added, wait, set = tonumber(ARGV[3] or '') or 1, tonumber(ARGV[4] or '') or 0, tonumber(ARGV[5] or ''), {}
local kind = string.sub(mine, 1, 1)
if kind == 'h' then
${LENGTHEN}
  ${noteHolder("till + added")}
  set = {me, table.concat({'h', int(till), token, most, int(added)}, ' ')}
${CLOSE}
  return {tonumber(token), till}
end
if kind == 'q' then
  local number, till, most, front = string.match(mine, '^q (%d+) (%d+) (%d+) (%d+)$')
  local ahead = math.min(tonumber(number) - first, waiting - 1)
  local fresh = wait and now + math.min(wait, 15000 + ahead * 200) or 0
  if fresh - tonumber(till) >= 4000 then
    if tonumber(number) == first then
      if waiting >= 256 then break end
      head = fresh
    end
    ends = math.max(ends, fresh)
    set = {me, table.concat({'q', number, int(fresh), most, front}, ' ')}
${CLOSE}
  end
  return {math.min(due, head) - now, ahead, 0}
end
if waiting == 0 and (holders == 0 or (holders < limit and alone == 0)) then
  local nxt, till = math.max(fence + 1, now * 1000 + micro), now + tonumber(ARGV[2])
  if fence == 0 then lapsed = nxt - 1 end
  fence, holders = nxt, holders + 1
  if limit <= 1 then alone = 1 end
  ${noteHolder("till + added")}
  set = {me, table.concat({'h', int(till), int(fence), int(limit), int(added)}, ' ')}
  if not found[3] then set[3] = 'done' set[4] = '' end
${CLOSE}
  return {fence, till}
end
if not wait or waiting >= 256 then return math.min(due, head) - now end
local front = waiting == 0 and 1 or 0
last = last + 1
if waiting == 0 then first = last end
local ahead = math.min(last - first, waiting)
local till = now + math.min(wait, 15000 + ahead * 200)
waiting = waiting + 1
if waiting == 1 then head = till end
ends = math.max(ends, till)
set = {me, table.concat({'q', int(last), int(till), int(limit), int(front)}, ' '), 'at:' .. int(last), ARGV[1]}
${CLOSE}
return {math.min(due, head) - now, ahead, 0}`,
    output: ([a, b, queued]) => {
      if (queued !== undefined) return { remaining: String(a), ahead: String(b) };
      return b === undefined ? { remaining: String(a) } : { fence: String(a), until: String(b) };
    },
    lua: BOOK + ENQUEUE + `
local function apply(r, i, now)
  local s, limit, delay = current(r, now), tonumber(i.limit or '1'), tonumber(i.delay or '0')
  for _, id in ipairs(s.done) do if id == i.owner then return {done='1'} end end
  local mine = s.h[i.owner]
  if mine and now >= mine.till then
    lapse(s, i.owner)
    grant_next(s, now)
    s.swept, mine = true, nil
  end
  if i.from and not mine then
    local giver = s.h[i.from]
    if not giver or now >= giver.till then return {} end
    lapse(s, i.from)
    finish(s, i.from)
    mine = grant(s, i.owner, giver.till, giver.limit, giver.delay, now)
  elseif not mine and not s.q[1] and fits(s, limit) then
    mine = grant(s, i.owner, now + tonumber(i.ttl), limit, delay, now)
  end
  if mine then
    mine.till = math.max(mine.till, now + tonumber(i.ttl))
    if not i.from then mine.delay = delay end
    note_holder(s, mine.till + mine.delay)
    return {fence=int(mine.fence), ['until']=int(mine.till)}, serialize(s, now)
  end
  local joined = enqueue(s, i.owner, i.wait, limit, now)
  local out, n = {remaining=int(next_end(s) - now)}, place(s, i.owner)
  if n then out.ahead = int(ahead(s, s.q[n].number)) end
  if joined or s.swept then return out, serialize(s, now) end
  return out
end`,
  },
  "lock.extend": {
    kind: "write",
    fields: ["owner", "ttl"],
    fast: `
${OPEN}
if string.sub(mine, 1, 1) ~= 'h' then break end
${LENGTHEN}
${noteHolder("till + tonumber(delay)")}
local set = {me, table.concat({'h', int(till), token, most, delay}, ' ')}
${CLOSE}
return till`,
    output: ([until]) => ({ until: String(until) }),
    lua: BOOK + `
local function apply(r, i, now)
  local s = current(r, now)
  local mine = s.h[i.owner]
  if not mine or now >= mine.till then return {} end
  mine.till = math.max(mine.till, now + tonumber(i.ttl))
  note_holder(s, mine.till + mine.delay)
  return {['until']=int(mine.till)}, serialize(s, now)
end`,
  },
  "lock.release": {
    kind: "write",
    fields: ["owner", "fence"],
    // A queue costs a few fields: the first waiter is let in, and the one behind it becomes the first.
    fast: `
${OPEN}
local till = tonumber(string.match(mine, '^h (%d+) ') or nil)
if not till or now >= till then break end
if done ~= '' and string.find(',' .. done .. ',', ',' .. ARGV[1] .. ',', 1, true) then break end
done = done == '' and ARGV[1] or ARGV[1] .. ',' .. done
done = string.match(done, '^' .. string.rep('[^,]*,', 7) .. '[^,]*') or done
holders, alone = holders - 1, 0
local set, gone, whole = {'done', done}, {me}, true
while waiting > 0 do
  local place = 'at:' .. int(first)
  local owner = redis.call('HGET', key, place)
  local field = owner and redis.call('HGET', key, 'by:' .. owner) or ''
  local number, ending, most, front = string.match(field, '^q (%d+) (%d+) (%d+) (%d+)$')
  -- A dead waiter in front of others is passed over by apply.
  if not number or now >= tonumber(ending) then
    whole = false
    break
  end
  local limit = tonumber(most)
  if holders > 0 and (holders >= limit or alone == 1) then
    if front ~= '1' then
      set[#set + 1] = 'by:' .. owner
      set[#set + 1] = table.concat({'q', number, ending, most, '1'}, ' ')
    end
    head = tonumber(ending)
    break
  end
  fence = math.max(fence + 1, now * 1000 + micro)
  set[#set + 1] = 'by:' .. owner
  set[#set + 1] = table.concat({'h', int(now + 1000), int(fence), most, '0'}, ' ')
  gone[#gone + 1] = place
  if limit <= 1 then alone = 1 end
  holders, waiting, first = holders + 1, waiting - 1, first + 1
  ${noteHolder("now + 1000")}
end
if not whole then break end
if waiting == 0 then first, last = 0, 0 end
redis.call('HDEL', key, unpack(gone))
${CLOSE}
return 1`,
    output: () => ({ result: "released" }),
    lua: BOOK + `
local function apply(r, i, now)
  local s, fence = current(r, now), i.fence and tonumber(i.fence)
  local mine, n = s.h[i.owner], place(s, i.owner)
  local live = mine and now < mine.till
  local known = mine or n
  if live then remove(s, i.owner) elseif mine then lapse(s, i.owner) elseif n then table.remove(s.q, n) end
  local noted = (known or not fence) and finish(s, i.owner)
  if known then grant_next(s, now) end
  local result = 'expired'
  if live or (not known and s.fence > 0 and fence and fence > s.lapsed) then result = 'released'
  elseif fence and s.fence > 0 and fence ~= s.fence then result = 'overtaken' end
  if not (known or noted) then return {result=result} end
  return {result=result}, serialize(s, now)
end`,
  },
  "lock.force": {
    kind: "write",
    lua: BOOK + `
local function apply(r, i, now)
  local s, gone, live, id = current(r, now), {}, 0, (i.id or '') .. '='
  for _, entry in ipairs(s.done) do if entry:sub(1, #id) == id then return {count=entry:sub(#id + 1)} end end
  for o, h in pairs(s.h) do if h.fence <= tonumber(i.fence) then table.insert(gone, o) end end
  if #gone == 0 then return {count='0'} end
  table.sort(gone, function(x, y) return s.h[x].fence < s.h[y].fence end)
  for _, o in ipairs(gone) do
    if now < s.h[o].till then live = live + 1 end
    lapse(s, o)
    finish(s, o)
  end
  finish(s, id .. int(live))
  grant_next(s, now)
  return {count=int(live)}, serialize(s, now)
end`,
  },
  "lock.look": {
    kind: "read",
    fields: ["owner"],
    fast: `
local found = redis.call('HMGET', KEYS[1], '@', 'lock', 'by:' .. ARGV[1])
local number = string.match(found[3] or '', '^q (%d+) ')
local due, head, waiting, first = string.match(found[2] or '', '^%d+ %d+ (%d+) (%d+) %d+ %d+ %d+ (%d+) (%d+) %d+$')
if not number or not first or now >= tonumber(found[1] or 0) then return -1 end
due, head = tonumber(due), tonumber(head)
if due > 0 then due = math.min(due, head) else due = head end
if now >= due then return -1 end
return {due - now, math.min(tonumber(number) - first, waiting - 1)}`,
    output: ([remaining, ahead]) =>
      ahead === undefined ? {} : { remaining: String(remaining), ahead: String(ahead) },
    lua: BOOK + ENQUEUE + `
local function apply(r, i, now)
  local s = parse(r, now)
  local n = place(s, i.owner)
  if s.swept or not n then return {} end
  return {remaining=int(next_end(s) - now), ahead=int(ahead(s, s.q[n].number))}
end`,
  },
  "lock.inspect": {
    kind: "read",
    lua: BOOK + `
local function apply(r, i, now)
  if not r then return {} end
  local s, held, waiting, last = parse(r, now), 0, 0, now
  for _, w in ipairs(s.q) do if now < w.till then waiting = waiting + 1 end end
  for _, h in pairs(s.h) do
    if now < h.till then held = held + 1 end
    last = math.max(last, h.till + h.delay)
  end
  return {fence=int(s.fence), held=int(held), waiting=int(waiting), remaining=int(last - now)}
end`,
  },
};
