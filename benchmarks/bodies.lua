-- Bodies for wrk: a pool made beforehand; for distinct bodies the first number of each is new in every request.
-- Arguments: number of inputs, "distinct" | "repeated", a number that no other run of this server uses.
-- At the end one line "RESULT {json}" with latencies in microseconds.

local POOL_SIZE = 64

local head, tails, next_tail, counter

local function tail(inputs)
  local numbers = {}
  for i = 1, inputs - 1 do
    numbers[i] = string.format("%.3f", math.random())
  end
  return "," .. table.concat(numbers, ",") .. "]}"
end

function init(args)
  local inputs, kind, run = tonumber(args[1]), args[2], tonumber(args[3])
  math.randomseed(20170327)
  tails = {}
  for i = 1, POOL_SIZE do
    tails[i] = tail(inputs)
  end
  -- 0.1RRRRCCCCCCCC: run and counter in a number of fixed width, so that the length of the body is known.
  counter = 1e12 + run * 1e8
  next_tail = 0
  local first = '{"input":[0.' .. string.format("%d", counter)
  if kind == "repeated" then
    wrk.method, wrk.body = "POST", first .. tails[1]  -- wrk formats this request once
    wrk.headers["Content-Type"] = "application/json"
    return
  end
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
    .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #first + #tails[1]
    .. '\r\n\r\n{"input":[0.'
  request = function()
    counter = counter + 1
    next_tail = next_tail % POOL_SIZE + 1
    return head .. string.format("%d", counter) .. tails[next_tail]
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d,' ..
    ' "socket_errors": %d, "timeouts": %d, "non_2xx": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write, errors.timeout, errors.status))
end
