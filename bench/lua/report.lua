-- Figures as one line of JSON. With an argument above 0, every request is a POST of that many octets. CONNECTIONS in the environment: wrk's -c.
--
-- wrk takes each latency n of more than twice the mean interval m of a connection for a stall that kept requests from being sent, and adds
-- latencies of n - m, n - 2m … to the measured ones. `p50` and `p99` are those of the requests that there were, `p99_corrected` is wrk's.

function init(args)
   local size = tonumber(args[1] or "0")
   if size > 0 then
      wrk.method = "POST"
      wrk.body = string.rep("x", size)
      wrk.headers["Content-Type"] = "application/octet-stream"
   end
end

-- The measured latencies: how often each one was met, and all of them in order, the greatest first.
local function measured(latency, interval)
   local counts, values = {}, {}
   for place = #latency, 1, -1 do
      local value, count = latency(place)
      counts[value] = count
      values[#values + 1] = value
   end
   for _, value in ipairs(values) do
      local count = counts[value]
      if value >= 2 * interval and count > 0 then
         local added = value - interval
         while added > interval do
            counts[added] = counts[added] - count
            added = added - interval
         end
      end
   end
   return counts, values
end

local function quantile(counts, values, total, share)
   local seen = 0
   for _, value in ipairs(values) do
      seen = seen + counts[value]
      if seen > total * (1 - share) then
         return value
      end
   end
   return 0
end

function done(summary, latency, requests)
   local errors = summary.errors
   local each = math.floor(summary.requests / tonumber(os.getenv("CONNECTIONS")))
   local counts, values = measured(latency, each > 0 and math.floor(summary.duration / each) or math.huge)
   local total = 0
   for _, count in pairs(counts) do
      total = total + count
   end
   if total + errors.timeout ~= summary.requests then
      error(string.format("%d latencies of %d requests: this wrk adds others", total, summary.requests))
   end
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "p99_corrected": %.6f, "errors": %d}\n',
      summary.requests, summary.duration / 1e6, quantile(counts, values, total, 0.5) / 1e6, quantile(counts, values, total, 0.99) / 1e6,
      latency:percentile(99) / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
