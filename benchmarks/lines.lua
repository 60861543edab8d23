-- Bodies for wrk from a file, one a line, in their order. Argument: the file.
-- At the end one line "RESULT {json}" with latencies in microseconds, as bodies.lua has it.

local requests, next_request

function init(args)
  requests, next_request = {}, 0
  local head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
    .. "\r\nContent-Type: application/json\r\nContent-Length: "
  for line in io.lines(args[1]) do
    requests[#requests + 1] = head .. #line .. "\r\n\r\n" .. line
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "max_us": %d,' ..
    ' "socket_errors": %d, "timeouts": %d, "non_2xx": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write, errors.timeout, errors.status))
end
