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
                usage: swiftlet serve [--listen HOST:PORT] [--state DIR] [--tls-cert FILE --tls-key FILE] [--loops N]
                                      [--tenants FILE] [--models-memory-mb N] [--models-device-memory-mb N]
                                      [--prefix-memory-mb N] [--prefix-disk-mb N] [--prefix-salt-hours N]
                                      [--zygotes N] [--zygote-life SECONDS] [--restart-rate N] [--uid N] [--json]
                                      [--response-cache-mb N] [--response-cache-ttl SECONDS] [--log-answers]
                                      [--usage-days N]
                                      [--require-layers all|LAYER[,LAYER]] [--sandbox-without LAYER[,LAYER]]

                Serves functions and models over HTTP until SIGTERM or SIGINT, then lets running requests finish.
                  --listen HOST:PORT  numeric address; port 0 picks a free one (default 127.0.0.1:8080)
                  --state DIR         registry and artefacts (default ./state)
                  --tls-cert FILE     PEM certificate chain: serve HTTPS (TLS 1.2 and 1.3, HTTP/2 by ALPN); SIGHUP reads it again
                  --tls-key FILE      PEM private key of the certificate
                  --tenants FILE      JSON5 with each tenant's weight and quotas of the models (docs/quotas.md); SIGHUP reads
                                      it again
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
                  --require-layers all|LAYER[,LAYER]
                                      refuse to start when one of these layers of the sandbox is missing here
                  --sandbox-without LAYER[,LAYER]
                                      leave layers of the sandbox out, for tests of the others: never for code of others
                """,
            options: [
                "--listen", "--state", "--tls-cert", "--tls-key", "--loops", "--zygotes", "--zygote-life",
                "--restart-rate", "--uid", "--tenants", "--models-memory-mb", "--models-device-memory-mb",
                "--prefix-memory-mb", "--prefix-disk-mb", "--prefix-salt-hours",
                "--response-cache-mb", "--response-cache-ttl", "--usage-days",
                "--require-layers", "--sandbox-without",
            ],
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
                usage: swiftlet deploy DIR [--tenant NAME] [--name NAME] [--host URL] [--json]

                Builds a handler that has a `language`, sends the folder to the host, which checks it in a jailed worker and
                publishes it. Backends belong to the tenant `platform`; handlers to --tenant (default `default`).
                  --name NAME  what to call it, in place of the manifest's name
                """,
            options: ["--tenant", "--name", "--host"], flags: ["--json"], run: DeployCommand.run),
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
            + "http://127.0.0.1:8080; SWIFTLET_CACERT names a PEM file of certificates to trust."
    }
}
