"""Writes the configuration with which curl registers a machine that nobody has seen and probes the repository with its
credential. Arguments: file with the key, file to write, port, certificate."""

import json
import pathlib
import sys

from lab import new_machine

key, config, port, cert = sys.argv[1:]
registration, token, body = new_machine(pathlib.Path(key).read_text().strip())
body = json.dumps(body).replace("\\", "\\\\").replace('"', '\\"')
pathlib.Path(config).write_text(f"""cacert = "{cert}"
request = "PUT"
header = "Content-Type: application/json"
data = "{body}"
url = "https://127.0.0.1:{port}/v1/registrations/{registration}"
output = "/dev/null"
fail
next
cacert = "{cert}"
user = "{registration}:{token}"
url = "https://127.0.0.1:{port}/repo/almalinux/9/updates/x86_64/repodata/repomd.xml"
output = "/dev/null"
fail
""")
