// Every command with its options and its help; one file a command does the work.

struct Command: Sendable {
    let name: String
    let summary: String
    let help: String
    let options: [String]
    let flags: [String]
    let run: @Sendable (Arguments) throws -> Int32
}

enum Help {
    static let version = "0.1.0"

    static let commands: [Command] = [
        Command(
            name: "serve", summary: "run the host",
            help: """
                usage: swiftlet serve [--listen HOST:PORT] [--state DIR] [--loops N]
                                      [--tls auto|self|off] [--tls-cert FILE --tls-key FILE] [--tls-hosts FILE]
                                      [--tls-client-ca FILE [--tls-client-crl FILE] [--tls-operators FILE]] [--tls-hsts S]
                                      [--loopback trusted|key] [--tenants FILE] [--limits FILE] [--jwt FILE]
                                      [--models-memory-mb N] [--models-device-memory-mb N]
                                      [--prefix-memory-mb N] [--prefix-disk-mb N] [--prefix-salt-hours N]
                                      [--master-key-file FILE]
                                      [--zygotes N] [--zygote-life SECONDS] [--restart-rate N] [--uid N] [--json]
                                      [--response-cache-mb N] [--response-cache-ttl SECONDS] [--log-answers]
                                      [--unsigned allow|warn|refuse]
                                      [--audit-days N] [--usage-days N] [--usage on|off]
                                      [--require-layers all|LAYER[,LAYER]] [--sandbox-without LAYER[,LAYER]]

                Serves functions and models over HTTP until SIGTERM or SIGINT, then lets running requests finish.
                  --listen HOST:PORT  numeric address; port 0 picks a free one (default 127.0.0.1:8080)
                  --state DIR         registry and artefacts (default ./state)
                  --tls auto|self|off auto: HTTPS off loopback, by a self-signed certificate when --tls-cert gives none; it is
                                      kept in the state directory and its fingerprint printed. self: on loopback too. off: plain
                                      HTTP, even off loopback, where everybody on the way can read and change it
                  --tls-cert FILE     PEM certificate chain to serve (TLS 1.2 and 1.3, HTTP/2 by ALPN); SIGHUP reads all files
                                      of TLS again, all or none, and drops no connection
                  --tls-key FILE      PEM private key of the certificate
                  --tls-hosts FILE    JSON5 with certificates by host name, and the tenants they belong to (docs/http.md)
                  --tls-client-ca FILE    PEM authorities: ask clients for a certificate, and refuse one that isn't theirs
                  --tls-client-crl FILE   PEM revocation lists, one of each authority
                  --tls-operators FILE    JSON5 with the roles of operators by their certificates (docs/http.md)
                  --tls-hsts S        seconds for which browsers shall come by HTTPS only; 0: not said (default 86400, and
                                      never with a self-signed certificate)
                  --master-key-file FILE   the key that seals tenants' secrets and data, mode 600; or SWIFTLET_MASTER_KEY, or
                                      systemd's credential swiftlet-master-key (docs/secrets.md; default DIR/master.key,
                                      made at the first start)
                  --loopback trusted|key   whether callers on this machine may do everything without a key (default:
                                      trusted); with `key` they need one like everybody else. A first start prints one key of
                                      the platform's admin (docs/identity.md)
                  --tenants FILE      JSON5 with each tenant's weight and quotas of the models (docs/quotas.md); SIGHUP reads
                                      it again
                  --limits FILE       JSON5 with limits of the platform, of each tenant and of each key (docs/limits.md); SIGHUP
                                      reads it again
                  --jwt FILE          JSON5 with the issuers whose tokens (JWT, OIDC) are good here, their keys, and how claims
                                      become tenant and role (docs/jwt.md); SIGHUP reads it again
                  --models-memory-mb N    what limits.memory_mb of the models that are loaded may add up to; an idle model
                                      goes for one that is asked for, a busy one never (default: no bound; docs/models.md)
                  --models-device-memory-mb N   the same for limits.device_memory_mb, on each device
                  --prefix-memory-mb N    memory of the host for prompts' beginnings that left their model, each found again
                                      by its tenant only; 0: off (default 256)
                  --prefix-disk-mb N  the same on disk below --state, encrypted with keys of this run (default 0: off)
                  --prefix-salt-hours N   how long a tenant's beginnings are found by the same secret (default 24)
                  --response-cache-mb N   memory for answers that are given again to the same tenant, to requests that ask for
                                      it (docs/openai.md); 0: none are kept (default 64)
                  --response-cache-ttl SECONDS   how long such an answer is kept (default 300)
                  --log-answers       write a line of the log for each request of a model that is over: its model, tenant,
                                      tokens and end, in OpenTelemetry's words, and nothing of its text
                  --audit-days N      entries of the audit log that are older go to its archive below --state (default: all stay)
                  --usage on|off      off: no call gets a row in the usage ledger, and none of its counters counts (default on)
                  --usage-days N      how long each call has a row of its own in the usage ledger; its sums by hour and by
                                      day stay 400 days (default 7; docs/usage.md)
                  --loops N           event loops, one a core (default: the number of cores)
                  --zygotes N         zygotes kept ready for tenants that wake (default 1)
                  --zygote-life SECONDS   a tenant that stays awake moves to a new zygote, and so to a new address
                                      layout, after this time (default 600)
                  --restart-rate N    workers a second that may replace dead ones of a function, after the first 20; a
                                      function whose workers die faster answers 503 crash_loop; 0: no bound (default 10)
                  --uid N             user and group that the host becomes when started as root (default 59990)
                  --json              print one line of JSON with the address when ready
                  --unsigned POLICY   what becomes of artefacts that no trusted key signed: allow, warn (deployed, with a warning),
                                      or refuse; a tenant may be stricter (docs/artefacts.md; default allow)
                  --require-layers all|LAYER[,LAYER]
                                      refuse to start when one of these layers of the sandbox is missing here
                  --sandbox-without LAYER[,LAYER]
                                      leave layers of the sandbox out, for tests of the others: never for code of others
                """,
            options: [
                "--listen", "--state", "--loopback", "--loops", "--zygotes", "--zygote-life",
                "--restart-rate", "--uid", "--tenants", "--limits", "--jwt", "--models-memory-mb",
                "--models-device-memory-mb",
                "--master-key-file",
                "--prefix-memory-mb", "--prefix-disk-mb", "--prefix-salt-hours",
                "--response-cache-mb", "--response-cache-ttl", "--audit-days", "--usage-days", "--usage",
                "--unsigned",
                "--require-layers", "--sandbox-without",
            ] + TLSOptions.names,
            flags: ["--json", "--log-answers"], run: ServeCommand.run),
        Command(
            name: "build", summary: "build a handler's folder into plugin.so",
            help: """
                usage: swiftlet build DIR [--output FILE]

                Compiles the sources that DIR/swiftlet.json5 names (Swift or C) into FILE (default DIR/plugin.so).
                """,
            options: ["--output"], flags: [], run: BuildCommand.run),
        Command(
            name: "deploy", summary: "build and publish a folder",
            help: """
                usage: swiftlet deploy DIR|FILE.tar [-s KEY [-t COMMENT]] [--tenant NAME] [--name NAME] [--host URL] [--json]

                Builds a handler that has a `language`, sends the folder to the host, which checks it in a jailed worker and
                publishes it. Backends belong to the tenant `platform`; handlers to --tenant (default `default`). An archive that
                `swiftlet sign` made is sent as it is.
                  -s KEY       sign it first, with a secret key of minisign's or of `swiftlet keygen` (docs/artefacts.md)
                  -t COMMENT   one line that is signed with it
                  --name NAME  what to call it, in place of the manifest's name
                """,
            options: ["--tenant", "--name", "--host", "-s", "-t"], flags: ["--json"], run: DeployCommand.run),
        Command(
            name: "keygen", summary: "make a pair of keys that sign",
            help: """
                usage: swiftlet keygen [-p PUBLIC] [-s SECRET] [-W] [-f] [--json]

                Makes minisign key files: PUBLIC (default minisign.pub) for everybody, SECRET (default ~/.minisign/minisign.key)
                for nobody else, encrypted with a password that is asked for twice.
                  -W  without a password
                  -f  replace files that are there
                """,
            options: ["-p", "-s"], flags: ["-W", "-f", "--json"], run: KeygenCommand.run),
        Command(
            name: "sign", summary: "sign a folder or an archive",
            help: """
                usage: swiftlet sign DIR|FILE.tar [-s KEY] [-t COMMENT] [-o FILE.tar]

                Writes SHA256SUMS, the list of all files, and SHA256SUMS.minisig, its signature, into the folder or archive;
                `minisign -Vm SHA256SUMS` and `sha256sum -c SHA256SUMS` check them.
                  -s KEY       secret key of minisign's or of `swiftlet keygen` (default ~/.minisign/minisign.key)
                  -t COMMENT   one line that is signed with it, in place of the time
                  -o FILE.tar  write an archive that `swiftlet deploy` takes; a handler with a `language` is built for it
                """,
            options: ["-s", "-t", "-o"], flags: [], run: SignCommand.run),
        Command(
            name: "trust", summary: "whose signatures count",
            help: """
                usage: swiftlet trust add PUBLIC [--tenant NAME|--platform] [--comment TEXT] [--host URL] [--json]
                       swiftlet trust ls [--tenant NAME|--platform] [--host URL] [--json]
                       swiftlet trust rm KEYID [--tenant NAME|--platform] [--host URL] [--json]
                       swiftlet trust unsigned allow|warn|refuse|default [--tenant NAME] [--host URL] [--json]

                PUBLIC is a public key file of minisign's or the key itself. Keys of --platform sign for every tenant, those of a
                tenant (default `default`) for that one. `unsigned` says what becomes of a tenant's artefacts that no trusted key
                signed; the stricter of this and `serve --unsigned` counts. A signature that is wrong is always refused.
                """,
            options: ["--tenant", "--comment", "--host"], flags: ["--platform", "--json"], run: TrustCommand.run),
        Command(
            name: "sbom", summary: "print the bill of materials of a function or model",
            help: """
                usage: swiftlet sbom NAME [--tenant NAME|--platform] [--host URL]

                Prints the sbom.json that was deployed with a function, or with a model (--platform).
                """,
            options: ["--tenant", "--host"], flags: ["--platform"], run: SbomCommand.run),
        Command(
            name: "invoke", summary: "call a function and print its answer",
            help: """
                usage: swiftlet invoke FUNCTION [PATH] [--tenant NAME] [--data TEXT] [--method M] [--timing] [--host URL]

                  --timing  print Server-Timing on stderr
                Exits with 1 when the status is 400 or above.
                """,
            options: ["--tenant", "--data", "--method", "--host"], flags: ["--timing"], run: InvokeCommand.run),
        Command(
            name: "ls", summary: "list functions and models", help: "usage: swiftlet ls [--host URL] [--json]",
            options: ["--host"], flags: ["--json"], run: ListCommand.functions),
        Command(
            name: "models", summary: "list the versions of models, and what they do",
            help: """
                usage: swiftlet models [--host URL] [--json]

                Every version that is kept, with its aliases, its state, its loaded replicas, and an incident when its worker
                keeps dying. A version is called NAME@ALIAS, NAME@VERSION or NAME@DIGEST; NAME alone is NAME@latest.
                """,
            options: ["--host"], flags: ["--json"], run: ModelsCommand.list),
        Command(
            name: "alias", summary: "name a version of a model",
            help: """
                usage: swiftlet alias MODEL ALIAS VERSION [--host URL] [--json]
                       swiftlet alias MODEL ALIAS --remove [--host URL] [--json]

                Makes MODEL@ALIAS mean a version: another alias, a version of the manifest, or the beginning of a digest.
                `swiftlet alias MODEL latest previous` goes back to the version before. A version that no alias names is not
                kept; what it is answering goes on to its end.
                """,
            options: ["--host"], flags: ["--json", "--remove"], run: ModelsCommand.alias),
        Command(
            name: "ps", summary: "list live workers", help: "usage: swiftlet ps [--host URL] [--json]",
            options: ["--host"], flags: ["--json"], run: ListCommand.workers),
        Command(
            name: "logs", summary: "print what a function wrote",
            help:
                "usage: swiftlet logs FUNCTION [-f] [--tenant NAME] [--host URL] [--json]\n\n  -f  go on printing new lines",
            options: ["--tenant", "--host"], flags: ["-f", "--json"], run: LogsCommand.run),
        Command(
            name: "usage", summary: "show what tenants used",
            help: """
                usage: swiftlet usage [--tenant T] [--key K] [--by hour|day|key|function|model] [--since TIME] [--until TIME]
                                      [--rows] [--json | --csv] [--host URL]

                Sums of the usage ledger, by function and model of each tenant where --by names nothing else.
                  --since TIME  30m, 24h or 7d back from now, 2026-01-31, 2026-01-31T12:00:00Z, or milliseconds since 1970
                                (default 24h); the hour it is in counts whole, and with --by day the day
                  --until TIME  the same (default now)
                  --rows        each call by itself, for as long as `serve --usage-days` says
                  --json        one line of JSON for each line; --csv: all numbers as CSV with a head
                """,
            options: ["--tenant", "--key", "--by", "--since", "--until", "--host"],
            flags: ["--rows", "--json", "--csv"], run: UsageCommand.run),
        Command(
            name: "rm", summary: "remove a function or model",
            help: "usage: swiftlet rm FUNCTION [--tenant NAME] [--host URL] [--json]", options: ["--tenant", "--host"],
            flags: ["--json"], run: RemoveCommand.run),
        Command(
            name: "secret", summary: "set, list and remove secrets of tenants and functions", help: SecretCommand.help,
            options: ["--tenant", "--function", "--from-file", "--host"], flags: ["--json"], run: SecretCommand.run),
        Command(
            name: "vault", summary: "rotate the keys that seal tenants' secrets and data", help: VaultCommand.help,
            options: ["--state", "--old-key", "--new-key", "--tenant", "--host"], flags: ["--reseal", "--json"],
            run: VaultCommand.run),
        Command(
            name: "tenant", summary: "make, list, change, suspend, move and delete tenants",
            help: """
                usage: swiftlet tenant ls [--host URL] [--json]
                       swiftlet tenant create NAME [--settings FILE] [--host URL]
                       swiftlet tenant show|suspend|resume NAME [--host URL]
                       swiftlet tenant set NAME --settings FILE [--host URL]
                       swiftlet tenant delete NAME --confirm NAME [--host URL]
                       swiftlet tenant export NAME [-o FILE] [--force] [--host URL] [--json]
                       swiftlet tenant import FILE [--as NAME] [--host URL] [--json]

                  --settings FILE  JSON5: which models it may call, its weight, quotas and limits (docs/tenants.md, docs/limits.md)
                  -o FILE          where the export goes (default NAME-export.tar), readable by its owner only; --force replaces one
                  --as NAME        what to call the tenant here
                A suspended tenant is not served; what it runs goes on to its end, and everything of it is kept. Deleting erases
                all of it: functions, keys, files. An export holds settings, functions, hashes of keys and names of secrets, not
                the secrets' values and no usage; an import brings all of it or nothing.
                """,
            options: ["--settings", "--confirm", "--as", "-o", "--host"], flags: ["--force", "--json"],
            run: TenantCommand.run),
        Command(
            name: "key", summary: "make, list, bound, rotate and revoke API keys",
            help: """
                usage: swiftlet key create [--tenant NAME | --platform] [--role ROLE] [--scopes S,S] [--functions P,P]
                                    [--models P,P] [--expires SECONDS] [--limits FILE] [--comment TEXT] [--host URL] [--json]
                       swiftlet key ls [--tenant NAME | --platform] [--host URL] [--json]
                       swiftlet key set ID --limits FILE [--tenant NAME | --platform] [--host URL] [--json]
                       swiftlet key rotate ID [--overlap SECONDS] [--tenant NAME | --platform] [--host URL] [--json]
                       swiftlet key revoke ID [--tenant NAME | --platform] [--host URL] [--json]

                  --role ROLE    tenant_admin, developer, invoker (default) or viewer; with --platform platform_admin (default),
                                 platform_operator or platform_viewer
                  --scopes       narrow the role to some of invoke, deploy, read, admin
                  --functions    the functions that it may touch: names, or beginnings of names and `*`; --models the same
                  --limits FILE  JSON5: what bounds its requests, beside its tenant's limits (docs/limits.md), and what it may take of
                                 the models (docs/quotas.md), e.g. { concurrency: 8, tokens_per_day: 100000 }; `set` puts all of
                                 it in place of the old, from the next request and token on
                  --overlap      how long the old key goes on beside the new one (default 86400)
                The key's text is printed once; the host keeps only its hash. A revoked key fails at once.
                """,
            options: [
                "--tenant", "--role", "--scopes", "--functions", "--models", "--expires", "--limits", "--comment",
                "--overlap", "--host",
            ],
            flags: ["--platform", "--json"], run: KeyCommand.run),
        Command(
            name: "whoami", summary: "show what the key in SWIFTLET_KEY may do",
            help: "usage: swiftlet whoami [--host URL]", options: ["--host"], flags: ["--json"], run: KeyCommand.whoAmI),
        Command(
            name: "routes", summary: "list the host's routes and what each needs",
            help: "usage: swiftlet routes [--json]",
            options: [], flags: ["--json"], run: ListCommand.routes),
        Command(
            name: "audit", summary: "read and check the log of acts and denied accesses",
            help: """
                usage: swiftlet audit [list] [--tenant NAME] [--act ACT] [--since WHEN] [--limit N] [--host URL] [--json]
                       swiftlet audit head [--state DIR | --host URL]
                       swiftlet audit verify [--expect COUNT:HASH] [--state DIR | --host URL] [--json]
                       swiftlet audit reset --state DIR

                list prints entries, newest first: ACT is `key.create`, `deploy`, `denied` or the beginning before a dot; WHEN is
                12h, 7d or a time such as 2026-01-31T12:00:00Z. head prints where the log ends, for keeping elsewhere. verify reads
                all of it and exits with 1 when an entry was changed, cut out, reordered, inserted, or the end was cut; with
                --expect also when log and anchor were both rolled back. reset begins a new log where a host refuses to start with
                the old one, which stays beside it. See docs/audit.md.
                """,
            options: ["--tenant", "--act", "--since", "--limit", "--expect", "--state", "--host"], flags: ["--json"],
            run: AuditCommand.run),
        Command(
            name: "backup", summary: "write a state directory to one file, while its host runs or not",
            help: """
                usage: swiftlet backup FILE.tar [--state DIR] [--json]

                Databases at one moment each, the artefacts that are deployed and the audit log, with the SHA-256 of each file.
                Run it on the host's machine as a user who may read DIR (default ./state). Keys are NOT in it (master.key, tls/,
                audit.key): it says what it leaves out. See docs/backup.md.
                """,
            options: ["--state"], flags: ["--json"], run: BackupCommand.backup),
        Command(
            name: "restore", summary: "make a state directory from such a file",
            help: """
                usage: swiftlet restore FILE.tar --state DIR [--json]

                Checks every sum before it writes anything; DIR must not exist or be empty, and has everything or nothing after.
                """,
            options: ["--state"], flags: ["--json"], run: BackupCommand.restore),
        Command(
            name: "doctor", summary: "show which sandbox layers and devices this machine gives",
            help: "usage: swiftlet doctor [--json] [--require all|LAYER,LAYER]\n\n"
                + "Tries each layer, lists the devices that a model's manifest may name, and says whether what models take\n"
                + "of a GPU's memory can be watched. Exits with 1 when a layer is missing, or one of those that --require names.",
            options: ["--require"],
            flags: ["--json"],
            run: DoctorCommand.run),
    ]

    static var overview: String {
        let rows = commands.map { "  \($0.name)\(String(repeating: " ", count: 8 - $0.name.count)) \($0.summary)" }
        return "usage: swiftlet COMMAND [OPTIONS]\n\n" + rows.joined(separator: "\n")
            + "\n\n`swiftlet COMMAND --help` tells more. Commands find the host by --host, else SWIFTLET_HOST, else "
            + "http://127.0.0.1:8080; SWIFTLET_CACERT names a PEM file of certificates to trust, SWIFTLET_KEY is "
            + "the API key, SWIFTLET_TENANT whose functions are meant without --tenant,\n"
            + "--fingerprint or SWIFTLET_FINGERPRINT the pin that `swiftlet serve` prints of its own certificate."
    }
}
