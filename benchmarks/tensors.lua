-- Requests of the Open Inference Protocol for wrk: one FP32 tensor [1, n], in JSON or binary, new in every request.
-- Arguments: number of inputs, "json" | "binary", a number that no other run of this server uses.
-- At the end one line "RESULT {json}" with latencies in microseconds.

local ffi = require("ffi")
local POOL_SIZE = 64

local heads, tails, make_first, next_tail, counter = nil, {}, nil, 0, 0

local function float_bytes(bits)
  return ffi.string(ffi.new("uint32_t[1]", bits), 4)
end

local function head_of(fields, length, more)
  return "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nContent-Length: "
    .. length .. more .. "\r\n\r\n" .. fields
end

local function prepare_json(inputs, run)
  local fields = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,' .. inputs .. '],"data":[' .. run
  for i = 1, POOL_SIZE do
    local numbers = {}
    for j = 1, inputs - 2 do
      numbers[j] = string.format("%.3f", math.random())
    end
    tails[i] = "," .. table.concat(numbers, ",") .. "]}]}"
  end
  make_first = function() return "," .. 1e6 + counter % 9e6 end  -- of one width, and exact in 32 bits
  heads = head_of(fields, #fields + #make_first() + #tails[1], "\r\nContent-Type: application/json")
end

local function prepare_binary(inputs, run)
  local fields = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,' .. inputs
    .. '],"parameters":{"binary_data_size":' .. 4 * inputs .. "}}]}"
  for i = 1, POOL_SIZE do
    local numbers = {}
    for j = 1, inputs - 2 do
      numbers[j] = float_bytes(0x3f000000 + math.random(0, 2 ^ 22))
    end
    tails[i] = table.concat(numbers)
  end
  make_first = function() return float_bytes(0x3f000000 + counter % 2 ^ 23) end
  local more = "\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: " .. #fields
  heads = head_of(fields, #fields + 4 * inputs, more) .. float_bytes(0x3f000000 + run)
end

function init(args)
  math.randomseed(20170327)
  local prepare = args[2] == "json" and prepare_json or prepare_binary
  prepare(tonumber(args[1]), 100 + tonumber(args[3]))
  request = function()
    counter = counter + 1
    next_tail = next_tail % POOL_SIZE + 1
    return heads .. make_first() .. tails[next_tail]
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
