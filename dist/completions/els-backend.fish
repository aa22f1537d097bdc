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
complete -c els-backend -n "__fish_els_backend_needs_command" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_needs_command" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_needs_command" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_needs_command" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_needs_command" -s V -l version -d 'Print version'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "serve" -d 'Count seats and open the repositories, until SIGTERM'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "key" -d 'Make, show and change keys'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "seat" -d 'List and free seats'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "find" -d 'Find keys and registrations by registration, key id, contract, reseller or label'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "events" -d 'Print the audit trail, oldest first'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "check" -d 'Recount seats against registrations and trail; exit 1 and a list on disagreement'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "migrate" -d 'Bring the database to the schema of this version, or set up an empty one'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "backup" -d 'Copy the database, also while it is in use, to FILE'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "copy" -d 'Move everything to another, empty database; no `serve` may run on either'
complete -c els-backend -n "__fish_els_backend_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l listen -d 'Where machines and web servers ask; port 0 takes a free one, which the log names' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l admin-listen -d 'Where /healthz, /readyz and /metrics are' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l public-url -d 'How machines reach this backend [default: the listening address, when that is loopback]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l repo-url -d 'What machines are told of the repositories [default: the public URL and /repo]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l repo-root -d 'Serve this folder at /repo/, under the gate' -r -f -a "(__fish_complete_directories)"
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l tls-cert -d 'Speak TLS with this certificate chain (PEM); read again when it changes' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l tls-key -d 'The certificate\'s private key (PEM)' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l trusted-proxy -d 'Believe the X-Forwarded-For of proxies in this network (again for each; with commas in the environment)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l grace -d 'Days after expiry in which known machines go on' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l gate-stale -d 'How long the gate opens for what it knew to be good, when the database cannot be reached' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -l plain-http -d 'Speak plain HTTP on an address that is not loopback: something else encrypts'
complete -c els-backend -n "__fish_els_backend_using_subcommand serve" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "create" -d 'Make a key; its id and the key itself are printed once'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "update" -d 'Change a key; an empty TEXT takes a value away'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "suspend" -d 'Refuse a key\'s machines until it is resumed; nobody loses a seat'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "revoke" -d 'Refuse a key\'s machines for good'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "rotate" -d 'Make a new key for the same seats; registrations are untouched'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and not __fish_seen_subcommand_from create list show update suspend resume revoke rotate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l seats -d 'Seats sold' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l expires -d 'From then on no new seat is given' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l starts -d 'From then on it is valid' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l product -d 'What it is sold for [default: the first product]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l contract -d 'The contract; unique: the same command again makes no second key' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l reseller -d 'Who sold it' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l note -d 'A remark' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l key-file -d 'Import the key in FILE instead of making one (\'-\': standard input)' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l release-unseen-after -d 'Take the seat of a machine back that was not seen for so many days (30 at least)' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l allow-weak -d 'Import it although it has fewer than 20 characters'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l no-self-release -d 'Whoever holds the key cannot free the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l seats -d 'Seats sold; fewer than are used ends nobody\'s registration' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l expires -d 'From then on no new seat is given' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l starts -d 'From then on it is valid' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l product -d 'What it is sold for' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l contract -d 'The contract' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l reseller -d 'Who sold it' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l note -d 'A remark' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l release-unseen-after -d 'Days until the seat of an unseen machine is taken back (30 at least), or \'never\'' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l self-release -d 'Whoever holds the key can free the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l no-self-release -d 'Whoever holds the key cannot free the seats of other machines'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l trust-again -d 'Forget which ids several machines were seen to share'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from update" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from suspend" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l old-until -d 'Until when the old key counts [default: it ends now]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a key; its id and the key itself are printed once'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "update" -d 'Change a key; an empty TEXT takes a value away'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "suspend" -d 'Refuse a key\'s machines until it is resumed; nobody loses a seat'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Refuse a key\'s machines for good'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Make a new key for the same seats; registrations are untouched'
complete -c els-backend -n "__fish_els_backend_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "list" -d 'List the registrations that hold a key\'s seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "release" -d 'Free the seat of a registration'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and not __fish_seen_subcommand_from list release help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the registrations that hold a key\'s seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "release" -d 'Free the seat of a registration'
complete -c els-backend -n "__fish_els_backend_using_subcommand seat; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand find" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l key -d 'Of this key alone' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l registration -d 'Of this registration alone' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l since -d 'From this time on' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand events" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -l json -d 'Print one JSON document'
complete -c els-backend -n "__fish_els_backend_using_subcommand check" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand backup" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l from -d 'The database to read [default: the one of --database]' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l from-file -d 'Read the URL of the database to read from FILE' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l to -d 'The database to fill; a file is made, a PostgreSQL database has to be there' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l to-file -d 'Read the URL of the database to fill from FILE' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l database -d 'The database: sqlite:///PATH, or postgres://USER@HOST/NAME for several nodes' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l database-file -d 'Read the database\'s URL from FILE: it may hold a password, and arguments are visible to others' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l products -d 'Read the products from FILE instead of those compiled in' -r -F
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -l time-zone -d 'Time zone in which a DATE without a time begins and ends' -r -f
complete -c els-backend -n "__fish_els_backend_using_subcommand copy" -s h -l help -d 'Print help'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "serve" -d 'Count seats and open the repositories, until SIGTERM'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "key" -d 'Make, show and change keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "seat" -d 'List and free seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "find" -d 'Find keys and registrations by registration, key id, contract, reseller or label'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "events" -d 'Print the audit trail, oldest first'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "check" -d 'Recount seats against registrations and trail; exit 1 and a list on disagreement'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "migrate" -d 'Bring the database to the schema of this version, or set up an empty one'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "backup" -d 'Copy the database, also while it is in use, to FILE'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "copy" -d 'Move everything to another, empty database; no `serve` may run on either'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and not __fish_seen_subcommand_from serve key seat find events check migrate backup copy help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "create" -d 'Make a key; its id and the key itself are printed once'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List all keys'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "show" -d 'Show one key'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "update" -d 'Change a key; an empty TEXT takes a value away'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "suspend" -d 'Refuse a key\'s machines until it is resumed; nobody loses a seat'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "resume" -d 'End a suspension'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "revoke" -d 'Refuse a key\'s machines for good'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "rotate" -d 'Make a new key for the same seats; registrations are untouched'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from seat" -f -a "list" -d 'List the registrations that hold a key\'s seats'
complete -c els-backend -n "__fish_els_backend_using_subcommand help; and __fish_seen_subcommand_from seat" -f -a "release" -d 'Free the seat of a registration'
