complete -c els-register -l key -d 'License key; registers unless another action is given' -r -f
complete -c els-register -l key-file -d 'Read the key from FILE (\'-\': standard input)' -r -F
complete -c els-register -l release -d 'Release the seat of a machine that is gone; needs no root' -r -f
complete -c els-register -l label -d 'Register: name of this machine in the seat list (%H: host name)' -r -f
complete -c els-register -l server -d 'The backend: https://HOST[:PORT][/PATH]' -r -f
complete -c els-register -l config -d 'Configuration [default: /etc/els-register.toml]' -r -F
complete -c els-register -l ca-file -d 'CA certificates (PEM) to trust in addition to the system\'s' -r -F
complete -c els-register -l proxy -d 'HTTP proxy: http://[USER:PASSWORD@]HOST:PORT' -r -f
complete -c els-register -l timeout -d 'Time limit for all waiting together [default: 60]' -r -f
complete -c els-register -l root -d 'Read and write all paths below DIR' -r -f -a "(__fish_complete_directories)"
complete -c els-register -l register -d 'Register with the key in ELS_LICENSE_KEY or a systemd credential'
complete -c els-register -l refresh -d 'Bring the written files up to date; needs no key'
complete -c els-register -l unregister -d 'Release the seat and remove what registering wrote'
complete -c els-register -l status -d 'Show whether this machine is registered and in order'
complete -c els-register -l seats -d 'List the machines that hold the key\'s seats; needs no root'
complete -c els-register -l report -d 'Print a text for support: state, files, checks; no secrets'
complete -c els-register -l eula -d 'Print the end-user license agreement'
complete -c els-register -l moved -d 'Register: this is the registered machine on new hardware, not a copy'
complete -c els-register -l offline -d 'Refresh, status: do not ask the backend'
complete -c els-register -l force -d 'Unregister: remove the files even if the seat cannot be released'
complete -c els-register -l dry-run -d 'Register, refresh, unregister: only print what would be done'
complete -c els-register -l json -d 'Print one JSON document, on success and on failure'
complete -c els-register -s q -l quiet -d 'Print only warnings and errors'
complete -c els-register -s v -l verbose -d 'Print each step'
complete -c els-register -s h -l help -d 'Print this help'
complete -c els-register -s V -l version -d 'Print the version'
