-- wrk with one connection a thread, so that each answer can be held against the request it is for: it must name the
-- domain that was asked and the path, which is different in every request.
local threads = {}

function setup(thread)
  thread:set("id", #threads)
  table.insert(threads, thread)
end

function init(args)
  math.randomseed(id * 7919 + 1)
  domains = tonumber(args[1])
  answers, wrong, first_wrong, counter = 0, 0, "", 0
end

function request()
  counter = counter + 1
  local domain = "d" .. math.random(0, domains - 1)
  local path = "/" .. domain .. "/" .. id .. "-" .. counter
  expected = domain .. " " .. path .. "\n"
  return wrk.format("GET", path)
end

function response(status, headers, body)
  answers = answers + 1
  if status ~= 200 or body ~= expected then
    wrong = wrong + 1
    if wrong == 1 then first_wrong = status .. " " .. body .. "instead of " .. expected end
  end
end

function done(summary, latency, requests)
  local answers, wrong, example = 0, 0, ""
  for _, thread in ipairs(threads) do
    answers = answers + thread:get("answers")
    wrong = wrong + thread:get("wrong")
    if thread:get("first_wrong") ~= "" then example = thread:get("first_wrong") end
  end
  local errors = summary.errors
  io.write(string.format("answers %d wrong %d connect %d read %d write %d timeout %d status %d p99 %.1f ms %s\n",
    answers, wrong, errors.connect, errors.read, errors.write, errors.timeout, errors.status,
    latency:percentile(99) / 1000, example))
end
