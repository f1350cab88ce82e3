/**
 * What the compiled Lua may call: our own short forms of the few helpers that `typescript-to-lua` asks for. Transitions
 * work on strings, whole numbers, records and arrays; what is not here is outside the subset, and compiling it fails.
 */

/** By the name that the compiler uses; a value may call the ones in `NEEDS`. */
export const LUA_LIBRARY: Readonly<Record<string, string>> = {
  // Text of a whole number without an exponent; Lua would print 1.7e+12.
  tostring: `local function tostring(value)
  if type(value) == "number" then return string.format("%.0f", value) end
  return value
end`,
  __TS__Number: `local function __TS__Number(value) return tonumber(value) or 0 / 0 end`,
  __TS__ObjectAssign: `local function __TS__ObjectAssign(target, ...)
  for _, source in ipairs({...}) do
    if source then for name, value in pairs(source) do target[name] = value end end
  end
  return target
end`,
  __TS__ObjectKeys: `local function __TS__ObjectKeys(source)
  local names = {}
  for name in pairs(source) do names[#names + 1] = name end
  return names
end`,
  __TS__ObjectEntries: `local function __TS__ObjectEntries(source)
  local entries = {}
  for name, value in pairs(source) do entries[#entries + 1] = {name, value} end
  return entries
end`,
  __TS__Delete: `local function __TS__Delete(target, name) target[name] = nil return true end`,
  __TS__ArraySort: `local function __TS__ArraySort(list, compare)
  table.sort(list, function(a, b) return compare(nil, a, b) < 0 end)
  return list
end`,
  __TS__StringSplit: `local function __TS__StringSplit(text, separator)
  local parts, from = {}, 1
  while true do
    local at = string.find(text, separator, from, true)
    if not at then break end
    parts[#parts + 1] = string.sub(text, from, at - 1)
    from = at + #separator
  end
  parts[#parts + 1] = string.sub(text, from)
  return parts
end`,
  __TS__StringStartsWith: `local function __TS__StringStartsWith(text, start)
  return string.sub(text, 1, #start) == start
end`,
  __TS__StringSlice: `local function __TS__StringSlice(text, from, to)
  if to and to >= 0 then to = to - 0 end
  return string.sub(text, from < 0 and from or from + 1, to and (to < 0 and to - 1 or to))
end`,
  __TS__StringSubstring: `local function __TS__StringSubstring(text, from, to) return string.sub(text, from + 1, to) end`,
  __TS__ObjectRest: `local function __TS__ObjectRest(source, used)
  local rest = {}
  for name, value in pairs(source) do if not used[name] then rest[name] = value end end
  return rest
end`,
  __TS__ArrayAt: `local function __TS__ArrayAt(list, at) return list[at < 0 and #list + at + 1 or at + 1] end`,
  __TS__StringIncludes: `local function __TS__StringIncludes(text, part) return string.find(text, part, 1, true) ~= nil end`,
  __TS__ArrayIncludes: `local function __TS__ArrayIncludes(list, item)
  for _, value in ipairs(list) do if value == item then return true end end
  return false
end`,
};
