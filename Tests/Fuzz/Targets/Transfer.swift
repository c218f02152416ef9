// The export of a tenant: its first file to a value and back, and the archive around it in pieces of any size.
import Core

@testable import Transfer

extension Target {
    static let transfer = Target(name: "transfer") { bytes in
        checkHead(bytes)
        let whole = read([bytes[...]])
        require(whole == read(pieces(of: bytes)), "the size of the pieces changes nothing")
    }

    private static func checkHead(_ bytes: [UInt8]) {
        let export: TenantExport
        do throws(RuntimeError) {
            export = try TenantExport(bytes)
        } catch {
            return require(!error.cause.isEmpty && !error.next.isEmpty, "a refusal says why and what to do")
        }
        require(
            Names.isValid(export.tenant.name) && export.tenant.name != Deployment.platform, "the name follows the rule")
        require(export.tenant.state == .active || export.tenant.state == .suspended, "no state between two")
        require(
            export.functions.allSatisfy { Names.isValid($0.name) && $0.bytes > 0 }, "functions have names and sizes")
        require(
            export.keys.allSatisfy { $0.tenant == export.tenant.name && !$0.role.isPlatform }, "keys are the tenant's")
        let text = Array(export.value.text.utf8)
        guard text.count <= TenantExport.largest else { return }
        let again = try? TenantExport(text)
        require(
            again?.functions == export.functions && again?.keys == export.keys && again?.secrets == export.secrets
                && again?.trustedKeys == export.trustedKeys, "an export reads back equal")
    }

    /// Names and sizes, how many bytes came of each file, and why it ended.
    private static func read(_ pieces: [ArraySlice<UInt8>]) -> [String] {
        var feed = ArchiveFeed()
        var said: [String] = []
        var count = 0
        var rest = pieces[...]
        do throws(RuntimeError) {
            while true {
                switch try feed.next() {
                case .file(let name, let size):
                    require(Names.isFileName(name), "\(Names.quoted(name)) is a plain name")
                    said.append("\(name) \(size)")
                    count = 0
                case .bytes(let bytes): count += bytes.count
                case .fileEnd: said.append("\(count)")
                case .wanting:
                    guard let next = rest.popFirst() else { return said + ["\(count) \(feed.isComplete)"] }
                    unsafe feed.append(Array(next).span.bytes)
                }
            }
        } catch {
            return said + [error.cause]
        }
    }
}
