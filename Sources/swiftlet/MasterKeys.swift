// The master key on its way from the operator to the vault, and a host that nobody may look into.
internal import CLinux
internal import Core
internal import Glibc
internal import Platform
internal import Vault

enum MasterKeys {
    // SAFETY: written once, by the only thread there is then.
    nonisolated(unsafe) private static var environment: SecretBytes?

    /// Takes SWIFTLET_MASTER_KEY away from this process, whatever it was asked to do, and so from all of its children.
    static func takeEnvironment() { unsafe environment = MasterKeySource.takeEnvironment() }

    /// - Parameter options: of a host that holds the registry's lock.
    static func openVault(_ options: ServeOptions) throws -> Vault {
        let source = try MasterKeySource(
            file: options.masterKeyFile, environment: unsafe environment.take(), state: options.state,
            owner: options.uid,
            mayMake: !(try Vault.isInUse(stateDirectory: options.state)))
        let vault = try Vault(stateDirectory: options.state, keys: source.keys)
        if source.isOwn {
            Log.error(
                "the MASTER KEY lies in the state directory: whoever copies that has the key and everything it seals. "
                    + "Move it elsewhere and give it by --master-key-file (docs/secrets.md)",
                [("file", source.words), ("key", vault.masterName)])
        } else {
            Log.info("the vault is open", [("key", vault.masterName), ("from", source.words)])
        }
        if source.keys.count > 1 {
            Log.error(
                "a rotation of the master key was not finished: run `swiftlet vault rotate-master` again",
                [("key", vault.masterName)])
        }
        return vault
    }

    /// No core file of this process is written, and no other process of its user may read its memory.
    static func hideMemory() throws {
        try check(clinux_hide_memory(), "prctl(PR_SET_DUMPABLE)")
    }
}
