# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_els_backend_global_optspecs
    string join \n database= database-file= products= time-zone= h/help V/version
end

function __fish_els_backend_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_els_backend_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_els_backend_using_subcommand
    set -l cmd (__fish_els_backend_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c els-backend -n "__fish_els_backend_needs_command" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_needs_command" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_needs_command" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_needs_command" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_needs_command" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_needs_command" -s V -l version -d 'Print version'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "serve" -d 'Count seats and guard the repositories, until SIGTERM'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "key" -d 'Create, show and change keys'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "seat" -d 'List and release seats'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "token" -d 'Create, list and revoke tokens of the vendor\'s own systems'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "find" -d 'Find keys and registrations by registration id, key id, contract, reseller or label'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "events" -d 'Print the audit log, oldest first'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "check" -d 'Compare seats with registrations and audit log; on disagreement print a list and exit 1'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "migrate" -d 'Update the database to the schema of this version, or set up an empty database'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "backup" -d 'Copy the database to FILE; it may be in use'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "copy" -d 'Copy everything to another, empty database; no `serve` may run on either of them'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l listen -d 'Address for machines and web servers; port 0 takes a free port, which the log names' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l admin-listen -d 'Address for /healthz, /readyz and /metrics' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l staff-listen -d 'Address for the vendor\'s systems (/admin/v1), plain HTTP; without it there is no such listener' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l staff-url -d 'URL at which the vendor\'s systems reach --staff-listen [default: the listening address if it is loopback]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l public-url -d 'URL at which machines reach this backend [default: the listening address if it is loopback]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l repo-url -d 'URL of the repositories that machines get [default: the public URL and /repo]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l repo-root -d 'Serve the files of this folder at /repo/, guarded by the gate' -r -f -a "(__fish_complete_directories)"
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l tls-cert -d 'Use TLS with this certificate chain (PEM); the file is read again when it changes' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l tls-key -d 'Private key of the certificate (PEM)' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l trusted-proxy -d 'Trust the X-Forwarded-For header of proxies in this network (repeatable; comma-separated in the environment)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l grace -d 'Days after expiry in which registered machines continue to work' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l gate-stale -d 'How long the gate answers from its memory while the database is away' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l plain-http -d 'Allow plain HTTP on an address that is not loopback, because a proxy encrypts'
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "create" -d 'Create a key; prints its id and, only once, the key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "update" -d 'Change a key; an empty TEXT removes a value'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "suspend" -d 'Refuse the machines of a key until it is resumed; registrations keep their seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "revoke" -d 'Refuse the machines of a key for ever'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "rotate" -d 'Replace a key by a new one for the same seats; registrations stay'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l seats -d 'Number of seats' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l expires -d 'When the key expires: from then on it gives no new seat' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l starts -d 'When the key becomes valid [default: now]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l product -d 'Product of the key [default: the first product]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l contract -d 'Contract of the key; unique: repeating the command makes no second key' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l reseller -d 'Company that sold the contract' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l note -d 'Note for the vendor' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l key-file -d 'Import the key in FILE instead of creating one (\'-\': standard input)' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l release-unseen-after -d 'Release the seat of a machine that was not seen for this number of days (at least 30)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l allow-weak -d 'Import a key of fewer than 20 characters'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l no-self-release -d 'The holder of the key cannot release the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l seats -d 'Number of seats; registrations stay even if it is less than the seats in use' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l expires -d 'When the key expires: from then on it gives no new seat' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l starts -d 'When the key becomes valid [default: now]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l product -d 'Product of the key' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l contract -d 'Contract of the key' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l reseller -d 'Company that sold the contract' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l note -d 'Note for the vendor' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l release-unseen-after -d 'Release the seat of a machine that was not seen for this number of days (at least 30), or \'never\'' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l self-release -d 'The holder of the key can release the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l no-self-release -d 'The holder of the key cannot release the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l trust-again -d 'Use the distrusted ids of this key again to recognise machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l old-until -d 'Until when the old key is valid [default: it ends now]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "create" -d 'Create a key; prints its id and, only once, the key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "update" -d 'Change a key; an empty TEXT removes a value'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "suspend" -d 'Refuse the machines of a key until it is resumed; registrations keep their seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Refuse the machines of a key for ever'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Replace a key by a new one for the same seats; registrations stay'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "list" -d 'List the registrations of a key'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "release" -d 'Release the seat of a registration, or all that a key has given since a time'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l key -d 'All registrations of this key since --registered-since: after a key was stolen and rotated' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l registered-since -d 'Since this time; only lists them, unless --yes is given' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l yes -d 'Release them'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the registrations of a key'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "release" -d 'Release the seat of a registration, or all that a key has given since a time'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "create" -d 'Create a token for the admin API; prints its id and, only once, the token'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "list" -d 'List all tokens'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "revoke" -d 'Refuse a token from now on'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and not __fish_seen_subcommand_from create list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l scope -d 'What the token allows (repeatable): keys:read, keys:write, keys:state, keys:secret, seats:read, seats:release, events:read, export' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l reseller -d 'Reach only the keys of this reseller' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l product -d 'Reach only the keys of this product (repeatable)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l from -d 'Refuse the token outside this network (repeatable)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l expires -d 'When the token expires, within a year [default: in 90 days]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from revoke" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from revoke" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from revoke" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from revoke" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "create" -d 'Create a token for the admin API; prints its id and, only once, the token'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'List all tokens'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Refuse a token from now on'
complete -c els-backend -n "__fish_els_backend_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l key -d 'Only events of this key' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l registration -d 'Only events of this registration' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l since -d 'Only events from this time on' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l from -d 'The database to read [default: the value of --database]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l from-file -d 'Read the URL of --from from FILE' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l to -d 'The database to fill; an SQLite file is created, a PostgreSQL database must exist' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l to-file -d 'Read the URL of --to from FILE' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l database-file -d 'Read the database\'s URL from FILE: a URL may contain a password, and other users can see arguments' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l products -d 'Read the products from FILE instead of the built-in ones' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l time-zone -d 'Time zone of a DATE without a time' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "serve" -d 'Count seats and guard the repositories, until SIGTERM'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "key" -d 'Create, show and change keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "seat" -d 'List and release seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "token" -d 'Create, list and revoke tokens of the vendor\'s own systems'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "find" -d 'Find keys and registrations by registration id, key id, contract, reseller or label'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "events" -d 'Print the audit log, oldest first'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "check" -d 'Compare seats with registrations and audit log; on disagreement print a list and exit 1'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "migrate" -d 'Update the database to the schema of this version, or set up an empty database'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "backup" -d 'Copy the database to FILE; it may be in use'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "copy" -d 'Copy everything to another, empty database; no `serve` may run on either of them'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat token find events check migrate backup copy help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "create" -d 'Create a key; prints its id and, only once, the key'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "update" -d 'Change a key; an empty TEXT removes a value'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "suspend" -d 'Refuse the machines of a key until it is resumed; registrations keep their seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "revoke" -d 'Refuse the machines of a key for ever'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rotate" -d 'Replace a key by a new one for the same seats; registrations stay'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from seat" -f -a "list" -d 'List the registrations of a key'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from seat" -f -a "release" -d 'Release the seat of a registration, or all that a key has given since a time'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "create" -d 'Create a token for the admin API; prints its id and, only once, the token'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'List all tokens'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Refuse a token from now on'
