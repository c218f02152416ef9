// What a plugin says about itself in swiftlet.json5; ManifestReader makes it from text, ManifestWriter stores it.

package struct Manifest: Sendable, Equatable {
    /// The file beside the library that holds the manifest.
    package static let fileName = "swiftlet.json5"
    /// What `swiftlet build` calls the library it makes.
    package static let builtLibrary = "plugin.so"

    package var name: String
    package var kind: PluginKind
    package var version: String
    /// The shared object; a manifest that names only a language gets `builtLibrary`.
    package var library: String?
    /// "c" or "swift": how `swiftlet build` compiles the sources.
    package var language: String?
    /// The Swift type that conforms to the kit's handler protocol.
    package var handlerType: String?
    package var sources: [String]
    package var limits: Limits
    package var reuse: Reuse
    /// Who may call a handler.
    package var access: Access
    /// How long an idle worker stays before it ends.
    package var idleTimeoutMilliseconds: Int
    /// The models that a handler may call.
    package var models: [String]
    /// The secrets that a handler may ask for.
    package var secrets: [String]
    /// The text of a JSON object, handed to the plugin as it is.
    package var config: String
    /// The model file of a backend, inside the artefact.
    package var model: String?
    /// The device that a backend computes on; nil: the processor.
    package var device: Device?
    package var contextTokens: UInt32
    package var maxSequences: UInt32
    package var maxStepTokens: UInt32
    /// Bytes of a prompt that are read at all; nil: what the context could hold.
    package var maxPromptBytes: Int?
    /// The engine makes machine code while it works, so that its worker may.
    package var makesCode: Bool
    /// Rows of a run on tensors that is joined from several requests, and how long one waits for others.
    package var batchRows: UInt32
    package var batchDelayMicroseconds: UInt32
    /// Texts that every tenant's prompts may begin with and nobody pays for.
    package var publishedPrefixes: [String]
    /// How long an idle model stays loaded.
    package var keepAliveMilliseconds: Int
    /// How long a model may take to load, and how long one may wait for the memory that it needs.
    package var loadTimeoutMilliseconds: Int
    /// Workers of a model: so many stay loaded, and so many there may be.
    package var minReplicas: UInt32
    package var maxReplicas: UInt32

    package enum Access: String, Sendable, CaseIterable {
        case everybody = "public"
        /// Whoever may invoke functions of the tenant.
        case key
        /// Of those, callers with a token of an identity provider.
        case token = "jwt"
    }

    /// A manifest with every default in place.
    package init(name: String, kind: PluginKind, version: String) {
        self.name = name
        self.kind = kind
        self.version = version
        library = nil
        language = nil
        handlerType = nil
        sources = []
        limits = Limits(defaultsFor: kind)
        reuse = .function
        access = .key
        idleTimeoutMilliseconds = 60_000
        models = []
        secrets = []
        config = "{}"
        model = nil
        device = nil
        contextTokens = 4096
        maxSequences = 8
        maxStepTokens = 512
        maxPromptBytes = nil
        makesCode = false
        batchRows = 1
        batchDelayMicroseconds = 0
        publishedPrefixes = []
        keepAliveMilliseconds = 300_000
        loadTimeoutMilliseconds = 120_000
        minReplicas = 0
        maxReplicas = 1
    }

    /// The file to load.
    package var libraryFile: String { library ?? Manifest.builtLibrary }
}
