complete -c els-register -l key -d 'License key; registers, unless another action stands beside it' -r -f
complete -c els-register -l key-file -d 'Read the key from FILE instead; \'-\': standard input' -r -F
complete -c els-register -l release -d 'Free the seat of a machine that is gone; needs no root' -r -f
complete -c els-register -l label -d 'Registering: what the list of seats calls this machine (%H: host name)' -r -f
complete -c els-register -l server -d 'The backend: https://HOST[:PORT][/PATH]' -r -f
complete -c els-register -l config -d 'Configuration [default: /etc/els-register.toml]' -r -F
complete -c els-register -l ca-file -d 'CA certificates (PEM) to trust beside the system\'s' -r -F
complete -c els-register -l proxy -d 'HTTP proxy: http://[USER:PASSWORD@]HOST:PORT' -r -f
complete -c els-register -l timeout -d 'Most time for all waiting together [default: 60]' -r -f
complete -c els-register -l root -d 'Take every path that is read or written under DIR' -r -f -a "(__fish_complete_directories)"
complete -c els-register -l register -d 'Register, the key from ELS_LICENSE_KEY or a systemd credential'
complete -c els-register -l refresh -d 'Bring the written files up to date; needs no key'
complete -c els-register -l unregister -d 'Give the seat back and remove what registering wrote'
complete -c els-register -l status -d 'Say where this machine stands'
complete -c els-register -l seats -d 'List who holds the key\'s seats; needs no root'
complete -c els-register -l report -d 'One text for support: state, files, checks; no secrets'
complete -c els-register -l eula -d 'Print the end-user license agreement'
complete -c els-register -l moved -d 'Registering: the registered machine on new hardware, no copy of it'
complete -c els-register -l offline -d 'Refresh, status: ask nobody'
complete -c els-register -l force -d 'Unregister: clean up here even if the seat cannot be given back'
complete -c els-register -l dry-run -d 'Register, refresh, unregister: only print what would be done'
complete -c els-register -l json -d 'Print one JSON document, on success and on failure'
complete -c els-register -s q -l quiet -d 'Print only warnings and errors'
complete -c els-register -s v -l verbose -d 'Say what is being done'
complete -c els-register -s h -l help -d 'Print this help'
complete -c els-register -s V -l version -d 'Print the version'
