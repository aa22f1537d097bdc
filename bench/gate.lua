-- A request for each of many machines in turn. Arguments: a file with "id:token" in base64, one a line; the path.
-- The same requests go to the gate and to what it is compared with.
local requests, at = {}, 0

function init(args)
    for credential in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", args[2], {
            ["Host"] = wrk.headers["Host"],
            ["Authorization"] = "Basic " .. credential,
            ["X-Original-URI"] = "/repo/almalinux/9/repodata/repomd.xml",
            ["Connection"] = wrk.headers["Connection"],
        })
    end
    math.randomseed(os.time())
    at = math.random(#requests)
end

function request()
    at = at % #requests + 1
    return requests[at]
end
