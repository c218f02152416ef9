// The host call `secret.get`: the value of a secret for the one function whose invocation asks, if its manifest names it.
internal import Core
internal import Platform
internal import Vault

extension Gateway {
    /// - Parameters:
    ///   - payload: the secret's name, as it is.
    ///   - caller: what is deployed under the invocation's name; the worker has no say in it.
    func callSecret(
        _ payload: [UInt8], caller: Deployment,
        reply: @escaping (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void
    ) -> () -> Void {
        let name = String(decoding: payload.prefix(256), as: UTF8.self)
        guard payload.count <= 256, caller.manifest.secrets.contains(name) else {
            return refuse(
                reply, "secret_not_named",
                "the manifest of \(caller.key) does not name \(Names.quoted(name)) under 'secrets'")
        }
        do throws(RuntimeError) {
            guard let value = try shared.vault.value(name, for: caller.key) else {
                return refuse(
                    reply, "secret_not_found",
                    "neither \(caller.key) nor its tenant has a secret \(name): set it with `swiftlet secret set`")
            }
            var bytes = value.copy
            reply(bytes, true, false)
            wipe(&bytes)
        } catch {
            Log.error("a secret can't be opened", [("function", "\(caller.key)"), ("cause", "\(error)")])
            return refuse(reply, "secret_unavailable", "the secret \(name) can't be opened at the moment")
        }
        return {}
    }

    private func refuse(
        _ reply: (_ bytes: [UInt8], _ isEnd: Bool, _ isError: Bool) -> Void, _ type: String, _ message: String
    ) -> () -> Void {
        let error = jsonObject([("type", .text(type)), ("message", .text(message))])
        reply(Array("{\"error\":\(error)}".utf8), true, true)
        return {}
    }
}
