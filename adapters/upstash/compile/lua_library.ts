/**
 * The functions that the compiled Lua may call: our own short forms of the few helpers that
 * `typescript-to-lua` asks for. Transitions work on strings, whole numbers, records and arrays; what is not
 * here is outside the subset, and compiling it fails.
 */

/** By the name that the compiler uses; a value may call the ones in `NEEDS`. */
export const LUA_LIBRARY: Readonly<Record<string, string>> = {
  // Text of a whole number without an exponent; Lua would print 1.7e+12. A zero has no sign.
  tostring: `local function tostring(value)
  if type(value) == "number" then return string.format("%.0f", value + 0) end
  return value
end`,
  // What Lua reads as a number and JavaScript does not: "inf" and "nan". The other way about: "".
  __TS__Number: `local function __TS__Number(value)
  local number = tonumber(value)
  if number and number - number == 0 then return number end
  return value == "" and 0 or 0 / 0
end`,
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
  if to and to < 0 then to = #text + to end
  return string.sub(text, from < 0 and from or from + 1, to)
end`,
  __TS__ObjectRest: `local function __TS__ObjectRest(source, used)
  local rest = {}
  for name, value in pairs(source) do if not used[name] then rest[name] = value end end
  return rest
end`,
  __TS__StringIncludes:
    `local function __TS__StringIncludes(text, part) return string.find(text, part, 1, true) ~= nil end`,
  __TS__ArrayIncludes: `local function __TS__ArrayIncludes(list, item)
  for _, value in ipairs(list) do if value == item then return true end end
  return false
end`,
};

/** A function of ours in TypeScript that has a form of its own in Lua. */
export interface NativeForm {
  /** The end of the path of the file that declares it. */
  readonly file: string;
  /** The function in Lua; it may use what surrounds `apply`. */
  readonly lua: string;
}

/** By the function's name. The differential test holds both forms to each other. */
export const NATIVE_FORMS: Readonly<Record<string, NativeForm>> = {
  isWhole: {
    file: "src/store/whole_number.ts",
    lua: `local function isWhole(text, most)
  return text ~= nil and #text <= most and string.find(text, "^%d+$") ~= nil
end`,
  },
  figure: {
    file: "src/store/whole_number.ts",
    lua: `local function figure(text) return tonumber(text or 0) end`,
  },
  readNumbers: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function readNumbers(text, into)
  local count = 0
  for part in string.gmatch(text .. ":", "(.-):") do
    if #part > 15 or not string.find(part, "^%d+$") then return 0 end
    count = count + 1
    into[count] = tonumber(part)
  end
  return count
end`,
  },
  policyName: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function policyName(index) return "policy" .. index end`,
  },
  wholeNumber: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function wholeNumber(text)
  return text and #text <= 15 and string.find(text, "^%d+$") and tonumber(text) or -1
end`,
  },
  figuresText: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function figuresText(...) return string.format("%.0f:%.0f:%.0f:%.0f", ...) end`,
  },
  isRepeated: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function isRepeated(record, call)
  return record and call and string.find("," .. (record.recentCalls or ""), "," .. call .. ",", 1, true)
end`,
  },
  // A script runs once: there is nothing to remember.
  remembered: {
    file: "src/throttle/throttle_numbers.ts",
    lua: `local function remembered(line, make) return make(line) end`,
  },
  numbersIn: {
    file: "src/lock/lock_texts.ts",
    lua: `local function numbersIn(text)
  local numbers = {}
  for part in string.gmatch(text, "%d+") do numbers[#numbers + 1] = tonumber(part) end
  return numbers
end`,
  },
  summaryText: {
    file: "src/lock/lock_texts.ts",
    lua: `local function summaryText(...) return string.format("%.0f" .. string.rep(" %.0f", 9), ...) end`,
  },
  isAmong: {
    file: "src/lock/lock_texts.ts",
    lua: `local function isAmong(names, name)
  return string.find("," .. names .. ",", "," .. name .. ",", 1, true)
end`,
  },
  ownersIn: {
    file: "src/lock/lock_texts.ts",
    lua: `local function ownersIn(record)
  local owners = {}
  for name in pairs(record) do owners[#owners + 1] = string.match(name, "^by:(.+)") end
  return owners
end`,
  },
  newRecord: {
    file: "src/lock/lock_texts.ts",
    lua: `local function newRecord(done) return {done = done} end`,
  },
  // Redis knows its clock in microseconds; `micro` has those within `now`.
  microseconds: {
    file: "src/store/microseconds.ts",
    lua: `local function microseconds(now) return now * 1000 + micro end`,
  },
};
