-- Requests of many kinds in turn: bodies, errors, a closed connection, and what no server may accept.
-- Arguments: how many in a row one write has (1: all kinds, more: small GETs only).

local kinds, turn = {}, 0

local function head(method, path, host, fields)
   return method .. " " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. (fields or "") .. "\r\n"
end

function init(args)
   local many = tonumber(args[1] or "1")
   local get = head("GET", "/128", "plain.test")
   if many > 1 then
      kinds = {string.rep(get, many)}
      return
   end
   local body = string.rep("x", 10240)
   kinds = {
      get,
      head("GET", "/128?a=b&c=%20d", "plain.test", "User-Agent: mix\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX-One: 1\r\nX-Two: 2\r\n"),
      get,
      head("POST", "/post", "plain.test", "Content-Length: 10240\r\n") .. body,
      get,
      head("POST", "/post", "plain.test", "Transfer-Encoding: chunked\r\n") .. "2800\r\n" .. body .. "\r\n5;a=b\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n",
      get,
      head("GET", "/absent", "plain.test"),
      get,
      head("GET", "/100k", "plain.test"),
      get,
      head("GET", "/128", "ruled.test", "X-Removed: 1\r\n"),
      get,
      head("GET", "/", "fixed.test"),
      get,
      head("GET", "/", "dead.test"),
      get,
      head("GET", "/", "nobody.test"),
      get,
      head("GET", "/128", "sticky.test"),
      get,
      head("GET", "/128", "plain.test", "Connection: close\r\n"),
      get,
      "GET /128 HTTP/1.0\r\nHost: plain.test\r\n\r\n",
      get,
      head("GET", "/128", "plain.test", "Host: other.test\r\n"),
      get,
      head("GET", "/128", "plain.test", "A B: c\r\n"),
      get,
      head("POST", "/post", "plain.test", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
   }
end

function request()
   turn = turn % #kinds + 1
   return kinds[turn]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "broken": %d, "timeouts": %d}\n',
      summary.requests, errors.connect + errors.read + errors.write, errors.timeout))
end
