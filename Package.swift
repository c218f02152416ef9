// swift-tools-version: 6.2
// The house: one target a room, lower layers first; scripts/check-layers proves the direction of the arrows.
import PackageDescription

let deps = "\(Context.packageDirectory)/.deps"

/// scripts/fuzz names libFuzzer's runtime here: then everything of ours counts its edges, watches its memory, and
/// swiftlet-fuzz is built. Nobody else sets it.
let fuzzer = Context.environment["SWIFTLET_FUZZER"]
let isFuzzing = fuzzer != nil

/// What every Swift target of ours is held to.
let strict: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .strictMemorySafety(),
        .treatAllWarnings(as: .error),
    ] + (isFuzzing ? [.unsafeFlags(["-sanitize=address", "-sanitize=fuzzer", "-enable-testing"])] : [])

/// The same for C and C++.
let watchedC = isFuzzing ? ["-fsanitize=address", "-fsanitize=fuzzer-no-link"] : []

let strictC: [CSetting] = [
    .define("_GNU_SOURCE"),
    .unsafeFlags(
        [
            "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wvla", "-Wno-missing-field-initializers",
            "-fvisibility=hidden",
        ] + watchedC),
]

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
    name: "swiftlet",
    products: [
        .executable(name: "swiftlet", targets: ["swiftlet"]),
        .executable(name: "swiftlet-zygote", targets: ["swiftlet-zygote"]),
        .executable(name: "swiftlet-bench-echo", targets: ["swiftlet-bench-echo"]),
        .library(name: "SwiftletKit", type: .dynamic, targets: ["SwiftletKit"]),
    ],
    targets: [
        // 0: nouns, contracts and doors to C libraries
        .target(name: "SwiftletABI", cSettings: strictC),
        .target(name: "CLinux", cSettings: strictC),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .target(
            name: "COpenSSL", cSettings: strictC, linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
        .systemLibrary(name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .target(
            name: "CLLHTTP",
            cSettings: [.unsafeFlags(["-I\(deps)/llhttp/include"])],
            linkerSettings: [.unsafeFlags(["-L\(deps)/llhttp/lib"]), .linkedLibrary("llhttp")]),
        .target(
            name: "CSimdJSON",
            cxxSettings: [
                .unsafeFlags(["-std=c++17", "-fno-exceptions", "-Wall", "-Wextra", "-fvisibility=hidden"] + watchedC)
            ],
            linkerSettings: [.linkedLibrary("simdjson"), .linkedLibrary("stdc++")]),
        .target(name: "CNVML", cSettings: strictC),
        .target(name: "CDigest", cSettings: strictC, linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CSeal", cSettings: strictC, linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CJOSE", cSettings: strictC, linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CSignature", cSettings: strictC, linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "CCurl", cSettings: strictC, linkerSettings: [.linkedLibrary("curl")]),
        .target(name: "SwiftletWire", path: "Sandbox/wire", cSettings: strictC),
        room("Core", []),
        // 1: Linux made safe for Swift
        room("Platform", ["CLinux", "CNVML", "CDigest"]),
        .target(
            name: "SwiftletKit", dependencies: ["SwiftletABI", "CSimdJSON"], swiftSettings: strict,
            // Without a SONAME every plugin that loads searches the disk for a library the process already has.
            linkerSettings: [.unsafeFlags(["-Xlinker", "-soname=libSwiftletKit.so"])]),
        room("Storage", ["Core", "CSQLite"]),
        // 2: processes, state, protocol
        room("Identity", ["Platform", "Core", "CSeal", "CJOSE", "CCurl"]),
        room("Limits", ["Core"]),
        room("Workers", ["Platform", "Core", "SwiftletWire", "CLinux"]),
        room("Ledger", ["Storage", "Platform", "Core"]),
        room("Registry", ["Storage", "Platform", "Core", "CLinux"]),
        room("Audit", ["Platform", "Core", "CSeal", "CLinux"]),
        room("Vault", ["Storage", "Platform", "Core", "CSeal"]),
        room("Signing", ["Storage", "Core", "CSignature"]),
        room("HTTP", ["Platform", "CLinux", "CLLHTTP", "CNGHTTP2", "COpenSSL"]),
        // 3: decisions, and the door
        room("PluginHost", ["Workers", "Vault", "Signing", "Platform", "Core", "SwiftletWire", "CLinux"]),
        room("Scheduler", ["Workers", "Platform", "Core", "SwiftletWire"]),
        room(
            "Inference", ["Workers", "Ledger", "Platform", "Core", "SwiftletWire", "SwiftletABI", "CSimdJSON", "CSeal"]),
        room("Transfer", ["PluginHost", "Signing", "Core"]),
        room("Backup", ["Audit", "Registry", "Storage", "Platform", "Core", "CLinux"]),
        room(
            "Gateway",
            [
                "HTTP", "Scheduler", "Inference", "Registry", "PluginHost", "Workers",
                "Identity",
                "Audit",
                "Ledger",
                "Vault",
                "Signing",
                "Transfer",
                "Limits",
                "Platform", "Core", "CSimdJSON",
            ]),
        // 4: composition root and command line
        .executableTarget(
            name: "swiftlet",
            dependencies: [
                "Gateway", "HTTP", "Scheduler", "Inference", "Registry", "PluginHost", "Workers",
                "Identity",
                "Audit",
                "Backup",
                "Ledger",
                "Vault",
                "Signing",
                "Limits",
                "Platform", "Core", "CCurl", "CLinux",
            ],
            swiftSettings: strict),
        // The baseline of `make bench`
        .executableTarget(
            name: "swiftlet-bench-echo", dependencies: ["HTTP", "Platform", "CLinux"], path: "Bench/EchoFront",
            swiftSettings: strict),
        // The far side of the fork: C only
        .target(
            name: "SwiftletLauncher", dependencies: ["SwiftletWire"], path: "Sandbox/launcher", cSettings: strictC,
            linkerSettings: [.linkedLibrary("seccomp")]),
        .executableTarget(
            name: "swiftlet-zygote", dependencies: ["SwiftletLauncher", "SwiftletWire", "SwiftletABI"],
            path: "Sandbox/zygote",
            cSettings: strictC),
        // Tests
        .target(name: "TestSupport", path: "Tests/Support", swiftSettings: strict),
        tests("Core", ["Core", "TestSupport"]),
        tests("Platform", ["Platform", "CLinux", "TestSupport"]),
        tests("HTTP", ["HTTP", "Platform", "CLinux"]),
        tests("Storage", ["Storage", "Core", "TestSupport"]),
        tests("Ledger", ["Ledger", "Storage", "Core", "Platform", "TestSupport"]),
        tests("Audit", ["Audit", "Core", "Platform", "TestSupport"]),
        tests("Backup", ["Backup", "Core", "Platform", "TestSupport"]),
        tests("Transfer", ["Transfer", "PluginHost", "Signing", "Core", "TestSupport"]),
        tests("Registry", ["Registry", "Storage", "Core", "TestSupport"]),
        tests("Limits", ["Limits", "Core", "TestSupport"]),
        tests("Vault", ["Vault", "Storage", "Core", "TestSupport"]),
        tests("Identity", ["Identity", "Platform", "Core", "TestSupport"]),
        tests("Workers", ["Workers", "Platform", "Core", "SwiftletWire", "TestSupport"]),
        tests("PluginHost", ["PluginHost", "Vault", "Signing", "Core", "TestSupport"]),
        tests("Signing", ["Signing", "Storage", "Core", "TestSupport"]),
        tests("Scheduler", ["Scheduler", "Workers", "Platform", "Core", "TestSupport"]),
        tests("Inference", ["Inference", "Workers", "Platform", "Core", "SwiftletWire", "SwiftletABI", "TestSupport"]),
        tests("Gateway", ["Gateway", "HTTP", "Audit", "Limits", "Platform", "Core", "TestSupport"]),
        tests("ABI", ["SwiftletABI", "TestSupport"]),
        .testTarget(
            name: "KitTests", dependencies: ["swiftlet", "SwiftletKit", "TestSupport"],
            exclude: ["driver.c", "handlers"],
            swiftSettings: strict),
    ],
    cxxLanguageStandard: .cxx17
)

if let fuzzer {
    package.targets += [
        .target(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer", cSettings: strictC),
        .executableTarget(
            name: "swiftlet-fuzz",
            dependencies: [
                "CFuzzer", "Scheduler", "Inference", "PluginHost", "Signing", "Transfer", "Workers", "HTTP", "Identity",
                "Platform",
                "Core",
                "SwiftletWire",
                "CLinux",
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-sanitize=address", "-Xlinker", fuzzer]), .linkedLibrary("stdc++")]),
    ]
}
